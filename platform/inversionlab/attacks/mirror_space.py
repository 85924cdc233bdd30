"""The space that Mirror searches: what stands before the last leaky ReLU of a generator's mapping network.

Paper: An et al. 2022, section on P-space clipping. A mapping network ends in w = leaky_relu(p, 0.2), so
p = leaky_relu(w, 5), and p of random latents is about normal, dimension by dimension, which w is not.
Points are q = (p - mean) / std, so that steps and bounds mean the same whatever the generator.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

from inversionlab.attacks.base import AttackerContext, AttackJobs, of_targets
from inversionlab.core.contracts import GenerativePrior
from inversionlab.core.views import Scores, View, WhiteBox

SLOPE = 0.2
"""Of the mapping network's last leaky ReLU."""
PASS = 256
"""Pictures, or latents, at once where no gradient is taken."""


@dataclass(frozen=True)
class Space:
    """Coordinates q of the generator's style vectors, clipped to [-clip, clip]."""

    generator: GenerativePrior
    mean_W: Tensor
    std_W: Tensor
    clip: float

    def pictures(self, q_NW: Tensor) -> Tensor:
        """Pictures (N, C, H, W) in [0, 1] of points."""
        p_NW = self.mean_W + self.std_W * q_NW
        return self.generator.synthesize(functional.leaky_relu(p_NW, SLOPE))

    @torch.no_grad()
    def points(self, z_ND: Tensor) -> Tensor:
        """Points (N, W), clipped, of latents."""
        return self.clipped((_before_last(self.generator, z_ND) - self.mean_W) / self.std_W)

    def clipped(self, q: Tensor) -> Tensor:
        """Points (..., W) moved into the space."""
        inside: Tensor = q.clamp(-self.clip, self.clip)
        return inside


@torch.no_grad()
def measured(know: AttackerContext, mapped: int, clip: float) -> Space:
    """The space, with mean and spread of p over `mapped` latents that all jobs share."""
    generator = know.generator
    assert generator is not None
    z_ND = generator.draw(mapped, know.shared_stream("mirror", "mapped")).to(know.device)
    p_ND = _before_last(generator, z_ND)
    # A dimension that never moves is left where it is, not divided by zero.
    std_D = p_ND.std(dim=0, unbiased=False).clamp_min(1e-8)
    return Space(generator, p_ND.mean(dim=0), std_D, clip)


def candidates(
    know: AttackerContext, space: Space, count: int, streams: Sequence[torch.Generator]
) -> Tensor:
    """Points (N, count, W) of random latents, drawn from each row's own stream."""
    z_NCD = torch.stack([space.generator.draw(count, stream) for stream in streams])
    q_NW = space.points(z_NCD.flatten(0, 1).to(know.device))
    return q_NW.view(len(streams), count, -1)


@torch.no_grad()
def target_scores(
    space: Space, view: View, jobs: AttackJobs, q_NCW: Tensor, rows_N: Tensor
) -> Tensor:
    """The model's score (N, C) of each row's target for its points (N, C, W), every picture on its account."""
    count = q_NCW.shape[1]
    row_N = rows_N.repeat_interleave(count)
    parts = []
    for q_BW, row_B in zip(q_NCW.flatten(0, 1).split(PASS), row_N.split(PASS), strict=True):
        y_BK = _answer(view, space.pictures(q_BW), row_B)
        parts.append(of_targets("mirror", y_BK, jobs.target_N[row_B]))
    return torch.cat(parts).view(-1, count)


def _answer(view: View, x_NCHW: Tensor, account_N: Tensor) -> Tensor:
    if isinstance(view, WhiteBox):
        return view.log_scores(x_NCHW, account_N).exp()
    assert isinstance(view, Scores), "the attack has asked for one of both"
    return view.scores(x_NCHW, account_N)


def _before_last(generator: GenerativePrior, z_ND: Tensor) -> Tensor:
    """p (N, W) of latents."""
    w_NW = torch.cat([generator.style(z_BD) for z_BD in z_ND.split(PASS)])
    return functional.leaky_relu(w_NW, 1 / SLOPE)
