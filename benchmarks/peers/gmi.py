"""GMI: momentum descent in a GAN's latent space, with its critic as a prior, from several starts.

Paper:   Zhang et al., "The Secret Revealer", CVPR 2020.
Source:  the authors' repository, `Celeba/attack.py`; KED-MI's repository and MIBench have the same loop: rate
         0.02, momentum 0.9, lambda 100, clip 1, 1,500 updates of each of 5 starts.
Batch:   all targets at once. The loss is a mean over the batch, so the step of a target shrinks with the number of
         targets; the authors attack 60 to 100 at once.
Step:    v' = m v - a g;  z <- z - m v + (1 + m) v', clipped to [-1, 1]; g is the gradient of
         mean(-D(G(z)) + lambda CE(R(G(z)), y)).
Stop:    never; all starts are made.
Result:  of the last points of all starts the one of highest logit of the target.
Left out: nothing of the attack on faces without auxiliary pictures. Prints and pictures for the evaluator are left
         out of the loop, because they are no part of the attack.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor
from torch.nn import functional

from benchmarks.peers.networks import Networks, Pause


@dataclass(frozen=True)
class Gmi:
    """Settings, by default the authors'."""

    starts: int = 5
    steps: int = 1500
    rate: float = 0.02
    momentum: float = 0.9
    identity_weight: float = 100.0
    clip: float = 1.0


def loop(
    networks: Networks, target_N: Tensor, settings: Gmi, rng: torch.Generator
) -> Iterator[Pause]:
    """All updates of all starts."""
    generator, kept_SND = networks.generator, list[Tensor]()
    for start in range(settings.starts):
        z_ND = networks.draw(len(target_N), rng)
        v_ND = torch.zeros_like(z_ND)
        for step in range(settings.steps):
            z_ND = z_ND.detach().requires_grad_(True)
            x_NCHW = generator(z_ND)
            identity = functional.cross_entropy(networks.logits(x_NCHW), target_N)
            loss = -generator.critic(x_NCHW).mean() + settings.identity_weight * identity
            (g_ND,) = torch.autograd.grad(loss, z_ND)
            z_ND, v_ND = moved(z_ND.detach(), v_ND, g_ND, settings)
            updates = start * settings.steps + step + 1
            yield Pause(updates, partial(chosen, networks, target_N, [*kept_SND, z_ND]))
        kept_SND.append(z_ND)


def moved(z_ND: Tensor, v_ND: Tensor, g_ND: Tensor, settings: Gmi) -> tuple[Tensor, Tensor]:
    """The next latents and velocities."""
    m = settings.momentum
    after_ND = m * v_ND - settings.rate * g_ND
    return (z_ND - m * v_ND + (1 + m) * after_ND).clamp(-settings.clip, settings.clip), after_ND


@torch.no_grad()
def chosen(networks: Networks, target_N: Tensor, points_SND: list[Tensor]) -> Tensor:
    """Of each target's points the picture of highest logit."""
    x_SNCHW = torch.stack([networks.in_parts(z_ND, networks.generator) for z_ND in points_SND])
    if len(points_SND) == 1:
        return x_SNCHW[0]
    own_SN = torch.stack(
        [networks.in_parts(x, networks.logits).gather(1, target_N[:, None])[:, 0] for x in x_SNCHW]
    )
    return x_SNCHW[own_SN.argmax(0), torch.arange(len(target_N), device=x_SNCHW.device)]
