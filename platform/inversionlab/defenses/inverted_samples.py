"""Inverted samples: what a generator shows when it is searched for a label of a classifier.

Paper:  Gong et al. 2023, §IV-B: Z* = argmin_Z  -log D(G(Z)) + lambda CE(F(G(Z)), l)      (eq. 5-6)
Search: Adam on Z, from draws of the prior, one a sample; kept is the Z of least label loss on the way (the paper's
        rule), not the last one.
Critic: -log D is softplus(-c) of the critic's c, the logit of D. A Wasserstein critic's c is no logit, and its
        level has no meaning, so c is counted from its mean over 256 draws of the prior: a sample pays for looking
        less real than what the generator makes on average.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

from inversionlab.core import seeds
from inversionlab.core.contracts import GenerativePrior, ScoringModel
from inversionlab.core.images import to_bytes

CHUNK = 64
"""Samples searched at once, so that memory stays small."""
LEVEL_DRAWS = 256
"""Draws that the critic's level is estimated on."""


@dataclass(frozen=True)
class Inverter:
    """Searches a generator for labels."""

    maker: GenerativePrior
    identity_weight: float
    """lambda."""
    steps: int
    rate: float
    seed: int
    device: torch.device

    def samples(
        self, model: ScoringModel, labels: Sequence[int], count: int, purpose: str
    ) -> Tensor:
        """uint8 pictures (len(labels) * count, C, H, W) on the CPU, `count` in a row for each label.

        Draws depend on the seed, `purpose`, the place of a label and of a sample.
        """
        class_N = torch.tensor(labels, device=self.device).repeat_interleave(count)
        z_ND = torch.cat(
            [
                self.maker.draw(1, seeds.torch_stream(self.seed, purpose, label, place))
                for label in labels
                for place in range(count)
            ]
        ).to(self.device)
        level = self._level(purpose)
        parts = [
            self._search(model, z, label, level)
            for z, label in zip(z_ND.split(CHUNK), class_N.split(CHUNK), strict=True)
        ]
        return torch.cat(parts)

    def _search(self, model: ScoringModel, z_ND: Tensor, class_N: Tensor, level: Tensor) -> Tensor:
        z_ND = z_ND.clone().requires_grad_(True)
        best_ND, least_N = z_ND.detach().clone(), torch.full_like(z_ND[:, 0], torch.inf)
        optimizer = torch.optim.Adam([z_ND], lr=self.rate)
        for _ in range(self.steps):
            x_NCHW = self.maker(z_ND)
            identity_N = functional.nll_loss(model.log_scores(x_NCHW), class_N, reduction="none")
            better_N = identity_N.detach() < least_N
            best_ND[better_N] = z_ND.detach()[better_N]
            least_N[better_N] = identity_N.detach()[better_N]
            reality_N = functional.softplus(level - self.maker.critic(x_NCHW))
            # Summed: a sample's gradient does not depend on the others beside it.
            loss = (reality_N + self.identity_weight * identity_N).sum()
            (z_ND.grad,) = torch.autograd.grad(loss, z_ND)
            optimizer.step()
        with torch.no_grad():
            return to_bytes(self.maker(best_ND))

    @torch.no_grad()
    def _level(self, purpose: str) -> Tensor:
        """The critic's mean over what the generator makes."""
        z_ND = self.maker.draw(LEVEL_DRAWS, seeds.torch_stream(self.seed, purpose, "level"))
        parts = [self.maker.critic(self.maker(z.to(self.device))) for z in z_ND.split(CHUNK)]
        return torch.cat(parts).mean()
