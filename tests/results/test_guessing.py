"""How many guesses count as success, and what says so: among few people only the first."""

from __future__ import annotations

import dataclasses
import io
import re

import pyarrow as pa
import pytest
from rich.console import Console

from inversionlab.api.report import Report
from inversionlab.report.audit.notebook import compact_html
from inversionlab.report.audit.page import render
from inversionlab.report.audit.sentence import caveats, headline_sentence
from inversionlab.report.audit.terminal import terminal_table
from inversionlab.report.charts.figure import vega
from inversionlab.results.guessing import guesses, guesses_of, known_people
from inversionlab.results.load import RunData
from inversionlab.results.run_results import RunResults
from tests.report.fake_run import fake_run, with_record
from tests.report.hand_run import hand_run


@pytest.mark.parametrize("people", range(2, 200))
def test_a_metric_can_fail(people: int) -> None:
    k = guesses([people])
    assert k < people / 2 or k == 1
    assert k == (1 if people <= 10 else 5)


@pytest.mark.parametrize(
    ("people", "k"), [([], 5), ([None], 5), ([0], 5), ([40, 4], 1), ([None, 4], 1), ([11, 300], 5)]
)
def test_the_evaluator_of_the_fewest_decides(people: list[int | None], k: int) -> None:
    assert guesses(people) == k


def test_a_person_disjoint_evaluator_knows_others_too() -> None:
    data = {"private_people": 40, "evaluator_people": 12}
    assert known_people("same_people", data, {}, 4) == 40
    assert known_people("person_disjoint", data, {}, 4) == 16
    assert known_people("person_disjoint", data, {"targets": {"pool": 20}}, 4) == 32
    assert known_people("person_disjoint", {"private_people": 40}, {}, 4) is None
    recipe = {"evaluators": [{"protocol": "same_people"}, {"protocol": "person_disjoint"}]}
    assert guesses_of(data, recipe, 4, {}) == 5
    assert guesses_of(data | {"evaluator_people": 0}, recipe, 4, {}) == 1


def test_a_measured_evaluator_knows_as_many_as_it_says() -> None:
    data = {"private_people": 158, "evaluator_people": 0}
    recipe = {"evaluators": [{"name": "theirs", "protocol": "given"}]}
    assert guesses_of(data, recipe, 60, {"theirs": None}) == 5
    assert guesses_of(data, recipe, 60, {"theirs": 8}) == 1
    run = with_record(hand_run({("a", "none"): [1] * 6}, {"none": 9}), data=data, experiment=recipe)
    place = run.evaluators.schema.get_field_index("people")
    known = pa.array([8], run.evaluators.schema.field(place).type)
    evaluators = run.evaluators.set_column(place, "people", known)
    results = RunResults.of(dataclasses.replace(run, evaluators=evaluators))
    assert (results.guesses, results.chance(0)) == (5, 0.625)
    named = evaluators.set_column(0, "evaluator", pa.array(["theirs"]))
    results = RunResults.of(dataclasses.replace(run, evaluators=named))
    assert (results.guesses, results.chance(0)) == (1, 0.125)


@pytest.fixture
def four() -> RunData:
    """Four people of whom two are attacked: every try is among the first five, guesses included."""
    ranks = {
        ("gmi", "none"): [1, 1, 1, 4],
        ("gmi", "0.5"): [4, 3, 2, 2],
        ("random_latent", "none"): [1, 4, 3, 2],
    }
    run = hand_run(ranks, {"none": 950, "0.5": 945})
    return with_record(run, data={"private_people": 4, "evaluator_people": 0})


def test_among_four_people_the_first_guess_decides(four: RunData) -> None:
    results = RunResults.of(four)
    assert results.guesses == 1
    assert results.undefended is not None
    assert results.null is not None
    assert results.best is not None
    found = (results.undefended, results.best, results.null)
    assert [f.success.value for f in found] == [0.75, 0.0, 0.25]
    assert results.chance(0) == 0.25
    said = headline_sentence(results)
    assert "puts the right person first in 75.0% of the tries" in said
    assert "(guessing without the model: 25.0%; chance: 25.0%)" in said


def test_nothing_says_what_five_guesses_find_among_four(four: RunData) -> None:
    results = RunResults.of(four)
    stream = io.StringIO()
    Console(file=stream, width=200).print(terminal_table(results))
    assert "top-1 (95%)" in stream.getvalue()
    page = render(four, pictures=False).replace(vega().base64, "")
    texts = (stream.getvalue(), compact_html(results, pictures=False), page)
    for text in (*texts, headline_sentence(results), *caveats(results)):
        assert not re.search(r"top.5|top 5|first five", text, re.IGNORECASE)


def test_chance_stands_beside_every_rate(four: RunData) -> None:
    for run, chance in ((four, 0.25), (fake_run(alphas=(0.25,), targets=6), 5 / 120)):
        results = RunResults.of(run)
        assert results.chance(0) == chance
        page = render(run, pictures=False)
        answers = re.search(r'<dl class="answers">.*?</dl>', page, re.DOTALL)
        assert answers is not None
        assert f"chance: {chance:.1%}" in answers[0]
        assert f"chance: {chance:.1%}" in headline_sentence(results)
        table = Report(run, "runs").table
        assert set(table["chance"]) == {chance}
        assert set(table["guesses"]) == {results.guesses}


def test_by_another_evaluator_a_guess_is_compared_with_its_own() -> None:
    """`worst`: the evaluator that decides undefended also says what a guess achieves."""
    run = fake_run(alphas=(0.25,), seed=3)
    results = RunResults.of(run, headline="worst")
    assert results.undefended is not None
    assert results.null is not None
    place = results.undefended.evaluator
    assert results.null.evaluator == place
    mine = [row for row in results.rows if row.kind == "null"]
    assert results.null.success.value == max(r.by_evaluator[place].success.value for r in mine)
