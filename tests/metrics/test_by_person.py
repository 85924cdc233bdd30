"""Intervals by people: hand-derived cases, and their coverage in simulated experiments."""

from __future__ import annotations

import math

import numpy as np
import pytest

from inversionlab.metrics import by_person, wilson
from inversionlab.metrics.by_person import intraclass_correlation, student_95
from inversionlab.metrics.wilson import wilson_ends


def people(count: int, tries: int) -> np.ndarray:
    return np.repeat(np.arange(count), tries)


def test_with_one_try_a_person_it_is_wilsons_interval() -> None:
    hit_N = np.array([True] * 7 + [False] * 13)
    assert by_person(hit_N, people(20, 1)) == wilson(7, 20)


def test_tries_that_always_agree_are_worth_one() -> None:
    hit_N = np.repeat(np.array([True] * 10 + [False] * 30), 3)
    found = by_person(hit_N, people(40, 3))
    assert (found.value, found.count) == (0.25, 120)
    # Wilson's ends for 10 of 40 at Student's quantile for 39 degrees of freedom, 2.0227.
    assert found.low == pytest.approx(0.1393, abs=5e-4)
    assert found.high == pytest.approx(0.4069, abs=5e-4)
    plain = wilson(10, 40)
    assert found.low < plain.low < plain.high < found.high


def test_independent_tries_are_worth_their_number() -> None:
    # Every person is hit in exactly one of two tries: less alike than chance would have it.
    hit_N = np.tile([True, False], 30)
    found, plain = by_person(hit_N, people(30, 2)), wilson(30, 60)
    assert intraclass_correlation(np.ones(30), np.full(30, 2.0)) == 0.0
    assert found.low == pytest.approx(plain.low, abs=0.01)
    assert found.low < plain.low


@pytest.mark.parametrize("hit", [True, False])
def test_where_all_tries_agree_only_people_count(hit: bool) -> None:
    found = by_person(np.full(60, hit), people(20, 3))
    alone = wilson(20 * hit, 20)
    assert found.value == float(hit)
    # Student's quantile instead of the normal one.
    far, near = (1 - found.low, 1 - alone.low) if hit else (found.high, alone.high)
    assert near < far < near + 0.03


def test_the_analysis_of_variance_by_hand() -> None:
    # 3 people, 2 tries each: 2, 1 and 0 hits. Shares 1, 1/2, 0; between 1/2, within 1/6.
    found = intraclass_correlation(np.array([2.0, 1, 0]), np.full(3, 2.0))
    assert found == pytest.approx((0.5 - 1 / 6) / (0.5 + 1 / 6))


def test_people_with_unequal_tries_count_as_many_as_they_have() -> None:
    found = by_person(np.array([True, True, True, False]), np.array([4, 4, 4, 9]))
    assert (found.value, found.count) == (0.75, 4)
    # The two agree with themselves alone, so it is worth 4² / (3² + 1²) = 1.6 tries: Kish.
    ends = wilson_ends(0.75, 1.6, student_95(2))
    assert (found.low, found.high) == pytest.approx(ends)
    assert by_person(np.array([True, False, True]), np.array([1, 1, 1])).high > 0.9


def test_nothing_tried_says_nothing() -> None:
    found = by_person(np.zeros(0, dtype=bool), np.zeros(0, dtype=int))
    assert math.isnan(found.value)
    assert (found.low, found.high, found.count) == (0.0, 1.0, 0)


def test_every_try_needs_its_person() -> None:
    with pytest.raises(ValueError, match="each try"):
        by_person(np.array([True, False]), np.array([1]))


@pytest.mark.parametrize(
    ("freedom", "value"),
    [(2, 4.3027), (3, 3.1824), (4, 2.7764), (9, 2.2622), (19, 2.0930), (49, 2.0096), (999, 1.9623)],
)
def test_students_quantile_against_the_table(freedom: int, value: float) -> None:
    assert student_95(freedom) == pytest.approx(value, rel=4e-3)


@pytest.mark.parametrize("tries", [3, 5])
@pytest.mark.parametrize("correlation", [0.1, 0.5, 0.9])
def test_the_interval_holds_the_truth_in_93_to_97_percent(tries: int, correlation: float) -> None:
    """1,000 experiments of 50 people; each person's chance is drawn from a beta distribution around the truth."""
    rng, held, spread = np.random.default_rng(7), 0, 1 / correlation - 1
    for number in range(1000):
        truth = (0.1, 0.25, 0.5, 0.75, 0.9)[number % 5]
        chance_M = rng.beta(truth * spread, (1 - truth) * spread, 50)
        hit_N = rng.random(50 * tries) < np.repeat(chance_M, tries)
        found = by_person(hit_N, people(50, tries))
        held += found.low <= truth <= found.high
    assert 930 <= held <= 970


@pytest.mark.parametrize("correlation", [0.1, 0.3, 0.6])
def test_it_holds_it_as_often_where_a_few_people_have_most_of_the_tries(correlation: float) -> None:
    """As with test pictures: one of 62 people is on a sixth of them."""
    rng, held, spread = np.random.default_rng(7), 0, 1 / correlation - 1
    tries_M = np.array(
        [106, 47, 24, 23, 22, 15, 14, 12, 11, 10, 10, 9] + 25 * [8] + 15 * [5] + 10 * [4]
    )
    person_N = np.repeat(np.arange(len(tries_M)), tries_M)
    for number in range(1000):
        truth = (0.25, 0.5, 0.75)[number % 3]
        chance_M = rng.beta(truth * spread, (1 - truth) * spread, len(tries_M))
        found = by_person(rng.random(len(person_N)) < chance_M[person_N], person_N)
        held += found.low <= truth <= found.high
    assert 930 <= held <= 970


def test_tries_that_count_as_independent_hold_the_truth_too_seldom() -> None:
    rng, held = np.random.default_rng(7), 0
    for _ in range(1000):
        hit_N = np.repeat(rng.random(50) < 0.3, 3)
        found = wilson(int(hit_N.sum()), hit_N.size)
        held += found.low <= 0.3 <= found.high
    assert held < 800
