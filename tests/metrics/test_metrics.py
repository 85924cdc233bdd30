"""Every metric against numbers derived by hand."""

from __future__ import annotations

import math

import numpy as np
import pytest

from inversionlab.metrics import (
    Gaussian,
    attack_accuracy,
    cmc,
    distances,
    mean_score,
    median_rank,
    nearest_distance,
    wilson,
    within_person_distance,
)
from inversionlab.metrics.distances import leave_one_out_distance


def frechet_distance(first, second):
    return distances.frechet_distance(Gaussian.fit(first), Gaussian.fit(second))


@pytest.mark.parametrize(
    ("successes", "count", "low", "high"),
    [
        (10, 10, 0.7225, 1.0),  # by hand: n/(n+z²) = 10/13.8415
        (0, 10, 0.0, 0.2775),  # the mirror image
        (8, 10, 0.4902, 0.9433),
        (81, 263, 0.2553, 0.3662),  # this one and the next three: Newcombe (1998), table I
        (15, 148, 0.0624, 0.1605),
        (0, 20, 0.0, 0.1611),
        (1, 29, 0.0061, 0.1718),
    ],
)
def test_wilson_against_known_values(successes, count, low, high):
    estimate = wilson(successes, count)
    assert estimate.value == successes / count
    assert estimate.count == count
    assert estimate.low == pytest.approx(low, abs=5.1e-5)
    assert estimate.high == pytest.approx(high, abs=5.1e-5)


def test_wilson_of_nothing_says_nothing():
    estimate = wilson(0, 0)
    assert math.isnan(estimate.value)
    assert (estimate.low, estimate.high, estimate.count) == (0.0, 1.0, 0)


@pytest.mark.parametrize(("successes", "count"), [(3, 2), (-1, 5), (0, -1)])
def test_wilson_refuses_impossible_counts(successes, count):
    with pytest.raises(ValueError, match="successes"):
        wilson(successes, count)


def test_attack_accuracy_counts_ranks_up_to_top():
    rank_N, person_N = np.array([1, 1, 2, 5, 6, 40]), np.arange(6)
    assert attack_accuracy(rank_N, person_N, top=1).value == pytest.approx(2 / 6)
    assert attack_accuracy(rank_N, person_N, top=5).value == pytest.approx(4 / 6)
    assert attack_accuracy(rank_N, person_N, top=5) == wilson(4, 6)
    with pytest.raises(ValueError, match="start at 1"):
        attack_accuracy(np.array([0, 1]), np.arange(2), top=1)


def test_median_rank_and_mean_score():
    assert median_rank(np.array([9, 1, 2])) == 2
    assert median_rank(np.array([1, 2, 5, 900])) == 3.5
    assert math.isnan(median_rank(np.array([], dtype=np.int32)))
    assert mean_score(np.array([0.25, np.nan, 0.75])) == 0.5
    assert math.isnan(mean_score(np.array([np.nan])))


def test_cmc_is_the_cumulated_share_of_ranks():
    rank_N = np.array([1, 3, 3, 10])
    np.testing.assert_allclose(cmc(rank_N, max_rank=4), [0.25, 0.25, 0.75, 0.75])
    assert cmc(rank_N, max_rank=10)[-1] == 1
    assert np.isnan(cmc(np.array([], dtype=np.int32), max_rank=3)).all()


def _axis_cloud(*spreads: float) -> np.ndarray:
    """Points ±s on each axis: mean 0, covariance diag(2 s² / (2 D - 1)) exactly."""
    return np.concatenate([np.diag(spreads), -np.diag(spreads)])


def test_frechet_of_diagonal_gaussians():
    # Variances 2s²/3: deviations differ by sqrt(2/3)·2 on both axes, the means by (3, 4).
    first, second = _axis_cloud(1, 2), _axis_cloud(3, 4) + np.array([3.0, 4.0])
    expected = 25 + (2 / 3) * (2**2 + 2**2)
    assert frechet_distance(first, second) == pytest.approx(expected, rel=1e-12)


def test_the_distance_of_means_leaves_the_spread_out():
    """Gong's eq. 13: 3² + 4², whatever the deviations are; so it may order two sets otherwise."""
    first, near, far = _axis_cloud(1, 2), _axis_cloud(9, 9) + 1.0, _axis_cloud(1, 2) + 2.0
    first_G, near_G, far_G = (Gaussian.fit(x) for x in (first, near, far))
    shifted = Gaussian.fit(_axis_cloud(3, 4) + np.array([3.0, 4.0]))
    assert distances.feature_mean_distance(first_G, shifted) == pytest.approx(25, rel=1e-12)
    assert distances.feature_mean_distance(first_G, near_G) == pytest.approx(2, rel=1e-12)
    assert distances.feature_mean_distance(first_G, far_G) == pytest.approx(8, rel=1e-12)
    assert distances.frechet_distance(first_G, near_G) > distances.frechet_distance(first_G, far_G)
    with pytest.raises(ValueError, match="share no space"):
        distances.feature_mean_distance(first_G, Gaussian.fit(_axis_cloud(1, 2, 3)))


def test_frechet_equals_its_definition_for_full_covariances():
    rng = np.random.default_rng(0)
    first, second = rng.normal(size=(200, 5)), rng.normal(size=(150, 5)) @ rng.normal(size=(5, 5))
    c1, c2 = np.cov(first.T), np.cov(second.T)
    # tr((C1^½ C2 C1^½)^½) is the sum of the square roots of the eigenvalues of C1·C2.
    overlap = np.sqrt(np.linalg.eigvals(c1 @ c2).real).sum()
    shift = ((first.mean(0) - second.mean(0)) ** 2).sum()
    expected = shift + np.trace(c1) + np.trace(c2) - 2 * overlap
    assert frechet_distance(first, second) == pytest.approx(expected, rel=1e-9)


def test_frechet_is_zero_on_itself_symmetric_and_fit_for_few_pictures():
    rng = np.random.default_rng(1)
    first, second = rng.normal(size=(6, 40)), rng.normal(size=(9, 40))
    assert frechet_distance(first, first) == pytest.approx(0, abs=1e-10)
    there, back = frechet_distance(first, second), frechet_distance(second, first)
    assert there == pytest.approx(back)
    assert there > 0
    with pytest.raises(ValueError, match="share no space"):
        frechet_distance(first, second[:, :3])
    with pytest.raises(ValueError, match="NaN"):
        frechet_distance(first * np.nan, second)


def test_nearest_distance_is_to_the_closest_picture():
    pictures = np.array([[0.0, 0.0], [3.0, 4.0]])
    distances = nearest_distance(np.array([[0.0, 1.0], [3.0, 3.0], [3.0, 4.0]]), pictures)
    np.testing.assert_allclose(distances, [1, 1, 0])
    with pytest.raises(ValueError, match="no picture"):
        nearest_distance(pictures, pictures[:0])


def test_leave_one_out_and_within_person():
    # On a line at 0, 1, 3: the closest others are 1, 1 and 2 away.
    np.testing.assert_allclose(leave_one_out_distance(np.array([[0.0], [1.0], [3.0]])), [1, 1, 2])
    features = np.array([[0.0], [1.0], [3.0], [100.0], [110.0], [500.0]])
    people = np.array([0, 0, 0, 1, 1, 2])  # person 2 has one picture and does not count
    assert within_person_distance(features, people) == pytest.approx((1 + 1 + 2 + 10 + 10) / 5)
    assert math.isnan(within_person_distance(features[:1], people[:1]))
