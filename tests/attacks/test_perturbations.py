"""Gradients estimated from differences, compared with results derived by hand."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from inversionlab.attacks.perturbations import Perturbations

ONE = torch.ones(1)


def test_least_squares_of_three_perturbations_by_hand() -> None:
    # E = (1 0; 0 1; 1 1), s = (1, 2, 6): E^T E = (2 1; 1 2), E^T s = (7, 8), so g = (2, 3).
    # The rest is s - E g = (-1, -1, 1): C = 3 / (1 + 4 + 36).
    directions = Perturbations.of(torch.tensor([[1.0, 0.0], [0.0, 1.0], [1.0, 1.0]]))
    estimate = directions.estimate(torch.tensor([[1.0, 2.0, 6.0]]), ONE)
    torch.testing.assert_close(estimate.gradient_ND, torch.tensor([[2.0, 3.0]]))
    torch.testing.assert_close(estimate.criterion_N, torch.tensor([3 / 41]))


def test_sigma_only_rescales_the_gradient() -> None:
    # The same differences from perturbations a tenth as long: ten times the slope, the same fit.
    directions = Perturbations.of(torch.tensor([[1.0, 0.0], [0.0, 1.0], [1.0, 1.0]]))
    estimate = directions.estimate(torch.tensor([[1.0, 2.0, 6.0]]), torch.tensor([0.1]))
    torch.testing.assert_close(estimate.gradient_ND, torch.tensor([[20.0, 30.0]]))
    torch.testing.assert_close(estimate.criterion_N, torch.tensor([3 / 41]))


def test_a_plane_is_found_exactly_whatever_the_sigma() -> None:
    slope_D = torch.linspace(-2, 2, 6)
    z_ND = torch.randn(4, 6, generator=torch.Generator().manual_seed(0))
    directions = Perturbations.draw(12, 6, torch.Generator().manual_seed(1), torch.device("cpu"))
    sigma_N = torch.tensor([0.01, 0.1, 1.0, 10.0])
    estimate = directions.estimate_around(lambda z, i: z @ slope_D, z_ND, z_ND @ slope_D, sigma_N)
    torch.testing.assert_close(estimate.gradient_ND, slope_D.expand(4, 6), atol=1e-3, rtol=1e-3)
    assert float(estimate.criterion_N.max()) < 1e-6


def test_a_bowls_bottom_fits_no_plane() -> None:
    # L = |z|^2 at 0 with perturbations e and -e: s is even, a plane is odd, so g = 0 and C = 1.
    half_MD = torch.randn(6, 3, generator=torch.Generator().manual_seed(2))
    directions = Perturbations.of(torch.cat([half_MD, -half_MD]))
    estimate = directions.estimate_around(
        lambda z, i: z.square().sum(1), torch.zeros(1, 3), torch.zeros(1), ONE
    )
    torch.testing.assert_close(estimate.gradient_ND, torch.zeros(1, 3), atol=1e-5, rtol=0)
    torch.testing.assert_close(estimate.criterion_N, ONE)


def test_away_from_its_bottom_a_bowl_fits_better_the_smaller_sigma_is() -> None:
    # L = |z|^2 at (3, 4): g -> 2 z = (6, 8). One-dimensional check of C: m = 1, z = 1, e = +-h gives
    # s = 2h + h^2, -2h + h^2; g = 2, rest h^2 each: C = 2 h^4 / (8 h^2 + 2 h^4) = h^2 / (4 + h^2).
    directions = Perturbations.of(torch.tensor([[1.0], [-1.0]]))
    for h in (0.1, 1.0, 2.0):
        estimate = directions.estimate_around(
            lambda z, i: z.square().sum(1), torch.ones(1, 1), ONE, torch.tensor([h])
        )
        torch.testing.assert_close(estimate.gradient_ND, torch.tensor([[2.0]]))
        torch.testing.assert_close(estimate.criterion_N, torch.tensor([h**2 / (4 + h**2)]))


def test_without_any_difference_there_is_no_slope_and_no_fit() -> None:
    directions = Perturbations.draw(4, 2, torch.Generator().manual_seed(3), torch.device("cpu"))
    estimate = directions.estimate(torch.zeros(2, 4), torch.ones(2))
    assert torch.equal(estimate.gradient_ND, torch.zeros(2, 2))
    assert torch.equal(estimate.criterion_N, torch.ones(2))


def test_each_centre_evaluates_its_own_points() -> None:
    asked: list[Tensor] = []

    def losses(z_ND: Tensor, index_N: Tensor) -> Tensor:
        asked.append(index_N)
        return z_ND.sum(1)

    directions = Perturbations.of(torch.tensor([[1.0], [3.0]]))
    z_ND = torch.tensor([[10.0], [20.0]])
    sigma_N = torch.tensor([1.0, 2.0])
    assert directions.around(z_ND, sigma_N).flatten().tolist() == [11, 13, 22, 26]
    directions.estimate_around(losses, z_ND, z_ND.sum(1), sigma_N)
    assert asked[0].tolist() == [0, 0, 1, 1]


@pytest.mark.parametrize("count", [1, 2, 7, 33])
def test_estimates_of_a_row_do_not_depend_on_the_other_rows_to_the_bit(count: int) -> None:
    rng = torch.Generator().manual_seed(4)
    directions = Perturbations.draw(128, 64, rng, torch.device("cpu"))
    s_NM, sigma_N = torch.randn(33, 128, generator=rng), torch.rand(33, generator=rng)
    whole = directions.estimate(s_NM, sigma_N)
    part = directions.estimate(s_NM[:count], sigma_N[:count])
    assert torch.equal(part.gradient_ND, whole.gradient_ND[:count])
    assert torch.equal(part.criterion_N, whole.criterion_N[:count])


def test_with_fewer_perturbations_than_dimensions_the_slope_is_that_within_their_span() -> None:
    rng = torch.Generator().manual_seed(0)
    slope_6 = torch.randn(6, generator=rng)
    unit_MD = torch.randn(4, 6, generator=rng)
    directions = Perturbations.of(unit_MD)
    got = directions.estimate((unit_MD @ slope_6)[None] * 0.1, 0.1 * ONE)
    projection_66 = torch.linalg.pinv(unit_MD) @ unit_MD
    torch.testing.assert_close(got.gradient_ND[0], projection_66 @ slope_6, atol=1e-4, rtol=1e-4)
