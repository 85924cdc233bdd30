"""Plug & Play Attacks (PPA): Poincare loss, random crops, starts chosen by score, results chosen by robustness.

Paper:   Struppek et al., "Plug & Play Attacks: Towards Robust and Flexible Model Inversion Attacks", ICML 2022.
Source:  the authors' `configs/attacking/default_attacking_local.yaml`: 2,000 style vectors scored with and
         without a flip, 50 updates in batches of 25, Adam 0.005 with betas (0.1, 0.1) and a tenth of the rate
         after 30 and again after 40 updates, one random crop of 90 to 100 % of the area a pass, Poincare loss on
         the logits; the results are chosen by mean score over 100 random crops of 50 to 90 %, of ratio 0.8 to
         1.2, flipped or not.
Batch:   25 rows, whichever targets they belong to; the samples are scored once for all targets.
Candidates: the authors move 200 and keep 50 of them. One picture a target is wanted here, so 4 are moved.
Stop:    never.
Space:   style vectors; latents, if the generator has no styles.
Left out: the truncation of the samples and the fixed centre crop, which fit the authors' generators alone; their
         discriminator loss, whose weight is 0.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor
from torch.nn import functional

from benchmarks.peers.networks import Networks, Pause, forked


@dataclass(frozen=True)
class Ppa:
    """Settings, by default the authors'."""

    samples: int = 2000
    candidates: int = 4
    steps: int = 50
    batch: int = 25
    rate: float = 0.005
    betas: tuple[float, float] = (0.1, 0.1)
    milestones: tuple[int, ...] = (30, 40)
    crops: int = 100


def loop(
    networks: Networks, target_N: Tensor, settings: Ppa, rng: torch.Generator
) -> Iterator[Pause]:
    """All updates of all candidates, in batches that take turns."""
    style, decode = networks.search_space()
    w_SW = networks.in_parts(networks.draw(settings.samples, rng), style)

    def robust(w_BW: Tensor) -> Tensor:
        x_BCHW = decode(w_BW)
        return (networks.scores(x_BCHW) + networks.scores(x_BCHW.flip(3))) / 2

    score_SK = networks.in_parts(w_SW, robust)
    best_CN = score_SK[:, target_N].topk(settings.candidates, dim=0).indices
    w_MW = w_SW[best_CN.T.flatten()].clone().requires_grad_(True)
    target_M = target_N.repeat_interleave(settings.candidates)
    adam = torch.optim.Adam([w_MW], lr=settings.rate, betas=settings.betas)
    schedule = torch.optim.lr_scheduler.MultiStepLR(adam, [*settings.milestones], gamma=0.1)
    for step in range(settings.steps):
        adam.zero_grad()
        for rows in torch.arange(len(target_M), device=networks.device).split(settings.batch):
            x_BCHW = crop(decode(w_MW[rows]), (0.9, 1.0), (1.0, 1.0), rng)
            loss_B = poincare(networks.logits(x_BCHW), target_M[rows])
            loss_B.mean().backward()
        adam.step()
        schedule.step()
        updates = (step + 1) * settings.candidates
        end_MW = w_MW.detach().clone()
        yield Pause(updates, partial(chosen, networks, target_N, end_MW, settings, forked(rng)))


def poincare(logits_NK: Tensor, target_N: Tensor, xi: float = 1e-4) -> Tensor:
    """arcosh(1 + 2 |u - v|^2 / ((1 - |u|^2) (1 - |v|^2))) (N,), u = logits / |logits|_1, v nearly one-hot."""
    u_NK = logits_NK / logits_NK.abs().sum(1, keepdim=True)
    v_NK = functional.one_hot(target_N, logits_NK.shape[1]) * (1 - xi)
    apart_N, u_N, v_N = (x.square().sum(1) for x in (u_NK - v_NK, u_NK, v_NK))
    return torch.arccosh(1 + 2 * apart_N / ((1 - u_N) * (1 - v_N)))


def crop(
    x_NCHW: Tensor, area: tuple[float, float], ratio: tuple[float, float], rng: torch.Generator
) -> Tensor:
    """One random rectangle of all pictures, of this share of the area and ratio of sides, at their full size."""
    height, width = x_NCHW.shape[2:]

    def between(low: float, high: float) -> float:
        return low + (high - low) * float(torch.rand((), generator=rng))

    pixels = height * width * between(*area)
    stretch = math.exp(between(math.log(ratio[0]), math.log(ratio[1])))
    across = min(width, round(math.sqrt(pixels * stretch)))
    down = min(height, round(math.sqrt(pixels / stretch)))
    top = int(torch.randint(height - down + 1, (), generator=rng))
    left = int(torch.randint(width - across + 1, (), generator=rng))
    part_NCHW = x_NCHW[:, :, top : top + down, left : left + across]
    return functional.interpolate(
        part_NCHW, size=(height, width), mode="bilinear", align_corners=False
    )


@torch.no_grad()
def chosen(
    networks: Networks, target_N: Tensor, w_MW: Tensor, settings: Ppa, rng: torch.Generator
) -> Tensor:
    """Of each target's candidates the picture of highest mean score over random crops."""
    x_MCHW = networks.in_parts(w_MW, networks.search_space()[1])
    if settings.candidates == 1:
        return x_MCHW
    own_M1 = target_N.repeat_interleave(settings.candidates)[:, None]
    total_M = torch.zeros(len(own_M1), device=networks.device)
    for _ in range(settings.crops):
        seen_MCHW = crop(x_MCHW, (0.5, 0.9), (0.8, 1.2), rng)
        if float(torch.rand((), generator=rng)) < 0.5:
            seen_MCHW = seen_MCHW.flip(3)
        total_M += networks.scores(seen_MCHW).gather(1, own_M1)[:, 0]
    rows_N = torch.arange(len(target_N), device=networks.device)
    best_N = total_M.view(len(target_N), settings.candidates).argmax(1)
    return x_MCHW[rows_N * settings.candidates + best_N]
