"""A person's page: what every attack made of one target, the best first, and nothing of anybody else."""

from __future__ import annotations

import base64
import re
import stat
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from inversionlab.report.audit.page import render, write_report
from inversionlab.report.audit.person import render_person, write_people
from inversionlab.report.pictures import example
from inversionlab.results.run_results import RunResults
from inversionlab.store.storage import Storage
from tests.golden import collect
from tests.report.fake_run import cells_of, fake_run, with_record
from tests.report.given_run import unjudged_run
from tests.report.hand_run import each_alone, hand_run

HOSTILE = "<img src=x onerror=alert(1)>\"'&</table>"


@pytest.fixture(scope="module")
def results() -> RunResults:
    return RunResults.of(fake_run(alphas=(0.25, 0.6), targets=3, repeats=2), frechet=False)


@pytest.fixture(scope="module")
def page(results: RunResults) -> str:
    return render_person(results, 1, "person_001", {"person_000": "people/0.html"})


def test_it_shows_this_person_on_every_model_by_every_attack(
    results: RunResults, page: str
) -> None:
    mine = [r for r in results.run.reconstructions.to_pylist() if r["target"] == 1]
    shown = set(re.findall(r"base64,([\w+/=]+)", page))
    stored = {base64.b64encode(r["picture"]).decode() for r in mine}
    (real,) = (
        base64.b64encode(r["picture"]).decode()
        for r in results.run.references.to_pylist()
        if r["kind"] == "real" and r["target"] == 1
    )
    assert shown - {real} <= stored
    assert real in shown
    # One of both tries by each attack on each model.
    assert len(shown) == 1 + len(results.run.record.cells)
    assert page.count('<ol class="ladder">') == len(results.models) + 1
    assert page.count("<img") == len(re.findall(r'<img [^>]*alt="[^"]+"', page))


def test_the_best_rank_stands_first_and_all_ranks_are_told() -> None:
    ranks = {("weak", "none"): [9, 40], ("strong", "none"): [2, 3], ("middle", "none"): [7, 5]}
    results = RunResults.of(hand_run(ranks, {"none": 900}))
    page = render_person(results, 0, "p0", {})
    assert re.findall(r"<figcaption><b>(\w+)</b>", page) == ["strong", "middle", "weak"]
    assert "<dt>undefended</dt><dd>1 of 3</dd>" in page
    assert re.findall(r'data-label="same">([^<]*)<', page) == ["2, 3", "7, 5", "9, 40"]


def test_it_leads_to_the_run_and_to_other_people_and_nowhere_else(page: str) -> None:
    targets = re.findall(r"""(?:src|href|action|srcset)\s*=\s*["']?([^"'\s>]*)""", page)
    links = [t for t in targets if not t.startswith("data:image/png;base64,")]
    assert set(links) == {"../report.html", "0.html"}
    assert "script-src 'sha256-" in page.replace("&#39;", "'")
    assert page.count("<script") == 0


def test_a_hostile_name_stays_text() -> None:
    run = fake_run(alphas=(), targets=2, repeats=1, people=[HOSTILE, "b"])
    results = RunResults.of(run, frechet=False)
    page = render_person(results, 0, HOSTILE, {HOSTILE: "people/0.html"})
    assert "<img src=x" not in page
    assert page.count("</table>") == page.count("<table")


def test_where_nobody_judges_there_are_no_ranks() -> None:
    run = unjudged_run()
    page = render_person(RunResults.of(run), 0, "person_000", {})
    assert "Nobody has compared these pictures" in page
    assert ">rank " not in page


def test_of_several_victims_the_first_one_is_shown_and_named() -> None:
    run = fake_run(alphas=(), attacks=("ami",), targets=2, repeats=1)
    (bare, *nulls), rows = cells_of(run), run.reconstructions.to_pylist()
    second = {**bare, "cell": "ami@other", "protected": "other", "seed": 5}
    more = [{**row, "cell": "ami@other"} for row in rows if row["cell"] == bare["cell"]]
    run = with_record(run, cells=[{**bare, "seed": 0}, second, *nulls])
    table = pa.Table.from_pylist([*rows, *more], run.reconstructions.schema)
    results = RunResults.of(type(run)(**{**vars(run), "reconstructions": table}), frechet=False)
    page = render_person(results, 0, "person_000", {})
    assert "the victim with the seed 0." in page
    assert page.count("<b>ami</b>") == 1


