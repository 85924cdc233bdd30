"""The page: nothing from outside, nothing private where not asked for, nothing unescaped."""

from __future__ import annotations

import base64
import dataclasses
import hashlib
import html
import re

import pyarrow as pa
import pyarrow.compute as pc
import pytest

from inversionlab.report.audit.page import render
from inversionlab.report.charts.figure import vega
from inversionlab.report.pictures import attack_pictures, grids
from inversionlab.results.rows import headline_rows
from inversionlab.results.run_results import RunResults
from inversionlab.results.wording import words
from tests.report.fake_run import cells_of, fake_run, with_record

HOSTILE = "<img src=x onerror=alert(1)>\"'&</table>"


@pytest.fixture(scope="module")
def page(run) -> str:
    return unpacked(render(run, pictures=True))


def unpacked(page: str) -> str:
    """A page without the packed Vega."""
    (packed,) = re.findall(r'<script type="application/gzip" id="vega">([\w+/=]+)</script>', page)
    assert packed == vega().base64
    return page.replace(packed, "")


def test_no_address_leads_outside(page):
    without_pictures = re.sub(r"data:image/png;base64,[\w+/=]+", "", page)
    assert not re.findall(r"https?:|//\w|@import|url\(", without_pictures)
    targets = re.findall(r"""(?:src|href|action|srcset)\s*=\s*["']?([^"'\s>]*)""", page)
    assert all(t.startswith(("#", "data:image/png;base64,")) for t in targets)
    assert "default-src 'none'" in html.unescape(page)


def test_the_script_is_the_one_that_the_policy_allows(page):
    script = re.search(r"<script>(.*?)</script>", page, re.DOTALL)
    digest = base64.b64encode(hashlib.sha256(script[1].encode()).digest()).decode()
    assert f"script-src 'sha256-{digest}' 'sha256-{vega().digest}';" in html.unescape(page)
    # The others are data, which a browser does not run.
    others = re.findall(r"<script ([^>]*)>", page)
    assert set(others) == {'type="application/json"', 'type="application/gzip" id="vega"'}


def test_no_picture_and_no_name_where_not_asked_for(run):
    closed = unpacked(render(run, pictures=False))
    assert "data:image" not in closed
    assert "base64" not in closed
    assert "img-src 'none'" in html.unescape(closed)
    assert "<img" not in closed
    assert "person_00" not in closed
    assert "broken/file.jpg" not in closed
    first = base64.b64encode(run.references["picture"][0].as_py()).decode()
    assert first[:60] not in closed
    assert first in render(run, pictures=True)


def test_the_most_confident_repeat_is_shown(run, page):
    row = headline_rows(run)[0]
    mine = [
        r
        for r in run.reconstructions.select(["cell", "target", "confidence", "picture"]).to_pylist()
        if r["cell"] == row.cell.cell and r["target"] == 0
    ]
    chosen, *others = sorted(mine, key=lambda r: -r["confidence"])
    assert base64.b64encode(chosen["picture"]).decode() in page
    assert all(base64.b64encode(o["picture"]).decode() not in page for o in others)


def test_all_attacks_stand_side_by_side_then_the_strongest_comes_first(run):
    results = RunResults.of(run)
    side_by_side, first, *_ = grids(results)
    assert first.attack == words(results.undefended.attack.attack)
    assert [row.label for row in side_by_side.rows[1:]] == [
        words(row.attack) for row in results.rows if row.kind == "undefended"
    ]


def test_of_an_attack_on_answers_the_first_try_is_shown(run):
    """It inverts the answer to the very picture that stands in the row of real faces."""
    people = {0: "somebody"}
    cell = run.record.cells[2].cell
    mine = run.reconstructions.filter(pc.equal(run.reconstructions["cell"], cell))
    rows = [r for r in mine.to_pylist() if r["target"] == 0]
    first = min(rows, key=lambda r: r["repeat"])
    best = max(rows, key=lambda r: r["confidence"])
    assert first["picture"] != best["picture"]
    for chosen, wanted in ((True, first), (False, best)):
        (shown,) = attack_pictures(mine, people, "a", None, first=chosen)
        assert base64.b64encode(wanted["picture"]).decode() in shown.source


def test_two_attacks_need_no_comparison(run):
    rows = [r for r in headline_rows(run) if r.attack in ("latent_white_box", "pixel_gray_box")]
    assert all("every attack" not in grid.attack for grid in grids(RunResults(run, tuple(rows))))


