"""The second bound: the same number of row-updates at the best batch size, and nothing else.

A plain loop makes full batches of passes forward and back: latents to pictures, pictures to scores, and where
                                                            the attack has a prior, to the critic. The best of
                                                            several batch sizes counts. Pictures that the attack
                                                            sends to the model without an update cost a pass
                                                            forward each. No row leaves, no score is compared,
                                                            nothing is drawn. What the loop takes for the
                                                            attack's own numbers of updates and passes, over what
                                                            the attack takes, is the attack's share of the bound.
"""

from __future__ import annotations

import statistics
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from benchmarks.arena import seconds
from benchmarks.peers.networks import Networks

BATCHES = (1, 8, 32, 64)
ROUNDS = 5
ROWS = 64
"""Rows that are timed at each batch size in a round."""


@dataclass(frozen=True)
class Bound:
    """What a row costs, in CPU-seconds, at the best batch size."""

    update: float
    batch: int
    """The batch size at which an update costs least."""
    forward: float
    """A row that takes no gradient, at the batch size that is best for it."""

    def seconds(self, updates: float, asked: float) -> float:
        """What so many updates, and so many pictures asked about besides, cost."""
        return updates * self.update + asked * self.forward


def bound(networks: Networks, attack: str) -> Bound:
    """Measure the passes of this attack of ours; batch sizes take turns, and the medians of the rounds count."""

    def start(count: int) -> Tensor:
        if attack == "mi_face":
            return torch.rand(count, *networks.shape, device=networks.device)
        return torch.randn(count, _width(networks, attack), device=networks.device)

    def forward(point_N: Tensor) -> Tensor:
        if attack == "mi_face":
            x_NCHW = point_N
        elif attack == "mirror":
            x_NCHW = networks.generator.synthesize(point_N)
        else:
            x_NCHW = networks.generator(point_N)
        loss = -networks.logits(x_NCHW).log_softmax(1)[:, 0].sum()
        if attack in ("gmi", "ked_mi"):
            loss = loss - networks.generator.critic(x_NCHW).sum()
        return loss

    def update(point_N: Tensor) -> None:
        leaf_N = point_N.requires_grad_(True)
        torch.autograd.grad(forward(leaf_N), leaf_N)

    cost, batch = _best(update, start, networks)
    with torch.no_grad():
        asked, _ = _best(lambda point_N: forward(point_N), start, networks)
    return Bound(cost, batch, asked)


def _width(networks: Networks, attack: str) -> int:
    """The length of the points that it moves."""
    size = networks.generator.latent_size
    if attack != "mirror":
        return size
    with torch.no_grad():
        return networks.generator.style(torch.zeros(1, size, device=networks.device)).shape[1]


def _best(
    work: Callable[[Tensor], object], start: Callable[[int], Tensor], networks: Networks
) -> tuple[float, int]:
    """CPU-seconds a row at the best batch size, and that size."""
    spent: dict[int, list[float]] = {size: [] for size in BATCHES}
    for _ in range(ROUNDS):
        for size in BATCHES:

            def passes(size: int = size) -> None:
                for _ in range(ROWS // size):
                    work(start(size))

            spent[size].append(seconds(passes, networks.device) / ROWS)
    medians = {size: statistics.median(each[1:]) for size, each in spent.items()}
    best = min(medians, key=medians.__getitem__)
    return medians[best], best
