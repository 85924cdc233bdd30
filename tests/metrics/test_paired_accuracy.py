"""Differences of accuracies on the same pictures: by hand, and the coverage of their intervals."""

from __future__ import annotations

import math

import numpy as np
import pytest

from inversionlab.metrics.by_person import student_95
from inversionlab.metrics.paired_accuracy import paired_accuracy

UNEQUAL = np.array(
    [106, 47, 24, 23, 22, 15, 14, 12, 11, 10, 10, 9] + 25 * [8] + 15 * [5] + 10 * [4]
)
"""Test pictures of 62 people: a person is on a sixth of all."""


def test_by_hand() -> None:
    # Two people, on 4 pictures each: 1 and 3 more are recognized. D = 4 / 8; each is 1/4 away from D.
    found = paired_accuracy(np.array([0.75, 1]), np.array([0.5, 0.25]), np.array([4.0, 4]))
    assert found.value == 0.5
    variance = 2 * 0.25**2 / 2 + 1 / 64
    half = student_95(2) * math.sqrt(variance)
    assert (found.low, found.high) == (pytest.approx(max(-1, 0.5 - half)), 1.0)


def test_pictures_weigh_and_not_people() -> None:
    found = paired_accuracy(np.array([1.0, 0]), np.array([0.0, 0]), np.array([30.0, 10]))
    assert found.value == 0.75


def test_models_that_err_alike_are_not_known_to_be_equal() -> None:
    same_M = np.linspace(0, 1, 50)
    found = paired_accuracy(same_M, same_M, np.full(50, 10.0))
    assert found.value == 0
    # Half a picture of 500 on either side.
    assert -found.low == found.high == pytest.approx(student_95(49) / 500)


def test_what_is_not_known() -> None:
    assert math.isnan(paired_accuracy(np.zeros(0), np.zeros(0), np.zeros(0)).value)
    alone = paired_accuracy(np.array([1.0]), np.array([0.5]), np.array([8.0]))
    assert alone.value == 0.5
    assert math.isnan(alone.low)


@pytest.mark.parametrize("pictures_M", [UNEQUAL, np.full(158, 5)], ids=["unequal", "equal"])
@pytest.mark.parametrize(
    ("lost", "gained", "likeness", "least"),
    [(0.01, 0.01, 1, 880), (0.03, 0.02, 1, 905), (0.05, 0.02, 10, 930), (0.15, 0.05, 3, 930)],
)
def test_coverage(
    pictures_M: np.ndarray, lost: float, gained: float, likeness: float, least: int
) -> None:
    """1,000 experiments. At a likeness of 1 nearly all losses are at few people, the hardest case."""
    rng, held, people = np.random.default_rng(3), 0, len(pictures_M)
    person_N = np.repeat(np.arange(people), pictures_M)
    truth = 0.85 * lost - 0.15 * gained
    for _ in range(1000):
        chance_M = rng.beta(lost * likeness * 20, (1 - lost) * likeness * 20, people)
        before_N, drawn_N = rng.random(len(person_N)) < 0.85, rng.random(len(person_N))
        after_N = np.where(drawn_N < chance_M[person_N], False, (drawn_N > 1 - gained) | before_N)
        one_M, other_M = (
            np.bincount(person_N, hit_N) / pictures_M for hit_N in (before_N, after_N)
        )
        found = paired_accuracy(one_M, other_M, pictures_M.astype(float))
        held += found.low <= truth <= found.high
    assert least <= held <= 970
