"""Means with intervals by people, worked out by hand."""

from __future__ import annotations

import math

import numpy as np
import pytest

from inversionlab.metrics.mean_by_person import mean_by_person


def test_the_unit_is_the_person() -> None:
    value_N = np.array([1.0, 3.0, 4.0, 4.0, 5.0, 7.0])
    found = mean_by_person(value_N, np.array([0, 0, 1, 1, 2, 2]))
    # The people's means are 2, 4, 6: mean 4, deviation 2, and 4.3027 is Student's quantile of 2 degrees.
    assert (found.value, found.count) == (4.0, 6)
    half = 4.3027 * 2 / math.sqrt(3)
    assert (found.low, found.high) == pytest.approx((4 - half, 4 + half), rel=1e-4)


def test_tries_that_agree_do_not_narrow_it() -> None:
    value_N, person_N = np.array([2.0, 4.0, 6.0]), np.arange(3)
    once = mean_by_person(value_N, person_N)
    often = mean_by_person(value_N.repeat(9), person_N.repeat(9))
    assert (once.value, once.low, once.high) == pytest.approx((often.value, often.low, often.high))


def test_two_people_have_no_interval_and_nothing_has_no_mean() -> None:
    two = mean_by_person(np.array([1.0, 2.0]), np.array([0, 1]))
    assert two.value == 1.5
    assert math.isnan(two.low)
    assert math.isnan(mean_by_person(np.array([math.nan]), np.array([0])).value)
    with pytest.raises(ValueError, match="each try is at one"):
        mean_by_person(np.zeros(2), np.zeros(3, dtype=np.int64))


def test_unknown_values_are_left_out() -> None:
    known = mean_by_person(np.array([1.0, 2.0, 3.0]), np.arange(3))
    more = mean_by_person(np.array([1.0, math.nan, 2.0, 3.0]), np.array([0, 0, 1, 2]))
    assert (more.value, more.low) == (known.value, known.low)


def test_its_interval_covers_the_truth_in_95_of_100_experiments() -> None:
    rng, hits = np.random.default_rng(0), 0
    person_N = np.arange(12).repeat(3)
    for _ in range(1000):
        value_N = rng.normal(size=12).repeat(3) + 0.3 * rng.normal(size=36)
        found = mean_by_person(value_N, person_N)
        hits += found.low <= 0 <= found.high
    # Three standard errors of 950 in 1,000.
    assert abs(hits - 950) < 3 * math.sqrt(1000 * 0.95 * 0.05)
