"""Pages of given victims: what the model is, who judges, and what is said where nobody can."""

from __future__ import annotations

import html
import io
import re

import pyarrow as pa
import pytest
from rich.console import Console

from inversionlab.report.audit.page import render
from inversionlab.report.audit.sentence import caveats, headline_sentence, run_answers
from inversionlab.report.audit.terminal import terminal_table
from inversionlab.report.pictures import grids
from inversionlab.results.load import RunData
from inversionlab.results.run_results import RunResults
from tests.report.fake_run import cells_of, fake_run, with_record
from tests.report.given_run import given_run, unjudged_run

SFACE = "SFace, an embedding trained elsewhere; its gallery is made of held-out private pictures"
NAMED = (
    "victim.classes: 2 people are mixed up: pictures of `person_001` are recognized as `person_002`"
)


def text(run: RunData, *, pictures: bool = True) -> str:
    """The page's text without its tags; the script and the style are left out."""
    page = re.sub(r"<(style|script)>.*?</\1>", "", render(run, pictures=pictures), flags=re.DOTALL)
    return html.unescape(re.sub(r"\s+", " ", re.sub(r"<[^>]+>", " ", page)))


def printed(run: RunData) -> str:
    console = Console(width=200, file=io.StringIO())
    console.print(terminal_table(RunResults.of(run)))
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue()


def section(page: str, name: str) -> str:
    """The HTML of one section."""
    found = re.search(rf'<section id="{name}".*?</section>', page, re.DOTALL)
    assert found, f"there is no section {name}"
    return found[0]


def test_the_headline_says_that_success_cannot_be_judged() -> None:
    said = headline_sentence(RunResults.of(unjudged_run()))
    assert said.startswith("Success cannot be judged: no private pictures were at hand")
    assert "scores the pictures of plug and play highest: 90.0%" in said
    assert "It is 43.0% sure that real faces of strangers" in said
    assert "no attack is called the strongest." in said
    assert all(
        answer.text in text(unjudged_run()) for answer in run_answers(RunResults.of(unjudged_run()))
    )


def test_without_a_score_of_strangers_nothing_is_said_of_it() -> None:
    run = unjudged_run(stranger_score=None)
    assert "real faces of strangers" not in headline_sentence(RunResults.of(run))
    assert "What about strangers?" not in text(run)
    assert "What about strangers?" in text(unjudged_run())


def test_attacks_stand_in_the_order_of_the_models_own_score() -> None:
    results = RunResults.of(unjudged_run())
    order = ["plug_and_play", "mirror", "latent_white_box", "label_only"]
    assert [r.attack for r in results.rows if r.kind == "undefended"] == order
    assert [r.attack for r in results.by_own_score] == order[:3]
    assert (results.undefended, results.best, results.recommended) == (None, None, None)
    judged = RunResults.of(given_run())
    cells = [cell.attack for cell in judged.run.record.cells if not cell.null]
    assert [r.attack for r in judged.rows if r.kind == "undefended"] == cells


def test_the_terminal_shows_scores_and_no_success() -> None:
    shown = printed(unjudged_run())
    assert "Model's own score" in shown
    assert shown.count("not judged") == 6, "four attacks and two null attacks"
    assert "Accuracy" not in shown
    assert "top-5" not in shown
    assert re.search(r"plug and play .* 90\.0%", shown)
    assert re.search(r"random latent .*– .* not judged", shown)
    assert "not judged" not in printed(given_run())


def test_the_page_has_no_part_that_needs_an_evaluator() -> None:
    page = render(unjudged_run(), pictures=True)
    for name in ("evaluators", "cmc", "curves", "defenses"):
        assert f'id="{name}"' not in page
        assert f'href="#{name}"' not in page
    results = section(page, "results")
    assert "not attacked yet" not in results
    assert "top-5" not in results.lower()
    assert "Recognition accuracy" not in results
    assert "90.0%" in results
    words = set(re.findall(r"\w+", text(unjudged_run(), pictures=False)))
    assert not words & {"nan", "inf", "Undefined"}
    assert 'id="evaluators"' in render(given_run(), pictures=True), "the check above can fail"


