"""The interval of a difference of two shares: published numbers, and what follows from the formula."""

from __future__ import annotations

import math

import numpy as np
import pytest

from inversionlab.metrics import Estimate, by_person, wilson
from inversionlab.metrics.by_person import of_counts
from inversionlab.metrics.difference import correlation, difference, paired_difference


@pytest.mark.parametrize(
    ("first", "second", "low", "high"),
    [
        # Newcombe 1998 (Statistics in Medicine 17, 873-890), table II, method 10.
        ((56, 70), (48, 80), 0.0524, 0.3339),
        ((9, 10), (3, 10), 0.1705, 0.8090),
        ((10, 10), (0, 20), 0.6791, 1.0),
    ],
)
def test_published_intervals(
    first: tuple[int, int], second: tuple[int, int], low: float, high: float
) -> None:
    found = difference(wilson(*first), wilson(*second))
    assert (found.low, found.high) == pytest.approx((low, high), abs=5e-5)
    assert found.clear == (low > 0)


def test_a_third_is_clearly_above_a_twelfth() -> None:
    # 33 % (18-53) against 8 %: the intervals overlap, and the difference is clear.
    attack, guess = Estimate(0.333, 0.18, 0.53, 24), wilson(2, 24)
    assert attack.low < guess.high
    assert difference(attack, guess).clear


@pytest.mark.parametrize(
    ("both", "first", "second", "neither"),
    [(20, 12, 2, 16), (36, 12, 2, 0), (12, 9, 1, 3), (0, 5, 5, 40), (7, 1, 9, 30)],
)
def test_pairs_of_one_try_a_person_have_newcombes_interval(
    both: int, first: int, second: int, neither: int
) -> None:
    """Method 10 of his paired intervals without the correction of phi, written out."""
    hits = [(1, 1)] * both + [(1, 0)] * first + [(0, 1)] * second + [(0, 0)] * neither
    shares = [dict(enumerate(map(float, column))) for column in zip(*hits, strict=True)]
    n = len(hits)
    one, other = wilson(both + first, n), wilson(both + second, n)
    table = (both + first) * (second + neither) * (both + second) * (first + neither)
    phi = (both * neither - first * second) / math.sqrt(table) if table else 0.0
    assert correlation(*shares) == pytest.approx(phi)
    down, up = one.value - one.low, other.high - other.value
    low = (first - second) / n - math.sqrt(down**2 - 2 * phi * down * up + up**2)
    found = difference(one, other, correlation(*shares))
    assert found.value == pytest.approx((first - second) / n)
    assert found.low == pytest.approx(low)


def test_what_is_the_same_on_the_same_people_is_exactly_the_same() -> None:
    share, of = wilson(12, 24), {person: float(person % 2) for person in range(24)}
    assert correlation(of, of) == pytest.approx(1)
    found = difference(share, share, correlation(of, of))
    assert (found.low, found.high) == pytest.approx((0, 0), abs=1e-7)
    assert not difference(share, share, 1.0).clear


def test_equal_shares_are_not_apart() -> None:
    share = wilson(12, 24)
    found = difference(share, share)
    assert found.value == 0
    assert found.low == -found.high < 0
    assert not found.clear


def test_what_was_not_tried_is_not_clear() -> None:
    assert not difference(wilson(0, 0), wilson(1, 2)).clear


def test_what_is_not_known_has_no_interval() -> None:
    for one, other in ((wilson(0, 0), wilson(3, 5)), (wilson(3, 5), wilson(0, 0))):
        apart = difference(one, other)
        assert all(math.isnan(end) for end in (apart.value, apart.low, apart.high))
        assert not apart.clear


def test_one_person_of_five_shows_nothing() -> None:
    # 46 of 100 tries at one person, and next to none elsewhere, against a guess: shares alone would show it.
    found_of = dict(enumerate((0.0, 0.46, 0.0, 0.0, 0.0)))
    guess_of = dict(enumerate((0.01, 0.01, 0.0, 0.0, 0.01)))
    people_N = np.arange(500) // 100
    found, guess = (
        by_person(np.arange(500) % 100 < np.array([100 * of[p] for p in people_N]), people_N)
        for of in (found_of, guess_of)
    )
    assert difference(found, guess, correlation(found_of, guess_of)).clear
    apart = paired_difference(found, guess, found_of, guess_of)
    assert apart.value == pytest.approx(0.086)
    # Student's t of 4 degrees times the standard error of -0.01, 0.45, 0, 0, -0.01.
    error = np.std([-0.01, 0.45, 0.0, 0.0, -0.01], ddof=1) / math.sqrt(5)
    assert apart.low == pytest.approx(0.086 - 2.776 * error, abs=1e-3)
    assert not apart.clear
    # Two people are too few for Student's interval.
    few, none = {0: 1.0, 1: 1.0}, {0: 0.0, 1: 0.0}
    assert paired_difference(wilson(2, 2), wilson(0, 2), few, none) == difference(
        wilson(2, 2), wilson(0, 2)
    )


@pytest.mark.parametrize(("people", "tries"), [(3, 100), (5, 100), (8, 20), (16, 3), (60, 1)])
@pytest.mark.parametrize("shape", [(0.1, 0.9), (0.05, 2.0), (0.3, 0.7), (2.0, 2.0)])
def test_attacks_that_are_alike_are_rarely_told_apart(
    people: int, tries: int, shape: tuple[float, float]
) -> None:
    """A person's share of hits is drawn from the same distribution for both attacks: 2.5 % a side may differ."""
    rng, wrong, pairs = np.random.default_rng(0), 0, 300
    for _ in range(pairs):
        hits = rng.binomial(tries, rng.beta(*shape, (2, people)))
        shares = [of_counts(of, np.full(people, tries)) for of in hits]
        of_person = [dict(enumerate((of / tries).tolist())) for of in hits]
        apart = paired_difference(*shares, *of_person)
        wrong += apart.low > 0 or apart.high < 0
    # 5 % of 300 are 15; 28 or more would come by chance once in a thousand.
    assert wrong < 28
