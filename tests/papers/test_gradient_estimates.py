"""Estimated gradients, on a function whose slope is known."""

from __future__ import annotations

import torch
from torch import Tensor

from inversionlab.attacks.perturbations import Perturbations
from inversionlab.papers.gradient_estimates import approximation


def test_figure_seven_low_criterion_means_the_true_direction() -> None:
    # L = sum of cos(3 z): nearly a plane over 0.01, many waves over 10.
    def losses(z_ND: Tensor, index_N: Tensor) -> Tensor:
        return (3 * z_ND).cos().sum(1)

    z_ND = torch.rand(5, 8, generator=torch.Generator().manual_seed(5))
    directions = Perturbations.draw(16, 8, torch.Generator().manual_seed(6), torch.device("cpu"))
    criterion_VN, cosine_VN = approximation(losses, z_ND, directions, (1e-4, 1e2))
    assert criterion_VN.shape == cosine_VN.shape == (2, 5)
    assert float(criterion_VN[0].max()) < 0.01
    assert float(cosine_VN[0].min()) > 0.99
    assert float(criterion_VN[1].min()) > 0.1
    assert float(cosine_VN[1].mean()) < 0.7