def test_every_row_of_the_table_has_as_many_cells_as_its_head() -> None:
    for run in (unjudged_run(), given_run()):
        table = section(render(run, pictures=False), "results")
        head = re.search(r"<thead>.*?</thead>", table, re.DOTALL)
        assert head
        second = head[0].split("</tr>")[1]
        columns = second.count("<th scope") + 1
        bodies = re.findall(r"<tr class=\"[^\"]*\">.*?</tr>", table.replace(head[0], ""), re.DOTALL)
        rows = [row for row in bodies if 'class="group"' not in row]
        assert rows
        assert {len(re.findall(r"<td|<th", row)) for row in rows} == {columns}
        groups = [row for row in bodies if 'class="group"' in row]
        assert {re.search(r'colspan="(\d+)"', g)[1] for g in groups} == {str(columns)}  # type: ignore[index]


def test_pictures_stand_without_real_faces_and_beside_guesses() -> None:
    (grid,) = grids(RunResults.of(unjudged_run()))
    labels = [row.label for row in grid.rows]
    assert labels == [
        *("plug and play", "mirror", "latent white box", "label only"),
        *("random latent", "random public"),
    ]
    assert [row.note for row in grid.rows[-2:]] == ["a guess, no model asked"] * 2
    assert all(row.filled for row in grid.rows)
    # Of both repeats the one with the higher score is shown.
    assert [p.own_score for p in grid.rows[0].pictures] == pytest.approx([0.95] * 4)
    assert [p.own_score for p in grid.rows[3].pictures] == [None] * 4
    assert "There are no pictures of the people themselves" in text(unjudged_run())
    judged, *_ = grids(RunResults.of(given_run()))
    assert judged.rows[0].label == "real face"
    assert [p.own_score for p in judged.rows[1].pictures] == [None] * 4


def test_without_pictures_nobody_is_named() -> None:
    for run in (unjudged_run(fault=NAMED), given_run(fault=NAMED)):
        closed = render(run, pictures=False)
        assert "person_00" not in closed
        assert "data:image" not in closed
        assert "found something wrong; the run’s record says what it is." in closed
        assert "person_001` are recognized" in text(run)


def test_a_defended_model_is_not_recommended_where_nobody_judges() -> None:
    run = unjudged_run()
    cells = cells_of(run)
    defended = [
        {**c, "cell": f"{c['cell']}+", "protected": "noise", "defense": "uniform_noise"}
        | {"title": "uniform_noise", "baseline": False}
        for c in cells
        if not c["null"]
    ]
    said = headline_sentence(RunResults.of(with_record(run, cells=cells + defended)))
    assert said.endswith("no attack is called the strongest and no defense is recommended.")
    page = text(with_record(run, cells=cells + defended))
    assert "not attacked yet" in page
    assert "4 of 10 combinations have not been attacked yet." in page


def test_stripped_attacks_that_nobody_judged_are_not_denied() -> None:
    run = unjudged_run()
    noise = {"protected": "noise", "defense": "uniform_noise", "title": "uniform_noise"}
    bare = next(c for c in cells_of(run) if c["attack"] == "latent_white_box")
    cells = [*cells_of(run), {**bare, **noise, "baseline": False, "stripped": True}]
    lines = caveats(RunResults.of(with_record(run, cells=cells)))
    (line,) = (line for line in lines if "perturbation" in line)
    assert line.endswith("Such attacks were made in this run, and their success is not judged.")


def test_before_any_attack_and_without_any_score() -> None:
    run = unjudged_run()
    none = fake_run(alphas=(), targets=2, repeats=1).reconstructions.slice(0, 0)
    empty = RunData(**{**vars(run), "reconstructions": none})
    assert "No attack has been made yet." in headline_sentence(RunResults.of(empty))
    text(empty)
    label_only = run.reconstructions.filter(
        [attack == "label_only" for attack in run.reconstructions["attack"].to_pylist()]
    )
    silent = RunData(**{**vars(run), "reconstructions": label_only})
    assert "own scores of the reconstructions are not known" in headline_sentence(
        RunResults.of(silent)
    )
    text(silent)


