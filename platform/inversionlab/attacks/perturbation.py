"""The gradient of a function that can only be evaluated, estimated from its values around a point.

Paper: Yoshimura et al. 2021, §IV-B and IV-C. With the perturbations as the rows of E and s_k = L(z + e_k) - L(z):

    g = (E^T E)^-1 E^T s                        (eq. 14)
    C = |s - E g|^2 / |s|^2                     (eq. 17; in [0, 1], the lower the better the fit)

All points share the perturbations of a step up to their length: E = sigma U with one U a step. So U is factorised
once, and g for any sigma is g for U divided by sigma.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

ROWS = 32
"""Points whose gradients are solved for at once."""
Losses = Callable[[Tensor, Tensor], Tensor]
"""(points (N, m), the number of the centre that each belongs to (N,)) -> losses (N,), each of its point alone."""


@dataclass(frozen=True)
class Estimate:
    """What the differences around each point say about the slope there."""

    gradient_ND: Tensor
    criterion_N: Tensor
    """C: the share of |s|^2 that a plane does not explain; 1 where s = 0, which says nothing about a slope."""


@dataclass(frozen=True)
class Perturbations:
    """M directions of a latent space of m >= 1 dimensions, factorised."""

    unit_MD: Tensor
    """U: the perturbations of sigma = 1."""
    inverse_DM: Tensor
    """(U^T U)^-1 U^T."""

    @classmethod
    def draw(
        cls, count: int, size: int, rng: torch.Generator, device: torch.device
    ) -> Perturbations:
        """`count` draws from N(0, I) in `size` dimensions."""
        return cls.of(torch.randn(count, size, generator=rng).to(device))

    @classmethod
    def of(cls, unit_MD: Tensor) -> Perturbations:
        """Factorise U (M, m), M >= m; its columns must be independent.

        U = QR gives (U^T U)^-1 U^T = R^-1 Q^T without squaring the condition number. This runs on the CPU in
        double precision, so that every device works with the same numbers.
        """
        q_MD, r_DD = torch.linalg.qr(unit_MD.cpu().double())
        inverse_DM = torch.linalg.solve_triangular(r_DD, q_MD.T, upper=True)
        return cls(unit_MD, inverse_DM.to(unit_MD))

    def estimate_around(
        self, losses: Losses, z_ND: Tensor, loss_N: Tensor, sigma_N: Tensor
    ) -> Estimate:
        """g and C of `losses` at points z, where it is `loss_N`, from perturbations of these sigmas."""
        index_N = torch.arange(len(z_ND), device=z_ND.device)
        around = self.around(z_ND, sigma_N)
        value = losses(around, index_N.repeat_interleave(len(self.unit_MD)))
        return self.estimate(value.view(len(z_ND), -1) - loss_N[:, None], sigma_N)

    def around(self, z_ND: Tensor, sigma_N: Tensor) -> Tensor:
        """The perturbed points (N * M, m): those of the first point, then those of the second, ..."""
        return (z_ND[:, None] + sigma_N[:, None, None] * self.unit_MD).flatten(0, 1)

    def estimate(self, s_NM: Tensor, sigma_N: Tensor) -> Estimate:
        """g and C of every point from its differences s and the sigma of its perturbations."""
        # Not matrix products: they sum in another order for another number of rows. A few rows at a time,
        # since the products before the sums take rows times m times M of memory.
        slope_ND = torch.cat([(s[:, None] * self.inverse_DM).sum(2) for s in s_NM.split(ROWS)])
        explained_NM = torch.cat([(g[:, None] * self.unit_MD).sum(2) for g in slope_ND.split(ROWS)])
        rest_NM = s_NM - explained_NM
        total_N, left_N = s_NM.square().sum(1), rest_NM.square().sum(1)
        criterion_N = torch.where(total_N > 0, left_N / total_N, 1.0)
        return Estimate(slope_ND / sigma_N[:, None], criterion_N)
