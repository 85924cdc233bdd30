"""Others who are taken for a label, against cases by hand."""

from __future__ import annotations

import math

import numpy as np
import pytest

from inversionlab.metrics.taken import others_taken, strangers_accepted, strangers_taken


def test_others_are_counted_by_the_label_that_they_get() -> None:
    winner_N = np.array([0, 0, 0, 1, 2, 2, 2])
    class_N = np.array([0, 1, 2, 1, 2, 0, 1])
    # Label 0 gets pictures of 1 and 2, label 2 of 0 and 1, and label 1 nobody else's.
    assert others_taken(winner_N, class_N, [0, 1, 2]) == [2, 0, 2]
    assert others_taken(winner_N, class_N, [2]) == [2]
    assert others_taken(class_N, class_N, [0, 1]) == [0, 0]


def test_strangers_get_a_protected_label_or_another_one() -> None:
    winner_M = np.array([0, 1, 1, 5])
    assert strangers_taken(winner_M, [1]) == 0.5
    assert strangers_taken(winner_M, [0, 5]) == 0.5
    assert strangers_taken(winner_M, [7]) == 0
    assert math.isnan(strangers_taken(winner_M[:0], [1]))


def test_the_threshold_accepts_the_share_of_the_genuine_that_it_should() -> None:
    genuine_N = np.arange(20.0)
    # 19 of 20 genuine scores are 1 or more, so 1 is the threshold.
    assert strangers_accepted(genuine_N, np.array([0.5, 0.9, 1.0, 30.0])) == 0.5
    assert strangers_accepted(genuine_N, np.array([1.0]), share=0.9) == 0
    assert strangers_accepted(genuine_N, np.array([0.0]), share=1.0) == 1
    # A model that tells nobody apart can refuse nobody.
    assert strangers_accepted(np.zeros(9), np.zeros(4)) == 1


def test_without_pictures_nothing_is_known_and_a_share_lies_between_0_and_1() -> None:
    assert math.isnan(strangers_accepted(np.zeros(0), np.zeros(3)))
    assert math.isnan(strangers_accepted(np.zeros(3), np.zeros(0)))
    for share in (0.0, 1.5):
        with pytest.raises(ValueError, match="lies above 0 and is 1 at most"):
            strangers_accepted(np.zeros(3), np.zeros(3), share)