def test_the_page_says_what_the_given_model_is() -> None:
    page = text(given_run())
    for said in (
        "It was given and not trained here.",
        "facenet.model:FaceNet , weights facenet.pt",
        "158 people",
        "everything: weights, gradients and scores (white box)",
        "size as it is; RGB; range 0..1; mean 0.485, 0.456, 0.406; NCHW",
        "95.2% (93.1–96.6) of 600 given test pictures, which may be among its training pictures",
        "the given model recognizes 95.0% (93.0% to 96.5%) of 600 pictures",
        "If it was trained on them, it does worse on new ones.",
    ):
        assert said in page
    assert "not known: no private pictures were at hand" in text(unjudged_run())
    assert 'id="model"' not in render(fake_run(alphas=(), targets=2, repeats=1), pictures=False)


@pytest.mark.parametrize("shows", ["scores", "labels"])
def test_a_model_that_shows_less_says_so(shows: str) -> None:
    run = given_run(shows=shows, why="an endpoint gives no gradients")
    line = f"The model shows {shows} only (an endpoint gives no gradients), so nobody has attacked"
    assert any(caveat.startswith(line) for caveat in caveats(RunResults.of(run)))
    assert f"{shows} only: an endpoint gives no gradients" in text(run)
    assert not any("shows" in caveat for caveat in caveats(RunResults.of(given_run())))


def test_what_was_forced_is_the_first_caveat() -> None:
    first, *_ = caveats(RunResults.of(given_run(fault="victim: recognizes 3.0%")))
    assert first.startswith("The audit was made with --force")
    assert first.endswith("victim: recognizes 3.0%.")


def test_evaluators_from_elsewhere_are_named_rightly() -> None:
    run = given_run()
    page = render(run, pictures=True)
    for name in ("results", "cmc", "evaluators"):
        assert SFACE in section(page, name), name
    assert "hr.onnx, a classifier that was given and not trained here" in section(
        page, "evaluators"
    )
    assert f"as the evaluator “sface” ({SFACE}) ranks them" in headline_sentence(RunResults.of(run))
    assert "An embedding trained elsewhere" in section(page, "guide")
    own = fake_run(alphas=(), targets=2, repeats=1)
    assert RunResults.of(own).evaluator_notes == ["", ""]
    assert "elsewhere" not in section(render(own, pictures=False), "results")


def test_given_networks_show_no_training() -> None:
    run = given_run()
    artifacts = [
        {"role": "generator (hub.gan:Gan, given)", "id": "77", "given": True},
        {"role": "victim", "id": "78", "seconds": 12.0, "trained": True},
    ]
    page = render(with_record(run, artifacts=artifacts), pictures=False)
    rows = re.findall(r"<tr>.*?</tr>", section(page, "provenance"), re.DOTALL)
    given, trained = (next(r for r in rows if f"<code>{i}</code>" in r) for i in (77, 78))
    assert "given, not trained" in given
    assert "<td>–</td>" in given
    assert "12 s" in trained
    assert "given" not in trained


def test_a_sweep_that_nobody_judges_has_no_curves() -> None:
    run = fake_run(alphas=(0.25, 0.5), evaluators=(), targets=3, repeats=1)
    models = [{**m, "total_all": 0, "total_targets": 0} for m in run.models.to_pylist()]
    models = [{**m, "correct_all": 0, "correct_targets": 0} for m in models]
    table = pa.Table.from_pylist(models, run.models.schema)
    experiment = {**run.record.experiment, "data": None}
    run = with_record(RunData(**{**vars(run), "models": table}), experiment=experiment)
    page = render(run, pictures=True)
    for name in ("curves", "cmc", "defenses", "evaluators"):
        assert f'id="{name}"' not in page
    assert "recommended" not in section(page, "results")
    grid, *others = grids(RunResults.of(run))
    assert grid.attack == "every attack on the undefended model"
    assert len(others) == 3, "one for each attack, with the defended models"
