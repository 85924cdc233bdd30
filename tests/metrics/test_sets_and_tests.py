"""Acceptance, precision and recall of sets, M candidates, denial and paired tests, against cases by hand."""

from __future__ import annotations

import math

import numpy as np
import pytest

from inversionlab.metrics import by_person, wilson
from inversionlab.metrics.acceptance import accepted, threshold
from inversionlab.metrics.candidates import any_hit
from inversionlab.metrics.denied import denied
from inversionlab.metrics.paired import fewer, holm, person_means
from inversionlab.metrics.prdc import Balls, Prdc
from inversionlab.metrics.prdc import prdc as of_balls


def prdc(made_ND: np.ndarray, real_MD: np.ndarray, neighbours: int = 5) -> Prdc:
    return of_balls(Balls.around(made_ND, neighbours), Balls.around(real_MD, neighbours))


def test_the_threshold_accepts_as_many_impostors_as_allowed_and_no_more() -> None:
    impostor_N = np.arange(1000) / 1000
    least = threshold(impostor_N, 0.01)
    assert (impostor_N >= least).sum() == 10
    # Of equal ones at the border, all are refused.
    assert (np.repeat([0.1, 0.7], 100) >= threshold(np.repeat([0.1, 0.7], 100), 0.25)).sum() == 0


def test_without_enough_impostors_there_is_no_threshold() -> None:
    assert math.isnan(threshold(np.arange(99.0), 0.01))
    assert not math.isnan(threshold(np.arange(100.0), 0.01))
    nothing = accepted(np.array([0.5]), np.array([1]), math.nan)
    assert nothing.count == 0
    with pytest.raises(ValueError, match="between 0 and 1"):
        threshold(np.arange(9.0), 1.0)


def test_accepted_counts_by_people() -> None:
    person_N = np.array([1, 1, 2, 2])
    found = accepted(np.array([0.9, 0.8, 0.1, 0.5]), person_N, 0.5)
    assert found == by_person(np.array([True, True, False, True]), person_N)


def test_a_set_against_itself_is_precise_and_complete() -> None:
    x_ND = np.random.default_rng(0).normal(size=(80, 3))
    found = prdc(x_ND, x_ND)
    assert (found.precision, found.recall, found.coverage) == (1.0, 1.0, 1.0)
    assert 0.9 < found.density < 2


def test_the_four_numbers_by_hand() -> None:
    # On a line with k = 1: balls of the real points 0, 1, 10 reach 1, 1 and 9; of the made points 0.5, 0.6, 50.
    real, made = np.array([[0.0], [1], [10]]), np.array([[0.5], [0.6], [50]])
    found = prdc(made, real, neighbours=1)
    # 0.5 lies in the balls of 0 and 1, 0.6 as well, and 50 in none; 10's ball begins at 1.
    assert found.precision == pytest.approx(2 / 3)
    assert found.density == pytest.approx(4 / 3)
    assert found.coverage == pytest.approx(2 / 3)
    # The balls of 0.5 and 0.6 reach 0.1 and hold nothing; that of 50 reaches 49.4, from 0.6 on.
    assert found.recall == pytest.approx(2 / 3)


def test_pictures_of_one_person_are_precise_and_miss_the_variety() -> None:
    rng = np.random.default_rng(1)
    real = np.concatenate([rng.normal(c, 0.1, size=(30, 2)) for c in (0, 5, 10)])
    found = prdc(rng.normal(5, 0.05, size=(30, 2)), real)
    assert found.precision > 0.9
    assert found.coverage < 0.4


def test_sets_that_share_no_space_are_refused() -> None:
    with pytest.raises(ValueError, match="share no space"):
        prdc(np.zeros((3, 2)), np.zeros((3, 4)))
    with pytest.raises(ValueError, match="at least 2"):
        prdc(np.zeros((1, 2)), np.zeros((3, 2)))
    with pytest.raises(ValueError, match="NaN"):
        prdc(np.full((3, 2), np.nan), np.zeros((3, 2)))


def test_one_hit_among_the_tries_counts_for_the_person() -> None:
    hit_N, person_N = (
        np.array([False, True, False, False, True, True]),
        np.array([7, 7, 8, 8, 9, 9]),
    )
    assert any_hit(hit_N, person_N) == wilson(2, 3)
    assert any_hit(hit_N[:0], person_N[:0]).count == 0
    # On two victims, of whom one has the first try at each person: 1 of 3 and 2 of 3 people.
    found = any_hit(hit_N, person_N, np.array([0, 1] * 3))
    assert (found.value, found.count) == (pytest.approx(3 / 6), 6)


def test_denied_are_successes_that_the_primary_does_not_see() -> None:
    rank_N, primary_N = np.array([1, 1, 1, 2]), np.array([1, 5, 2, 9])
    found = denied(rank_N, primary_N, np.arange(4))
    assert (found.value, found.count) == (pytest.approx(2 / 3), 3)
    assert denied(np.array([4]), np.array([1]), np.array([0])).count == 0


def test_the_paired_test_by_hand() -> None:
    first = dict.fromkeys(range(5), 1.0)
    # All five people are found on the first model and none on the second: one of 32 sign patterns.
    assert fewer(first, dict.fromkeys(range(5), 0.0)) == pytest.approx(1 / 32)
    assert fewer(dict.fromkeys(range(5), 0.0), first) == 1.0
    assert fewer(first, first) == 1.0
    # Only people of both models count; one difference of two signs.
    assert fewer({1: 1.0, 2: 0.5}, {1: 0.0, 9: 0.0}) == 0.5


def test_many_people_are_tested_by_random_flips_and_alike_each_time() -> None:
    found = {p: 1.0 if p % 3 else 0.0 for p in range(60)}
    p = fewer(found, dict.fromkeys(range(60), 0.0))
    assert p == pytest.approx(1e-4)
    assert fewer(found, dict.fromkeys(range(60), 0.0)) == p


def test_equal_models_are_seldom_called_different() -> None:
    rng, called = np.random.default_rng(3), 0
    for _ in range(400):
        chance_M = rng.random(40)
        tries = [rng.random((40, 3)) < chance_M[:, None] for _ in range(2)]
        shares = [dict(enumerate(t.mean(1).tolist())) for t in tries]
        called += fewer(*shares) < 0.05
    # 5 % of 400 are 20; 3 standard deviations are 13.
    assert called <= 33


def test_shares_by_person() -> None:
    assert person_means(np.array([True, False, True]), np.array([4, 4, 2])) == {2: 1.0, 4: 0.5}


def test_holms_correction() -> None:
    assert holm([0.01, 0.04, 0.03]) == pytest.approx([0.03, 0.06, 0.06])
    assert holm([0.6, 0.7]) == [1.0, 1.0]
    assert holm([]) == []
