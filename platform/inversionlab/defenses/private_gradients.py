"""Gradients of single samples, clipped, summed and noised: the one step of DP-SGD that touches private data.

Abadi et al. 2016, algorithm 1, with Opacus' conventions: a sample's gradient over all weights together has norm
n and is multiplied by min(1, C / (n + 1e-6)); to the sum over the batch is added Gaussian noise of standard
deviation sigma C in every number; the result is divided by the batch size that is expected, not the one drawn.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn
from torch.func import functional_call, grad_and_value, vmap
from torch.nn import functional


def clipped_sum(
    network: nn.Module,
    weights: Mapping[str, Tensor],
    x_N: Tensor,
    y_N: Tensor,
    clip: float,
) -> tuple[dict[str, Tensor], Tensor]:
    """The sum over the batch of each sample's clipped gradient of the softmax cross-entropy.

    Args:
        network: inputs (N, ...) to logits (N, K); must treat its rows apart (no batch statistics).
        weights: those of its parameters that are trained, detached, by their names in it.
        x_N: its inputs (N, ...), at least one; all of their gradients are held at once.
        y_N: class numbers (N,).
        clip: C, the largest norm of a sample's gradient.

    Returns:
        the sums by name, each of its weight's shape, and the sum of the samples' losses.
    """

    def loss(weights: Mapping[str, Tensor], x: Tensor, y: Tensor) -> Tensor:
        logit_1K = functional_call(network, dict(weights), (x[None],))
        return functional.cross_entropy(logit_1K, y[None])

    # "different": every sample has a dropout mask of its own.
    each = vmap(grad_and_value(loss), in_dims=(None, 0, 0), randomness="different")
    gradients, loss_N = each(weights, x_N, y_N)
    factor_N = clip_factors(gradients, clip)
    sums = {name: torch.einsum("n,n...->...", factor_N, g) for name, g in gradients.items()}
    return sums, loss_N.sum()


def clip_factors(gradients: Mapping[str, Tensor], clip: float) -> Tensor:
    """What each sample's gradient is multiplied by, (N,) in [0, 1], of gradients (N, ...) by name."""
    norms = [gradient.flatten(1).norm(dim=1) for gradient in gradients.values()]
    norm_N = torch.stack(norms).norm(dim=0)
    factor_N: Tensor = (clip / (norm_N + 1e-6)).clamp(max=1)
    return factor_N


def noised_mean(
    sums: Mapping[str, Tensor], deviation: float, expected: int, rng: torch.Generator
) -> dict[str, Tensor]:
    """`(sums + N(0, deviation^2 I)) / expected`, the noise drawn on the CPU from `rng` in the mapping's order."""
    return {
        name: (total + deviation * torch.randn(total.shape, generator=rng).to(total.device))
        / expected
        for name, total in sums.items()
    }
