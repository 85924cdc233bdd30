"""KED-MI: a Gaussian of latents a target, recovered by the reparameterisation trick and Adam.

Paper:   Chen et al., "Knowledge-Enriched Distributional Model Inversion Attacks", ICCV 2021.
Source:  the authors' repository, `attack.py` (`dist_inversion`) and `recovery.py`: Adam 0.02 on mean and
         log-variance, which start at 0 and 1; lambda 100; 2,400 updates (1,500 in the function's signature); the
         prior is softplus(Z) - Z of the inversion-specific discriminator.
Batch:   all targets at once (authors: 60), one draw a target and update; losses are means over the batch.
Stop:    never.
Result:  one draw of the recovered Gaussian. The authors count five draws and average their success, which is the
         same in expectation; there is no choice among them.
Left out: the clipping of z that the authors apply only to the pictures they print.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

from benchmarks.peers.networks import Networks, Pause, decoded, forked


@dataclass(frozen=True)
class KedMi:
    """Settings, by default the authors'."""

    steps: int = 2400
    rate: float = 0.02
    identity_weight: float = 100.0


def loop(
    networks: Networks, target_N: Tensor, settings: KedMi, rng: torch.Generator
) -> Iterator[Pause]:
    """All updates of all Gaussians."""
    generator = networks.generator
    mean_ND = torch.zeros(len(target_N), generator.latent_size, device=networks.device)
    log_variance_ND = torch.ones_like(mean_ND)
    both = [mean_ND.requires_grad_(True), log_variance_ND.requires_grad_(True)]
    adam = torch.optim.Adam(both, lr=settings.rate)

    def draw(stream: torch.Generator) -> Tensor:
        noise_ND = torch.randn(mean_ND.shape, generator=stream).to(networks.device)
        return mean_ND + (log_variance_ND / 2).exp() * noise_ND

    for step in range(settings.steps):
        x_NCHW = generator(draw(rng))
        prior = functional.softplus(-generator.critic(x_NCHW)).mean()
        identity = functional.cross_entropy(networks.logits(x_NCHW), target_N)
        adam.zero_grad()
        (prior + settings.identity_weight * identity).backward()
        adam.step()
        yield Pause(step + 1, decoded(networks, draw(forked(rng))))
