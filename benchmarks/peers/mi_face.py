"""MI-FACE as in the Adversarial Robustness Toolbox (ART): ascent on the pixels from a black picture.

Paper:   Fredrikson, Jha, Ristenpart, CCS 2015, Algorithm 1.
Source:  ART 1.x, `art/attacks/inference/model_inversion/mi_face.py`: 10,000 updates, window 100, threshold 0.99,
         rate 0.1; pixels are clipped to [0, 1] after every update.
Batch:   all targets at once (ART's own `batch_size` is 1, which is slower on a CPU).
Step:    x <- x + rate dp/dx, plain, without momentum. Each update asks twice: for the gradient of the rows that
         are active, then for the scores of all rows.
Stop:    a row ends once p > 0.99, or once c = 1 - p is no better than the worst of the last 100, as in the paper.
         ART's own code has it the other way round (`stopping: published`): a row stays active while c is at most
         0.99, or no better than that. So it ends rows that score below 0.01 after one update, and no others. With
         that rule it finds nobody on a victim of a hundred people, so here it has the paper's.
Result:  the last picture; there is no choice.
Left out: nothing. The gradient is that of the softmax score, as for any classifier whose answers are
          probabilities.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from benchmarks.peers.networks import Networks, Pause


@dataclass(frozen=True)
class MiFace:
    """Settings, by default those of ART but for `stopping`."""

    steps: int = 10_000
    window: int = 100
    threshold: float = 0.99
    rate: float = 0.1
    stopping: Literal["paper", "published"] = "paper"


def loop(
    networks: Networks, target_N: Tensor, settings: MiFace, rng: torch.Generator
) -> Iterator[Pause]:
    """Ascend until no row is active."""
    count = len(target_N)
    x_NCHW = torch.zeros(count, *networks.shape, device=networks.device)
    active_N = torch.ones(count, dtype=torch.bool, device=networks.device)
    window_NB = torch.full((count, settings.window), torch.inf, device=networks.device)
    updates = 0.0
    for step in range(settings.steps):
        leaf_ACHW = x_NCHW[active_N].requires_grad_(True)
        p_A = networks.logits(leaf_ACHW).softmax(1).gather(1, target_N[active_N, None])
        (g_ACHW,) = torch.autograd.grad(p_A.sum(), leaf_ACHW)
        updates += len(g_ACHW) / count
        # A new tensor, so that an earlier pause keeps its pictures.
        x_NCHW = x_NCHW.clone()
        x_NCHW[active_N] = (leaf_ACHW.detach() + settings.rate * g_ACHW).clamp(0, 1)
        cost_N = 1 - networks.scores(x_NCHW).gather(1, target_N[:, None])[:, 0]
        active_N = stays_active(cost_N, window_NB, active_N, settings)
        window_NB[:, step % settings.window] = cost_N
        yield Pause(updates, x_NCHW.clone)
        if not bool(active_N.any()):
            return


def stays_active(cost_N: Tensor, window_NB: Tensor, active_N: Tensor, settings: MiFace) -> Tensor:
    """Which rows make another update; `window_NB` holds the costs before this one, infinite at first."""
    stalled_N = cost_N >= window_NB.amax(1)
    if settings.stopping == "published":
        return (cost_N <= settings.threshold) | stalled_N
    found_N = 1 - cost_N > settings.threshold
    return active_N & ~found_N & ~stalled_N
