"""What stands on a page as a warning is printed too, and with --strict it is an exit code."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from inversionlab.commands.main import app
from inversionlab.report.audit.sentence import caveats
from inversionlab.report.frame import DoubtError, publish
from inversionlab.report.search.sentence import search_caveats
from inversionlab.results.load import load_run
from inversionlab.results.run_results import RunResults
from inversionlab.results.search import SearchRecord
from inversionlab.store.storage import Storage
from tests.golden import collect
from tests.report.fake_run import cells_of, fake_run, with_record
from tests.report.fake_search import fake_search


@pytest.fixture
def store(tmp_path: Path) -> Path:
    return collect.unpacked(tmp_path)


@pytest.mark.parametrize("kind", ["runs", "searches"])
def test_the_pages_warnings_are_printed_and_strict_counts_them(store: Path, kind: str) -> None:
    name = sorted(path.name for path in (store / kind).iterdir())[0]
    words = ["report", name, "--storage", str(store), "--no-pictures"]
    loose = CliRunner().invoke(app, words)
    assert loose.exit_code == 0
    warnings = [line for line in loose.output.splitlines() if line.startswith("warning: ")]
    assert warnings
    strict = CliRunner().invoke(app, [*words, "--strict"])
    assert strict.exit_code == 4
    assert f"error: --strict: there are {len(warnings)} warnings on the page" in strict.output
    assert [line for line in strict.output.splitlines() if line.startswith("warning: ")] == warnings


def test_a_runs_warnings_are_those_of_its_page(store: Path) -> None:
    name = sorted(path.name for path in (store / "runs").iterdir())[0]
    results = RunResults.of(load_run(Storage(str(store)), name), frechet=False)
    said = caveats(results, names=False)
    assert any("The undefended recognizer is weak" in line for line in said)
    assert any("The evaluator “same” is weak" in line for line in said)
    output = CliRunner().invoke(app, ["report", name, "--storage", str(store), "--no-pictures"])
    for line in said:
        assert f"warning: {line}\n" in output.output


def test_without_warnings_strict_says_nothing(tmp_path: Path, capsys: Any) -> None:
    storage = Storage(str(tmp_path))
    publish(storage, "page.html", "<p>", "all is well", kind="Report", strict=True)
    with pytest.raises(DoubtError, match="there is a warning on the page"):
        publish(storage, "page.html", "<p>", kind="Report", warnings=["weak"], strict=True)
    assert "warning: weak" in capsys.readouterr().out
    assert (tmp_path / "page.html").read_text() == "<p>"


def test_an_audit_without_a_defense_aware_attack_names_one() -> None:
    run = fake_run(alphas=(0.25,), targets=4)
    cells = [{**cell, "aware_attack": "multi_mode"} for cell in cells_of(run)]
    lines = caveats(RunResults.of(with_record(run, cells=cells)))
    assert any("No attack in this run knows about" in x and "`multi_mode`" in x for x in lines)
    known = [{**cell, "knows_defense": True} for cell in cells]
    lines = caveats(RunResults.of(with_record(run, cells=known)))
    assert not any("knows about the defense" in line for line in lines)


@pytest.mark.parametrize(
    ("aware", "text"),
    [
        (None, "comes from an older version"),
        (False, "add `multi_mode` to the recipe"),
        (True, ""),
    ],
)
def test_a_search_without_a_defense_aware_attack_names_one(aware: bool | None, text: str) -> None:
    plain = copy.deepcopy(fake_search(trials=3)) | {"aware": aware, "aware_attack": "multi_mode"}
    lines = [x for x in search_caveats(SearchRecord.model_validate(plain), None) if "knows" in x]
    assert [text in line for line in lines] == ([True] if text else [])
