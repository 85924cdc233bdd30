"""Our figures, found in runs whose numbers are given one by one."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence

import pyarrow as pa
import pytest

from inversionlab.metrics import wilson
from inversionlab.papers.clones import BestClone, BestOfClones
from inversionlab.papers.finder import Finder, NotRunError
from inversionlab.papers.finders import (
    Accuracy,
    EvaluatorAccuracy,
    InvertedError,
    OfMeasure,
    OfMeasurements,
    Success,
)
from inversionlab.results.load import RunData
from inversionlab.results.run_results import RunResults
from tests.report.hand_run import hand_run, tries

UNDEFENDED = [1, 1, 9, 2, 1, 9]
MIXED = [9, 9, 1, 9, 9, 9]
"""Ranks of two tries at each of three people."""
OWN, SCORES = [0.9, 0.6, 0.1, 0.2, 0.3, 0.4], [0.7, 0.6, 0.1, 0.2, 0.3, 0.4]
"""Scores of such tries by the attacked model, and by the evaluator."""


def run(undefended: Sequence[int] = UNDEFENDED, mixed: Sequence[int] = MIXED) -> RunData:
    made = hand_run(
        {
            ("a", "none"): undefended,
            ("a", "0.5"): mixed,
            ("random_public", "none"): [3] * len(undefended),
        },
        {"none": 900, "0.5": 880},
    )
    jobs = made.record.jobs.model_copy(update={"targets": (0, 1, 2), "repeats": 2})
    cells = tuple(
        cell.model_copy(update={"null": True}) if cell.attack == "random_public" else cell
        for cell in made.record.cells
    )
    record = made.record.model_copy(update={"jobs": jobs, "cells": cells})
    return dataclasses.replace(made, record=record)


def results(made: RunData | None = None) -> RunResults:
    return RunResults.of(made or run())


def test_success_is_by_people_and_has_the_tries_of_the_named_model() -> None:
    found = Success("r", attack="a").find(results(), {})
    assert found.share
    assert found.run == "r"
    assert found.estimate == tries(True, True, False, False, True, False)
    assert found.of_person == {0: 1.0, 1: 0.0, 2: 0.5}
    top5 = Success("r", attack="a", top=5).find(results(), {}).estimate
    assert top5 == tries(True, True, False, True, True, False)
    mixed = Success("r", "dummy_recognizer", "a", point=0.5).find(results(), {}).estimate
    assert mixed.value == pytest.approx(1 / 6)
    guess = Success("r", "no model", "random_public", top=5).find(results(), {}).estimate
    assert guess.value == 1


def test_of_one_person_the_unit_is_the_try() -> None:
    second = Success("r", attack="a", top=2, place=1).find(results(), {}).estimate
    assert second == wilson(1, 2)
    with pytest.raises(NotRunError, match="3 targets only"):
        Success("r", attack="a", place=3).find(results(), {})


def test_others_that_are_taken_for_a_person_are_counted_person_by_person() -> None:
    made = run()
    place = made.models.column_names.index("others_taken_of")
    taken = pa.array([[0, 3, 9]] * made.models.num_rows, made.models.schema.field(place).type)
    models = made.models.set_column(place, made.models.schema.field(place), taken)
    found = OfMeasurements("r", key="others_taken_of").find(
        results(dataclasses.replace(made, models=models)), {}
    )
    assert found.of_person == {0: 0.0, 1: 3.0, 2: 9.0}
    assert found.estimate.value == 4.0
    # Student's t of 2 degrees times the deviation 4.583 over the root of 3.
    assert found.estimate.high == pytest.approx(4 + 4.303 * 4.583 / 3**0.5, rel=1e-3)


def test_accuracies_of_models_and_evaluators() -> None:
    assert Accuracy("r").find(results(), {}).estimate == wilson(900, 1000)
    mixed = Accuracy("r", "dummy_recognizer", point=0.5).find(results(), {})
    assert mixed.estimate == wilson(880, 1000)
    assert EvaluatorAccuracy("r").find(results(), {}).estimate == wilson(950, 1000)
    with pytest.raises(NotRunError, match="evaluator `sface`"):
        EvaluatorAccuracy("r", evaluator="sface").find(results(), {})


def test_the_error_of_inverted_answers_is_a_mean_over_people() -> None:
    made = run()
    error_N = [0.01, 0.03, 0.02, 0.02, 0.06, 0.06] + [math.nan] * 12
    place = made.reconstructions.column_names.index("error")
    table = made.reconstructions.set_column(place, "error", pa.array(error_N, pa.float32()))
    found = InvertedError("r", attack="a").find(
        results(dataclasses.replace(made, reconstructions=table)), {}
    )
    estimate = found.estimate
    # The people's means are 0.02, 0.02, 0.06: 0.0333, and Student's t of 2 degrees times their error 0.0133.
    assert not found.share
    assert estimate.value == pytest.approx(0.1 / 3, abs=1e-6)
    assert estimate.high - estimate.value == pytest.approx(4.303 * 0.04 / 3, rel=1e-3)


@pytest.mark.parametrize(
    ("finder", "why"),
    [
        (Success("r", attack="b"), "`b` on `none` is not in the run"),
        (Success("r", "gan_fake_samples", "a"), "`gan_fake_samples` is not in the run"),
        (Success("r", "dummy_recognizer", "a", point=0.3), "at 0.3 is not in the run"),
        (Success("r", attack="a", evaluator="sface"), "there is no evaluator `sface`"),
        (OfMeasurements("r"), "not measured in this run"),
        (OfMeasure("r", of="generator_distance", key="same"), "has not been measured"),
        (InvertedError("r", attack="a"), "not measured in this run"),
    ],
)
def test_what_is_not_there_says_why(finder: Finder, why: str) -> None:
    with pytest.raises(NotRunError, match=why):
        finder.find(results(), {})


def test_an_unfinished_attack_is_not_told_as_finished() -> None:
    made = run()
    # The last try at the mixed model is missing.
    keep = [i for i in range(made.reconstructions.num_rows) if i != 11]
    cut = dataclasses.replace(made, reconstructions=made.reconstructions.take(pa.array(keep)))
    with pytest.raises(NotRunError, match="only 5 of 6 tries are stored"):
        Success("r", "dummy_recognizer", "a", point=0.5).find(results(cut), {})


def test_the_best_clone_by_the_evaluator_and_by_the_attacked_model() -> None:
    made = run(undefended=[4, 2, 9, 9, 9, 9])
    own_N = [0.9, 0.6, *[0.5] * 16]
    place = made.reconstructions.column_names.index("confidence")
    table = made.reconstructions.set_column(place, "confidence", pa.array(own_N, pa.float32()))
    runs = results(dataclasses.replace(made, reconstructions=table))

    def figure(figure: str, chosen_by: str) -> float:
        finder = BestClone(
            "r",
            attack="a",
            place=0,
            figure=figure,
            chosen_by=chosen_by,  # type: ignore[arg-type]
        )
        return finder.find(runs, {}).estimate.value

    assert figure("rank", "evaluator") == 2
    assert figure("own", "evaluator") == pytest.approx(0.6)
    assert figure("rank", "attacker") == 4
    assert figure("own", "attacker") == pytest.approx(0.9)


def test_over_all_people_the_best_clones_are_counted_by_people() -> None:
    made = run(undefended=[1, 2, 9, 3, 1, 1])
    rows = made.reconstructions.to_pylist()
    for row, own, score in zip(rows, OWN, SCORES, strict=False):
        row["confidence"], row["verdicts"][0]["score"] = own, score
    table = pa.Table.from_pylist(rows, schema=made.reconstructions.schema)
    runs = results(dataclasses.replace(made, reconstructions=table))
    first = BestOfClones("r", attack="a").find(runs, {})
    assert first.share
    assert first.of_person == {0: 1.0, 1: 0.0, 2: 1.0}
    assert first.estimate.value == pytest.approx(2 / 3)
    assert first.estimate.count == 3
    own = BestOfClones("r", attack="a", figure="own").find(runs, {})
    # Both tries at person 2 have the first rank, and the evaluator's score decides.
    assert own.of_person == pytest.approx({0: 0.9, 1: 0.2, 2: 0.4})
    assert own.estimate.value == pytest.approx(0.5)
