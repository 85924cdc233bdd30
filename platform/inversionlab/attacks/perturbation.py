"""The gradient of a function that can only be evaluated, from its values around a point.

Paper: Yoshimura et al. 2021, §IV-B and IV-C. With the rows of E the perturbations and s_k = L(z + e_k) - L(z):

    g = (E^T E)^-1 E^T s                        (eq. 14)
    C = |s - E g|^2 / |s|^2                     (eq. 17; in [0, 1], the lower the better the fit)

The perturbations of a step are shared by all points and, but for their length, by all lengths: E = sigma U with
one U a step. So U is factorised once, and g of any sigma is g of U divided by sigma.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

ROWS = 32
"""Points whose gradients are solved for at once."""
Losses = Callable[[Tensor, Tensor], Tensor]
"""(points (N, m), which of the centres each belongs to (N,)) -> losses (N,), each of its own point alone."""


@dataclass(frozen=True)
class Estimate:
    """What the differences around each point say of the slope there."""

    gradient_ND: Tensor
    criterion_N: Tensor
    """C: the share of |s|^2 that a plane does not explain; 1 where s = 0, which says nothing of a slope."""


@dataclass(frozen=True)
class Perturbations:
    """M directions of a latent space of m >= 1 dimensions, factorised."""

    unit_MD: Tensor
    """U: the perturbations of sigma = 1."""
    inverse_DM: Tensor
    """(U^T U)^-1 U^T."""

    @classmethod
    def of(cls, unit_MD: Tensor) -> Perturbations:
        """Factorise U (M, m), M >= m; its columns must be independent.

        U = QR gives (U^T U)^-1 U^T = R^-1 Q^T without squaring the condition number. It is done on the CPU
        in double precision, so that every device works with the same numbers.
        """
        q_MD, r_DD = torch.linalg.qr(unit_MD.cpu().double())
        inverse_DM = torch.linalg.solve_triangular(r_DD, q_MD.T, upper=True)
        return cls(unit_MD, inverse_DM.to(unit_MD))

    @classmethod
    def draw(
        cls, count: int, size: int, rng: torch.Generator, device: torch.device
    ) -> Perturbations:
        """`count` draws from N(0, I) in `size` dimensions."""
        return cls.of(torch.randn(count, size, generator=rng).to(device))

    def around(self, z_ND: Tensor, sigma_N: Tensor) -> Tensor:
        """The perturbed points (N * M, m): those of the first point, then those of the second, ..."""
        return (z_ND[:, None] + sigma_N[:, None, None] * self.unit_MD).flatten(0, 1)

    def estimate(self, s_NM: Tensor, sigma_N: Tensor) -> Estimate:
        """g and C of every point from its differences s and the sigma that its perturbations had."""
        # Not matrix products: those sum in another order for another number of rows. A few rows at a time,
        # since the products before the sums take their number times m times M of memory.
        slope_ND = torch.cat([(s[:, None] * self.inverse_DM).sum(2) for s in s_NM.split(ROWS)])
        explained_NM = torch.cat([(g[:, None] * self.unit_MD).sum(2) for g in slope_ND.split(ROWS)])
        rest_NM = s_NM - explained_NM
        total_N, left_N = s_NM.square().sum(1), rest_NM.square().sum(1)
        criterion_N = torch.where(total_N > 0, left_N / total_N, 1.0)
        return Estimate(slope_ND / sigma_N[:, None], criterion_N)

    def estimate_around(
        self, losses: Losses, z_ND: Tensor, loss_N: Tensor, sigma_N: Tensor
    ) -> Estimate:
        """g and C of `losses` at points z, where it is `loss_N`, from perturbations of these sigmas."""
        index_N = torch.arange(len(z_ND), device=z_ND.device)
        around = self.around(z_ND, sigma_N)
        value = losses(around, index_N.repeat_interleave(len(self.unit_MD)))
        return self.estimate(value.view(len(z_ND), -1) - loss_N[:, None], sigma_N)


def approximation(
    losses: Losses, z_ND: Tensor, directions: Perturbations, variances: Sequence[float]
) -> tuple[Tensor, Tensor]:
    """How good estimated gradients are (Fig. 7): what a model's owner can draw, and no black-box attacker.

    Args:
        losses: a loss that is differentiable in the points.
        z_ND: points, for example those that a descent passes.
        directions: the perturbations.
        variances: the sigma^2, V of them.

    Returns:
        C, and the cosine of the estimated and the true gradient, each (V, N).
    """
    point_ND = z_ND.detach().requires_grad_(True)
    loss_N = losses(point_ND, torch.arange(len(z_ND), device=z_ND.device))
    (true_ND,) = torch.autograd.grad(loss_N.sum(), point_ND)
    criteria, cosines = [], []
    for variance in variances:
        sigma_N = torch.full_like(loss_N, variance).sqrt()
        with torch.no_grad():
            found = directions.estimate_around(losses, z_ND, loss_N, sigma_N)
        criteria.append(found.criterion_N)
        cosines.append(torch.cosine_similarity(found.gradient_ND, true_ND, dim=1))
    return torch.stack(criteria), torch.stack(cosines)
