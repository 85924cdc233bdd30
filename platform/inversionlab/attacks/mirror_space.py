"""The space that Mirror searches: the inputs of the last leaky ReLU of a generator's mapping network.

Paper: An et al. 2022, section on P-space clipping. A mapping network ends in w = leaky_relu(p, 0.2), so
p = leaky_relu(w, 5). For random latents each dimension of p is about normal, which w is not. Points are
q = (p - mean) / std, so that steps and bounds mean the same whatever the generator.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

from inversionlab.attacks.base import AttackerContext
from inversionlab.core.contracts import GenerativePrior

SLOPE = 0.2
"""The slope of the mapping network's last leaky ReLU."""
PASS = 256
"""Pictures, or latents, at once where no gradient is taken."""


@dataclass(frozen=True)
class Space:
    """Coordinates q of the generator's style vectors, clipped to [-clip, clip]."""

    generator: GenerativePrior
    mean_W: Tensor
    std_W: Tensor
    clip: float

    @classmethod
    @torch.no_grad()
    def measure(cls, context: AttackerContext, mapped: int, clip: float) -> Space:
        """The space, with mean and std of p over `mapped` latents that all jobs share."""
        generator = context.generator
        assert generator is not None
        z_ND = generator.draw(mapped, context.shared_stream("mirror", "mapped")).to(context.device)
        p_NW = _before_last(generator, z_ND)
        # A dimension that never moves stays where it is, and is not divided by zero.
        std_W = p_NW.std(dim=0, unbiased=False).clamp_min(1e-8)
        return cls(generator, p_NW.mean(dim=0), std_W, clip)

    def candidates(
        self, count: int, streams: Sequence[torch.Generator], device: torch.device
    ) -> Tensor:
        """Points (N, count, W) of random latents, drawn from each row's own stream."""
        z_NCD = torch.stack([self.generator.draw(count, stream) for stream in streams])
        return self.points(z_NCD.flatten(0, 1).to(device)).view(len(streams), count, -1)

    @torch.no_grad()
    def points(self, z_ND: Tensor) -> Tensor:
        """Points (N, W), clipped, of latents."""
        return self.clipped((_before_last(self.generator, z_ND) - self.mean_W) / self.std_W)

    def clipped(self, q: Tensor) -> Tensor:
        """Points (..., W) moved into the space."""
        inside: Tensor = q.clamp(-self.clip, self.clip)
        return inside

    def pictures(self, q_NW: Tensor) -> Tensor:
        """Pictures (N, C, H, W) in [0, 1] of points."""
        p_NW = self.mean_W + self.std_W * q_NW
        return self.generator.synthesize(functional.leaky_relu(p_NW, SLOPE))


def _before_last(generator: GenerativePrior, z_ND: Tensor) -> Tensor:
    """p (N, W) of latents."""
    w_NW = torch.cat([generator.style(z_BD) for z_BD in z_ND.split(PASS)])
    return functional.leaky_relu(w_NW, 1 / SLOPE)
