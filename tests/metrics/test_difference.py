"""The interval of a difference of two shares: published numbers, and what follows from the formula."""

from __future__ import annotations

import pytest

from inversionlab.metrics import Estimate, wilson
from inversionlab.metrics.difference import difference


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


def test_equal_shares_are_not_apart() -> None:
    share = wilson(12, 24)
    found = difference(share, share)
    assert found.value == 0
    assert found.low == -found.high < 0
    assert not found.clear


def test_what_was_not_tried_is_not_clear() -> None:
    assert not difference(wilson(0, 0), wilson(1, 2)).clear
