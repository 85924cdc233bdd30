"""A paper's charts and grids of pictures, from a run that is made up."""

from __future__ import annotations

import base64
import dataclasses

import pytest

from inversionlab.papers.compare import RecipeRun, compare
from inversionlab.papers.figures import charts, picture_grids
from inversionlab.papers.finder import DECOYS
from inversionlab.papers.finders import OfMeasure
from inversionlab.papers.paper import Cell, Pictures, Table
from inversionlab.report.pictures import Grid
from inversionlab.results.run_results import RunResults
from tests.report.fake_run import fake_run

ATTACK, MODEL = "latent_white_box", "dummy_recognizer"


@pytest.fixture(scope="module")
def results() -> RunResults:
    made = fake_run(alphas=(0.25, 0.5), targets=3, repeats=2)
    jobs = made.record.jobs.model_copy(update={"targets": (0, 1, 2), "repeats": 2})
    record = made.record.model_copy(update={"jobs": jobs})
    return RunResults.of(dataclasses.replace(made, record=record), frechet=False)


def grid(results: RunResults, pictures: Pictures) -> Grid:
    table = Table(key="f", title="Fig. 1: p", pictures=(pictures,))
    runs = {"r": RecipeRun(results)}
    (found,) = picture_grids(compare(table, (), runs), runs)
    return found


def test_a_row_for_each_model_between_real_and_synthetic_faces(results: RunResults) -> None:
    rows = (
        ("alpha = 1", ATTACK, "none", None),
        ("alpha = 0.25", ATTACK, MODEL, 0.25),
        ("alpha = 0.3", ATTACK, MODEL, 0.3),
    )
    found = grid(results, Pictures("r", rows, synthetic=True))
    labels = [row.label for row in found.rows]
    # Nothing was run at 0.3, so it has no row.
    assert labels == ["real face", "alpha = 1", "alpha = 0.25", "synthetic face"]
    assert all(len(row.pictures) == 3 and row.filled for row in found.rows)
    assert len(found.people) == 3


def test_the_public_people_of_the_protected_labels_have_a_row(results: RunResults) -> None:
    rows = (("none", ATTACK, "none", None),)
    table = Table(key="f", title="Fig. 2: p", pictures=(Pictures("r", rows, decoys=True),))
    assert table.measures == (("r", DECOYS),)
    shown = base64.b64encode(results.run.reconstructions["picture"][0].as_py()).decode()
    measured = {DECOYS: {str(t): {"picture": shown, "means": {}} for t in range(3)}}
    runs = {"r": RecipeRun(results, measured)}
    (found,) = picture_grids(compare(table, (), runs), runs)
    assert [row.label for row in found.rows] == ["real face", "none", "decoy"]
    assert {p.source for p in found.rows[2].pictures} == {f"data:image/png;base64,{shown}"}


def test_clones_stand_below_one_another(results: RunResults) -> None:
    rows = (("clones", ATTACK, "none", None),)
    found = grid(results, Pictures("r", rows, clones=25, real=False))
    assert [row.label for row in found.rows] == ["clones, try 1", "clones, try 2"]
    first, second = found.rows
    assert all(p.source.startswith("data:image/png;base64,") for p in first.pictures)
    assert [p.source for p in first.pictures] != [p.source for p in second.pictures]


def test_the_evaluators_choice_has_its_best_rank(results: RunResults) -> None:
    rows = (("best", ATTACK, "none", None),)
    found = grid(results, Pictures("r", rows, best_by_evaluator=True, real=False))
    table = results.run.reconstructions.to_pylist()
    cell = next(r.cell.cell for r in results.rows if r.attack == ATTACK and r.kind == "undefended")
    for target, picture in enumerate(found.rows[0].pictures):
        mine = [r for r in table if r["cell"] == cell and r["target"] == target]
        ranks = [r["verdicts"][0]["rank"] for r in mine]
        assert picture.rank == min(ranks)


def test_points_of_estimated_gradients_are_drawn_with_guide_lines() -> None:
    finder = OfMeasure("r", of="gradient_estimates", key="rule")
    table = Table(key="f", title="Fig. 7: c", cells=(Cell("C < 0.1", "share", finder),))
    measured = {
        "gradient_estimates": {
            "rule": {"value": 1.0, "low": 0.5, "high": 1.0, "count": 3},
            "variances": [0.01, 1.0],
            "criterion": [[0.05, 0.06], [0.5, 0.9]],
            "cosine": [[0.99, 0.98], [0.3, 0.1]],
        }
    }
    runs = {"r": RecipeRun(measured=measured)}
    (chart,) = charts(compare(table, (), runs), runs)
    assert [(row["series"], row["x"], row["y"]) for row in chart.rows] == [
        ("σ² = 0.01", 0.05, 0.99),
        ("σ² = 0.01", 0.06, 0.98),
        ("σ² = 1", 0.5, 0.3),
        ("σ² = 1", 0.9, 0.1),
    ]
    assert chart.picture.count("cosine 0.") == 4
    assert chart.picture.count("stroke-dasharray") == 2
    assert "σ² = 0.01" in chart.picture
