"""Mirror: Adam among style vectors that are clipped to where random ones lie.

Paper:   An et al., "MIRROR: Model Inversion for Deep Learning Network with High Fidelity", NDSS 2022.
Source:  the authors' `my_whitebox_mirror.py` and its helper: 20,000 updates of the 8 latents that score best among
         those sampled beforehand, Adam 0.2 with a rate that rises over the first 5 % of the updates and falls
         over the last 25 %, clip at 1 standard deviation. 5,000 latents are sampled, as in MIBench (the authors:
         100,000).
Batch:   8 rows: the candidates of one target, or of several that have fewer (the authors' `--target` takes
         several too); the samples are scored once for all targets.
Step:    w moves; p = leaky_relu(w, 5) is clipped to mean +- 1 standard deviation of p over random latents.
Stop:    never.
Result:  a target's points after the update of smallest mean loss; of these the one of highest score.
Left out: dropout in the victim and mirrored pictures, which are off by default there; the truncation of the
         samples, for which our small generators have no layers.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor
from torch.nn import functional

from benchmarks.peers.networks import Networks, Pause

SLOPE = 0.2
"""The slope of the mapping network's last leaky ReLU."""


@dataclass(frozen=True)
class Mirror:
    """Settings, by default the authors'."""

    samples: int = 5000
    candidates: int = 8
    steps: int = 20_000
    batch: int = 8
    rate: float = 0.2
    deviations: float = 1.0


def loop(
    networks: Networks, target_N: Tensor, settings: Mirror, rng: torch.Generator
) -> Iterator[Pause]:
    """All updates of all candidates, in batches that take turns."""
    w_SW = networks.in_parts(networks.draw(settings.samples, rng), networks.generator.style)
    low_W, high_W = bounds(w_SW, settings.deviations)
    score_SK = networks.in_parts(w_SW, lambda w: networks.scores(networks.generator.synthesize(w)))
    best_CN = score_SK[:, target_N].topk(settings.candidates, dim=0).indices
    w_NCW = w_SW[best_CN.T].clone().requires_grad_(True)
    adam = torch.optim.Adam([w_NCW], lr=settings.rate)
    target_M = target_N.repeat_interleave(settings.candidates)
    lowest_N = torch.full(target_N.shape, torch.inf, device=networks.device)
    best_NCW = w_NCW.detach().clone()
    for step in range(1, settings.steps + 1):
        adam.param_groups[0]["lr"] = settings.rate * ramp(step / settings.steps)
        adam.zero_grad()
        losses = []
        for rows in torch.arange(len(target_M), device=networks.device).split(settings.batch):
            x_BCHW = networks.generator.synthesize(w_NCW.flatten(0, 1)[rows])
            loss_B = functional.cross_entropy(
                networks.logits(x_BCHW), target_M[rows], reduction="none"
            )
            loss_B.mean().backward()
            losses.append(loss_B.detach())
        loss_N = torch.cat(losses).view(w_NCW.shape[:2]).mean(1)
        adam.step()
        with torch.no_grad():
            w_NCW.copy_(w_NCW.clamp(low_W, high_W))
        better_N = loss_N < lowest_N
        lowest_N = torch.where(better_N, loss_N, lowest_N)
        best_NCW = torch.where(better_N[:, None, None], w_NCW.detach(), best_NCW)
        yield Pause(step * settings.candidates, partial(chosen, networks, target_N, best_NCW))


def bounds(w_SW: Tensor, deviations: float) -> tuple[Tensor, Tensor]:
    """The lowest and highest w (W,): p = leaky_relu(w, 5) this many standard deviations around its mean."""
    p_SW = functional.leaky_relu(w_SW, 1 / SLOPE)
    mean_W, reach_W = p_SW.mean(0), deviations * p_SW.std(0, unbiased=False)
    low_W, high_W = (functional.leaky_relu(mean_W + s * reach_W, SLOPE) for s in (-1, 1))
    return low_W, high_W


def ramp(done: float) -> float:
    """The share of the full rate after this share of the updates: up over 5 %, down along a cosine over 25 %."""
    down = 0.5 - 0.5 * math.cos(math.pi * min(1.0, (1 - done) / 0.25))
    return down * min(1.0, done / 0.05)


def chosen(networks: Networks, target_N: Tensor, w_NCW: Tensor) -> Tensor:
    """The picture of highest score among each target's candidates."""
    x_NCCHW = networks.in_parts(w_NCW.flatten(0, 1), networks.generator.synthesize)
    count, candidates = w_NCW.shape[:2]
    rows_N = torch.arange(count, device=w_NCW.device)
    own_M1 = target_N.repeat_interleave(candidates)[:, None]
    best_N = networks.scores(x_NCCHW).gather(1, own_M1).view(count, candidates).argmax(1)
    return x_NCCHW[rows_N * candidates + best_N]
