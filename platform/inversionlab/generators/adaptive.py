"""How strong the adaptive augmentation is, and the gradient penalty that goes with it.

Papers: Karras et al. (2020), adaptive augmentation; Mescheder et al. (2018), the penalty R1.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from inversionlab.core.learner import GradientSync
from inversionlab.generators.adversarial import averaged


def mean_sign(score_N: Tensor, sync: GradientSync) -> Tensor:
    """The mean sign of the scores on real pictures over all training workers, a scalar."""
    return averaged(score_N.detach().sign().mean(), sync)


def steered(p: float, sign: Tensor, *, target: float, step: float, limit: float) -> float:
    """The next probability of augmentation: `step` toward where `sign` = `target`, in [0, `limit`]."""
    moved = p + (step if float(sign) > target else -step)
    return min(max(moved, 0.0), limit)


def steepness(score: Callable[[Tensor], Tensor], x_NCHW: Tensor) -> Tensor:
    """Mean squared gradient of `score`, pictures -> (N,), at pictures, differentiable; in float32."""
    x_NCHW = x_NCHW.detach().requires_grad_(True)
    (slope_NCHW,) = torch.autograd.grad(score(x_NCHW).sum(), x_NCHW, create_graph=True)
    return slope_NCHW.square().sum() / len(x_NCHW)
