"""Slopes that are estimated from scores around a point (Yoshimura et al. 2021, §IV-B, IV-C)."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Self

import torch
from torch import Tensor

ROWS = 32
"""Points whose gradients are solved for at once."""
Losses = Callable[[Tensor, Tensor], Tensor]
"""(points (N, m), the number of the centre that each belongs to (N,)) -> losses (N,), each of its point alone."""


@dataclass(frozen=True)
class Estimate:
    """What the differences s around each point say about the slope there (Yoshimura §IV-B, IV-C)."""

    gradient_ND: Tensor
    """g = E^+ s, the rows of E being the perturbations (eq. 14)."""
    criterion_N: Tensor
    """C = |s - E g|^2 / |s|^2 in [0, 1], the share of |s|^2 that no plane explains (eq. 17); 1 where s = 0."""


@dataclass(frozen=True)
class Perturbations:
    """M directions of a latent space of m >= 1 dimensions, and their pseudo-inverse.

    All points share the perturbations of a step up to their length: E = sigma U with one U a step. So U is
    factorised once, and g for any sigma is g for U divided by sigma.
    """

    unit_MD: Tensor
    """U: the perturbations of sigma = 1."""
    inverse_DM: Tensor
    """U^+, which is (U^T U)^-1 U^T where M >= m."""

    @classmethod
    def draw(cls, count: int, size: int, rng: torch.Generator, device: torch.device) -> Self:
        """`count` draws from N(0, I) in `size` dimensions."""
        return cls.of(torch.randn(count, size, generator=rng).to(device))

    @classmethod
    def of(cls, unit_MD: Tensor) -> Self:
        """Invert U (M, m); its columns must be independent, or its rows where M < m.

        U = QR gives (U^T U)^-1 U^T = R^-1 Q^T without squaring the condition number. Where M < m, U^T = QR gives
        U^+ = Q R^-T. This runs on the CPU in double precision, so that every device works with the same numbers.
        """
        wide = len(unit_MD) < unit_MD.shape[1]
        tall = unit_MD.T if wide else unit_MD
        q, r = torch.linalg.qr(tall.cpu().double())
        inverse = torch.linalg.solve_triangular(r, q.T, upper=True)
        inverse_DM = inverse.T if wide else inverse
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
