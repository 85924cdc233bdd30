"""Starting points for attacks in a generator's latent space.

Paper: Yoshimura et al. 2021, §V-A.3, starts at the mean encoding of 16 random pictures of the attacker's.
"""

from __future__ import annotations

import torch
from torch import Tensor

from inversionlab.attacks.base import AttackerContext, AttackJobs

ENCODER_BATCH = 256
"""Pictures encoded at once, so that memory does not grow with the number of jobs."""


@torch.no_grad()
def first_latents(attack: str, context: AttackerContext, jobs: AttackJobs, pictures: int) -> Tensor:
    """z(0) (N, m) of every job: the mean encoding of its own random public pictures, or a random draw.

    Args:
        attack: its registered name, which decides the random numbers.
        context: must have a generator; one without an encoder draws from its prior.
        jobs: one row a job.
        pictures: how many public pictures are averaged.
    """
    streams = context.streams(attack, jobs)
    if not has_encoder(context):
        assert context.generator is not None
        return torch.cat([context.generator.draw(1, s) for s in streams]).to(context.device)
    count = min(pictures, len(context.public_NCHW))
    chosen = [torch.randperm(len(context.public_NCHW), generator=s)[:count] for s in streams]
    return encoded(context, torch.cat(chosen)).view(len(streams), count, -1).mean(1)


@torch.no_grad()
def has_encoder(context: AttackerContext) -> bool:
    """Whether the attacker's generator encodes pictures."""
    assert context.generator is not None
    return context.generator.encode(context.public(torch.tensor([0]))) is not None


@torch.no_grad()
def encoded(context: AttackerContext, index_N: Tensor) -> Tensor:
    """Latents (N, m) of public pictures by number; the generator must have an encoder."""
    assert context.generator is not None
    parts = []
    for index_B in index_N.split(ENCODER_BATCH):
        z_BD = context.generator.encode(context.public(index_B))
        assert z_BD is not None, "the caller checks that there is an encoder"
        parts.append(z_BD)
    return torch.cat(parts)


def batch_without_gradients(device: torch.device) -> int:
    """Pictures a pass where no gradient is taken: few enough for a CPU's cache, or enough to fill a GPU."""
    return 128 if device.type == "cpu" else 1024
