"""The loop that every gradient attack shares: descend, keep the best, let converged rows leave.

Rows are independent: the loss is summed, each row has its own step size, and a row that has met the stop
criterion is taken out of the batch, so that no further pass is paid for it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

Passes = Callable[[Tensor, Tensor], tuple[Tensor, Tensor]]
"""(points, rows) -> (log p of each row's target, gradient of each row's loss at its point)."""
Update = Callable[[Tensor, Tensor], Tensor]
"""(points, gradients) -> new points."""


@dataclass
class Path:
    """Where a descent ended."""

    best: Tensor
    """The point of highest target score that each row has met."""
    log_p_N: Tensor
    converged_N: Tensor
    steps_N: Tensor


def descend(start: Tensor, passes: Passes, update: Update, *, stop: float, steps: int) -> Path:
    """Run the loop from `start` (N, ...) for at most `steps` updates a row.

    Args:
        start: one point a row.
        passes: evaluates the rows still in the batch.
        update: moves them.
        stop: a row leaves when its target's probability exceeds this.
        steps: a row leaves after so many updates.
    """
    n, log_stop = len(start), torch.tensor(stop, device=start.device).log()
    path = Path(
        best=start.clone(),
        log_p_N=torch.full((n,), -torch.inf, device=start.device),
        converged_N=torch.zeros(n, dtype=torch.bool, device=start.device),
        steps_N=torch.full((n,), steps, device=start.device),
    )
    rows, point = torch.arange(n, device=start.device), start
    for step in range(steps + 1):
        log_p, gradient = passes(point, rows)
        better = log_p > path.log_p_N[rows]
        path.best[rows[better]] = point[better]
        path.log_p_N[rows[better]] = log_p[better]
        won = log_p > log_stop
        if bool(won.any()):
            path.converged_N[rows[won]] = True
            path.steps_N[rows[won]] = step
            rows, point, gradient = rows[~won], point[~won], gradient[~won]
        if len(rows) == 0 or step == steps:
            break
        point = update(point, gradient)
    return path
