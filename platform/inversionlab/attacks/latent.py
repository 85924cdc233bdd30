"""What attacks in a generator's latent space share: where they start, and how long their steps are.

Paper: Yoshimura et al. 2021, §V-A.3: start at the mean encoding of 16 random pictures of the attacker's;
z <- z - min(100, 0.1 / |g|) g.
"""

from __future__ import annotations

import torch
from torch import Tensor

from inversionlab.attacks.base import AttackerContext, AttackJobs
from inversionlab.attacks.descent import Update

ENCODER_BATCH = 256
"""Pictures encoded at once, so that memory stays small whatever the number of jobs."""


@torch.no_grad()
def first_latents(attack: str, know: AttackerContext, jobs: AttackJobs, pictures: int) -> Tensor:
    """z(0) (N, m) of every job: the mean encoding of its own random public pictures, or a random draw.

    Args:
        attack: its registered name, which decides the random numbers.
        know: with a generator; one without an encoder draws from its prior.
        jobs: one row a job.
        pictures: how many public pictures are averaged.
    """
    generator = know.generator
    assert generator is not None
    streams = [know.stream(attack, target, repeat) for target, repeat in jobs.pairs()]
    if generator.encode(know.public(torch.zeros(1, dtype=torch.int64))) is None:
        return torch.cat([generator.draw(1, s) for s in streams]).to(know.device)
    count = min(pictures, len(know.public_NCHW))
    chosen = [torch.randperm(len(know.public_NCHW), generator=s)[:count] for s in streams]
    return encoded(know, torch.cat(chosen)).view(len(streams), count, -1).mean(1)


@torch.no_grad()
def encoded(know: AttackerContext, index_N: Tensor) -> Tensor:
    """Latents (N, m) of public pictures by number; the generator must have an encoder."""
    assert know.generator is not None
    parts = []
    for index_B in index_N.split(ENCODER_BATCH):
        z_BD = know.generator.encode(know.public(index_B))
        assert z_BD is not None, "its encoder was asked for"
        parts.append(z_BD)
    return torch.cat(parts)


def limited_step(length: float, max_rate: float) -> Update:
    """The update z - min(max_rate, length / |g|) g of each row."""

    def update(z_ND: Tensor, g_ND: Tensor, rows_N: Tensor) -> Tensor:
        norm_N1 = g_ND.norm(dim=1, keepdim=True).clamp_min(1e-12)
        moved_ND: Tensor = z_ND - (length / norm_N1).clamp_max(max_rate) * g_ND
        return moved_ND

    return update