def test_pages_are_private_linked_both_ways_and_left_out_without_pictures(tmp_path: Path) -> None:
    store = collect.unpacked(tmp_path)
    run = sorted(path.name for path in (store / "runs").iterdir())[0]
    folder = store / "runs" / run
    write_report(str(store), run, pictures=False)
    assert not (folder / "people").exists()
    closed = (folder / "report-no-pictures.html").read_text()
    assert "people/" not in closed
    write_report(str(store), run, pictures=True)
    pages = sorted((folder / "people").iterdir())
    links = set(re.findall(r'href="(people/\d+\.html)"', (folder / "report.html").read_text()))
    assert pages
    assert links == {f"people/{page.name}" for page in pages}
    for page in pages:
        assert stat.S_IMODE(page.stat().st_mode) == 0o600
        for link in re.findall(r'href="([^"]+)"', page.read_text()):
            assert (page.parent / link).resolve().is_file()
    assert stat.S_IMODE((folder / "people").stat().st_mode) == 0o700


def test_a_page_without_pictures_links_nobody_even_if_asked(results: RunResults) -> None:
    pages = {"person_000": "people/0.html"}
    assert "person_000" not in render(results.run, pictures=False, pages=pages)
    assert 'href="people/0.html"' in render(results.run, pictures=True, pages=pages)


def test_people_are_written_by_their_numbers(results: RunResults, tmp_path: Path) -> None:
    storage = Storage(str(tmp_path))
    pages = write_people(storage, results)
    assert pages == {f"person_{t:03d}": f"people/{t}.html" for t in range(3)}


def with_pictures(run: Any, ranks: dict[str, list[int]]) -> Any:
    """The run with these ranks in its cells, in order of the rows."""
    rows = run.reconstructions.to_pylist()
    for cell, found in ranks.items():
        mine = [row for row in rows if row["cell"] == cell]
        for row, rank in zip(mine, found, strict=True):
            row["verdicts"] = [{**verdict, "rank": rank} for verdict in row["verdicts"]]
    table = pa.Table.from_pylist(rows, run.reconstructions.schema)
    return type(run)(**{**vars(run), "reconstructions": table})


def test_the_first_screen_shows_the_first_person_who_is_found() -> None:
    run = fake_run(alphas=(0.6,), attacks=("ami",), targets=3, repeats=1)
    found = with_pictures(run, {"ami@none": [30, 1, 1], "ami@mix0.6": [30, 8, 1]})
    results = RunResults.of(found, frechet=False)
    real, bare, defended = example(results)
    assert (real[0], real[2]) == ("real face", "person_001")
    assert (bare[0], bare[1].rank) == ("undefended", 1)
    assert (defended[0], defended[1].rank) == ("best defended", 8)
    none = with_pictures(run, {"ami@none": [30, 20, 25]})
    assert example(RunResults.of(none, frechet=False))[0][2] == "person_001"
    assert example(RunResults.of(unjudged_run())) == []


def test_a_model_for_each_person_is_on_every_page_and_in_the_example() -> None:
    run = fake_run(alphas=(0.6,), attacks=("ami",), targets=3, repeats=1)
    run = with_pictures(run, {"ami@none": [30, 40, 1], "ami@mix0.6": [30, 8, 9]})
    results = RunResults.of(each_alone(run, (950, 950, 950)), frechet=False)
    for target in range(3):
        page = render_person(results, target, f"person_{target:03d}", {})
        assert page.count("dummy recognizer, alpha = 0.6</h") == 1
        assert page.count("<b>ami</b>") == 2
    assert [title for title, *_ in example(results)] == ["real face", "undefended", "best defended"]