def test_a_hostile_name_stays_text():
    people = [HOSTILE, "a", "b"]
    hostile = fake_run(alphas=(0.5,), targets=3, repeats=2, people=people)
    record, cells = hostile.record.model_dump(), cells_of(hostile)
    cells[1] |= {"label": HOSTILE, "defense": HOSTILE}
    hostile = with_record(
        hostile,
        name=HOSTILE,
        warnings=[HOSTILE],
        data={**record["data"], "skipped": [HOSTILE]},
        experiment={**record["experiment"], "name": HOSTILE},
        cells=cells,
    )
    page = render(hostile, pictures=True)
    assert "<img src=x" not in page
    assert page.count("&lt;img src=x") >= 5
    assert page.count("</table>") == page.count("<table")


def test_the_numbers_are_in_the_table(run, page):
    row = headline_rows(run)[0]
    assert f"{row.by_evaluator[0].success.value * 100:.1f}%" in page
    assert f"{row.by_evaluator[0].success.low * 100:.1f}–" in page
    assert page.count("<tbody>") >= 4
    assert "recommended" in page


def test_every_table_has_a_caption_and_every_picture_a_text(page):
    assert page.count("<caption") == page.count("<table")
    assert page.count("<img") == len(re.findall(r'<img [^>]*alt="[^"]+"', page))


def test_the_configuration_and_the_versions_are_there(run, page):
    assert "name: dummy_recognizer" in page
    assert run.record.provenance["git"] in page
    assert run.record.artifacts[0].id in page


def test_the_page_does_not_depend_on_the_order_of_rows(run, page):
    rows = run.reconstructions
    turned = rows.take(list(range(rows.num_rows - 1, -1, -1)))
    again = render(dataclasses.replace(run, reconstructions=turned), pictures=True)
    assert unpacked(again) == page


def test_the_page_says_what_a_blind_guess_reaches(run):
    counted = with_record(run, data={**run.record.data, "private_people": 158})
    assert "among the 158 people is right in 0.6% (top-1) and 3.2% (top-5)" in render(
        counted, pictures=False
    )
    silent = with_record(run, data={})
    assert "A blind guess" not in render(silent, pictures=False)


def test_further_metrics_stand_in_a_table_of_their_own(run):
    page = render(run, pictures=False)
    assert "More by each evaluator" in page
    assert "people found in any try" in page
    # Its first evaluator has nobody before it that could deny.
    assert page.count("denied by the first evaluator") == len(run.evaluators) - 1


def test_the_page_says_which_suite_ran_and_how_it_was_changed(run):
    suite = {"name": "standard", "version": 3, "attacks": ["label_only", "ami"]}
    said = "The attacks are the standard suite, version 3: label_only, ami."
    page = render(with_record(run, suite=suite), pictures=False)
    assert said in page
    assert "suite was changed" not in page
    changed = render(with_record(run, suite={**suite, "changed": ["ami"]}), pictures=False)
    assert (
        "The standard suite was changed: ami ran with other settings than it has there." in changed
    )
    assert "standard suite" not in render(run, pictures=False)


def test_the_models_table_says_who_else_is_taken_for_a_label(run):
    models = [row | {"others_taken": 1.25} for row in run.models.to_pylist()]
    rows = pa.Table.from_pylist(models, run.models.schema)
    page = render(dataclasses.replace(run, models=rows), pictures=False)
    assert '<th scope="col">Others taken for a label</th>' in page
    assert "<td>1.25</td>" in page


def test_the_page_says_what_an_attacker_holds_or_sees(run):
    seen = {"latent_white_box": "white box", "label_only": "labels"}
    cells = [{**cell, "access": seen.get(cell["attack"], "")} for cell in cells_of(run)]
    page = render(with_record(run, cells=cells), pictures=False)
    assert "<small>the attacker holds the weights</small>" in page
    assert "<small>the attacker sees labels</small>" in page
    assert "sees: " not in page


def test_key_columns_stand_first_and_every_cell_has_its_heading_for_a_card(page):
    section = re.search(r'<section id="results">.*?</table>', page, re.DOTALL)[0]
    assert '<input type="checkbox"> all columns' in section
    heads = re.findall(r'<th scope="col" class="([^"]*)">([^<]*)', section)
    hidden = {text.strip() for classes, text in heads if "more" in classes.split()}
    assert {"median rank", "attacked people", "steps"} <= hidden
    assert not hidden & {"top-1", "top-5", "all people", "queries"}
    labels = set(re.findall(r'data-label="([^"]+)"', section))
    assert {"accuracy, all people", "same people: top-5", "person disjoint: top-1"} <= labels
