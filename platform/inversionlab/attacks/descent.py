"""The loop that every gradient attack shares: descend, keep the best, let converged rows leave.

Rows are independent: the loss is summed, each row has its own step size, and a row that has met the stop
criterion is taken out of the batch, so that no further pass is paid for it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from inversionlab.access import View, WhiteBox
from inversionlab.attacks.base import Jobs, refuse_nan

Passes = Callable[[Tensor, Tensor], tuple[Tensor, Tensor]]
"""(points, rows) -> (log p of each row's target, gradient of each row's loss at its point)."""
Update = Callable[[Tensor, Tensor], Tensor]
"""(points, gradients) -> new points."""


def white_box_passes(
    attack: str,
    view: View | None,
    jobs: Jobs,
    decode: Callable[[Tensor], Tensor],
    loss: Callable[[Tensor, Tensor], Tensor],
) -> Passes:
    """The passes of an attack that differentiates through the model.

    Args:
        attack: its registered name, for error texts.
        view: must be a `WhiteBox`.
        jobs: all rows of the attack.
        decode: points to pictures.
        loss: (log-scores (N, K), log p of the targets (N,)) -> the loss, summed over rows.

    Raises:
        TypeError: the view shows less than gradients.
    """
    if not isinstance(view, WhiteBox):
        raise TypeError(f"`{attack}` needs a WhiteBox view, got {type(view).__name__}")

    def passes(point: Tensor, rows_N: Tensor) -> tuple[Tensor, Tensor]:
        point = point.detach().requires_grad_(True)
        log_y_NK = view.log_scores(decode(point), rows_N)
        target_N = jobs.target_N[rows_N]
        log_p_N = log_y_NK.gather(1, target_N[:, None]).squeeze(1)
        refuse_nan(attack, log_p_N, target_N)
        (gradient,) = torch.autograd.grad(loss(log_y_NK, log_p_N), point)
        return log_p_N.detach(), gradient

    return passes


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
