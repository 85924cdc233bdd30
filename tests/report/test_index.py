"""The index of a storage, and two runs side by side."""

from __future__ import annotations

import html
import re
from pathlib import Path

import pytest
from typer.testing import CliRunner

from inversionlab.commands.main import app
from inversionlab.core.settings import ConfigError
from inversionlab.report.index import entries, write_index
from inversionlab.report.versus import compare
from inversionlab.results.run_results import RunResults
from inversionlab.store.storage import Storage
from tests.golden import collect
from tests.report.fake_run import with_record
from tests.report.hand_run import hand_run


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return collect.unpacked(tmp_path_factory.mktemp("store"))


def names(store: Path, kind: str) -> list[str]:
    return sorted(path.name for path in (store / kind).iterdir())


def test_the_index_has_every_run_and_search_with_its_page(store: Path) -> None:
    storage = Storage(str(store))
    found = {entry.name: entry for entry in entries(storage)}
    assert set(found) == {*names(store, "runs"), *names(store, "searches")}
    for entry in found.values():
        assert not entry.fault
        assert entry.headline
        assert entry.bare.success is not None
    storage.write(f"runs/{names(store, 'runs')[0]}/report-no-pictures.html", b"<p>")
    place = write_index(str(store))
    page = (store / "index.html").read_text()
    assert place == f"{store}/index.html"
    links = re.findall(r'href="([^"]*)"', page)
    assert links
    assert all((store / link).is_file() for link in links)
    assert "<img" not in page
    assert "script-src 'sha256-" in html.unescape(page)
    assert len(page) < 40_000


def test_what_cannot_be_read_stands_there_with_its_fault(store: Path) -> None:
    storage = Storage(str(store))
    storage.write("searches/broken/search.json", b"[")
    try:
        (broken,) = [entry for entry in entries(storage) if entry.name == "broken"]
        assert "searches/broken/search.json: cannot be read" in broken.fault
    finally:
        storage.delete("searches/broken/search.json")


def test_a_record_that_leads_out_is_named_and_the_others_are_there(tmp_path: Path) -> None:
    storage = Storage(str(collect.unpacked(tmp_path)))
    storage.write("runs/bad/run.json", b'{"cells": [{"cell": "../../x", "attack": "a"}]}')
    found = {entry.name: entry.fault for entry in entries(storage)}
    assert "runs/bad/run.json: is not a record: cells.0.cell = ../../x: leads out" in found.pop(
        "bad"
    )
    assert len(found) > 1
    assert not any(found.values())


def test_a_table_that_cannot_be_opened_ends_the_report_in_a_line(tmp_path: Path) -> None:
    store = collect.unpacked(tmp_path)
    run = names(store, "runs")[0]
    record = Storage(str(store)).read_json(f"runs/{run}/run.json")
    table = store / "evaluators" / f"{record['tables']['evaluators'][0]}.parquet"
    table.unlink()
    table.mkdir()
    for words in (["report", run], ["compare", run, run]):
        done = CliRunner().invoke(app, [*words, "--storage", str(store)])
        assert done.exit_code == 1
        assert isinstance(done.exception, SystemExit)
        assert done.stderr.startswith(f"error: {table}: could not be read: ")
    faults = {entry.name: entry.fault for entry in entries(Storage(str(store)))}
    assert faults.pop(run).startswith(f"{table}: could not be read: ")
    assert "" in faults.values()


def test_an_empty_storage_has_no_index(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="holds neither runs nor searches"):
        write_index(str(tmp_path))


RANKS = {("a", "none"): [1, 1, 1, 9], ("a", "0.5"): [1, 9, 9, 9]}
CORRECT = {"none": 900, "0.5": 850}


def results_of(**changes: object) -> RunResults:
    return RunResults.of(with_record(hand_run(RANKS, CORRECT), **changes), frechet=False)


