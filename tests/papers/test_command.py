"""`inversionlab paper` as a user types it."""

from __future__ import annotations

import csv
import dataclasses
import os
import subprocess
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner

from inversionlab.commands.main import app
from inversionlab.papers import PAPERS
from inversionlab.papers.paper import Table


def command(*words: str) -> tuple[int, str]:
    told = CliRunner().invoke(app, ["paper", *words])
    return told.exit_code, told.output


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("foo",), "foo: is not a paper; there are: kotsuji, gong, yoshimura, khosravy, wen"),
        (
            ("kotsuji", "--only", "tableX"),
            "tableX: is not a table or figure of kotsuji; there are:",
        ),
        (("wen", "--only", "tabel2"), "did you mean `table2`?"),
        ((), "name a paper: kotsuji, gong"),
        (("wen", "--set", "digit:seed=1"), "did you mean `digits:`?"),
        (("wen", "--only", "table1", "--set", "sed=1"), "did you mean `seed`?"),
        (("wen", "--scale", "huge"), "is not one of"),
    ],
)
def test_wrong_words_end_with_2_and_one_clear_line(words: tuple[str, ...], said: str) -> None:
    code, output = command(*words)
    assert code == 2
    assert said in " ".join(output.split())
    assert "Traceback" not in output


def test_the_tables_are_listed() -> None:
    code, output = command("--list")
    assert code == 0
    assert output.count("\n") == sum(len(paper.tables) for paper in PAPERS.values())
    assert "gong table2     Table II" in output
    code, output = command("wen", "--list")
    assert {line.split()[0] for line in output.splitlines()} == {"wen"}


def test_a_plan_checks_and_does_nothing(tmp_path: Path) -> None:
    storage = tmp_path / "runs"
    code, output = command(
        "kotsuji", "--only", "fig5", "--scale", "tiny", "--plan", "--storage", str(storage)
    )
    assert code == 0, output
    assert "recipe flattened: kotsuji-flattened-tiny" in output
    assert "to be trained" in output
    assert not (storage / "artifacts").exists()


@pytest.mark.slow
def test_the_papers_own_sizes_are_planned_without_their_data(tmp_path: Path) -> None:
    code, output = command("gong", "--scale", "paper", "--plan", "--storage", str(tmp_path))
    assert code == 0, output
    assert "recipe table2_vggface2: gong-table2-vggface2-paper" in output
    assert "cannot be planned further here" in output


def test_a_table_without_an_experiment_has_the_papers_figures(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing is run, and nothing is guessed: the paper's figures stand beside `not run` and its reason."""
    yoshimura = PAPERS["yoshimura"]
    bare = Table(key="table2", title="Table II: by people", why_not="only people can say")
    changed = dataclasses.replace(yoshimura, tables=(bare,))
    monkeypatch.setitem(PAPERS, "yoshimura", changed)
    code, output = command("yoshimura", "--only", "table2", "--storage", str(tmp_path))
    assert code == 0, output
    folder = tmp_path / "papers" / "yoshimura-small"
    assert {path.name for path in folder.iterdir()} == {
        *("page.html", "cells.csv", "cells.parquet", "yoshimura.md")
    }
    overview = (tmp_path / "papers" / "overview-small.md").read_text()
    assert "| yoshimura | Table II: by people | not run |" in overview
    rows = list(csv.DictReader((folder / "cells.csv").open()))
    assert len(rows) == 12
    assert {row["ours"] for row in rows} == {""}
    assert rows[0]["printed_text"] == "94.4%"
    assert {row["not_run"] for row in rows} == {"only people can say"}
    assert "Table II: by people: not run" in output


def test_the_job_does_the_same_without_an_installation(tmp_path: Path) -> None:
    checkout = Path(__file__).resolve().parents[2]
    told = subprocess.run(
        [sys.executable, str(checkout / "jobs" / "paper.py"), "foo"],
        cwd=tmp_path,
        env={k: v for k, v in os.environ.items() if k != "PYTHONPATH"},
        capture_output=True,
        text=True,
    )
    assert told.returncode == 2
    assert told.stderr.startswith("error: foo: is not a paper; there are: kotsuji")


def test_the_overview_says_not_run_where_nothing_is_stored(tmp_path: Path) -> None:
    code, output = command("--overview", "--storage", str(tmp_path))
    assert code == 0, output
    tables = sum(len(paper.tables) for paper in PAPERS.values())
    assert f"{tables} not run." in output
    text = (tmp_path / "papers" / "overview-small.md").read_text()
    assert "`inversionlab paper gong --only table2`" in text