def test_a_run_does_not_differ_from_itself() -> None:
    found = compare((results_of(), results_of()))
    assert found.same
    assert not found.doubts
    assert not found.settings
    assert [(line.what, line.model) for line in found.success] == [
        ("a", "undefended"),
        ("a", "dummy recognizer, alpha = 0.5"),
    ]
    for line in (*found.success, *found.accuracy):
        assert line.apart.value == 0
        assert line.verdict == "not clearly different"


def test_what_one_run_lacks_is_not_compared() -> None:
    less = RunResults.of(hand_run({("a", "none"): [9] * 4}, {"none": 700}), frechet=False)
    found = compare((results_of(), less))
    bare, defended = found.success
    assert bare.first.value == 0.75
    assert bare.second.value == 0
    assert defended.second is None
    assert defended.apart is None
    assert defended.verdict == "–"
    accuracy = {line.model: line for line in found.accuracy}
    assert accuracy["undefended"].apart.value == pytest.approx(-0.2)
    assert accuracy["undefended"].verdict == "less"


def test_settings_that_differ_are_listed_and_other_people_are_a_doubt() -> None:
    attacks = [{"name": "ami", "steps": 3}, {"name": "ppa"}]
    mine = {"name": "a", "seed": 1, "defense": {"alpha": 0.5}, "attacks": attacks}
    theirs = {"name": "b", "seed": 1, "defense": {"alpha": 0.25, "kind": "x"}}
    first = results_of(experiment=mine)
    second = results_of(
        experiment={**theirs, "attacks": [{"name": "ami", "steps": 5}]}, data={"people": 3}
    )
    found = compare((first, second))
    assert found.settings == (
        ("defense.alpha", "0.5", "0.25"),
        ("defense.kind", "–", "x"),
        ("attacks.ami.steps", "3", "5"),
        ("attacks.ppa", "is there", "–"),
    )
    (doubt,) = found.doubts
    assert "not paired by person" in doubt


def test_the_commands_write_their_pages(store: Path) -> None:
    first, second = names(store, "runs")
    done = CliRunner().invoke(app, ["compare", first, second, "--storage", str(store)])
    assert done.exit_code == 0, done.output
    page = (store / "runs" / first / f"versus-{second}.html").read_text()
    assert page.count("<caption") == page.count("<table") == 3
    assert "<script" not in page
    done = CliRunner().invoke(app, ["report", "--all", "--storage", str(store)])
    assert done.exit_code == 0, done.output
    assert f"Index: {store}/index.html" in done.output


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["report"], "name a run or a search, or use --all"),
        (["report", "x", "--all"], "name a run or a search, or use --all"),
        (["report", "--all", "--csv"], "--csv and --figures are for one run or search"),
        (["compare", "nothing", "here"], "holds no run `nothing`"),
    ],
)
def test_what_does_not_fit_together_is_refused(words: list[str], said: str, store: Path) -> None:
    done = CliRunner().invoke(app, [*words, "--storage", str(store)])
    assert done.exit_code == 2
    assert said in done.output.replace("\n", " ")


def test_a_page_without_pictures_is_a_file_of_its_own(store: Path) -> None:
    run = names(store, "runs")[1]
    words = ["report", run, "--storage", str(store), "--csv", "--figures", "svg"]
    assert CliRunner().invoke(app, words).exit_code == 0
    whole = (store / "runs" / run / "report.html").read_bytes()
    tables = {path.name for path in (store / "runs" / run / "tables").iterdir()}
    assert {"results.parquet", "results.csv", "attacks.csv", "models.csv"} <= tables
    assert list((store / "runs" / run / "figures").glob("*.svg"))
    assert CliRunner().invoke(app, [*words[:4], "--no-pictures"]).exit_code == 0
    assert (store / "runs" / run / "report.html").read_bytes() == whole
    closed = (store / "runs" / run / "report-no-pictures.html").read_text()
    assert "<img" not in closed
