"""The loop that every gradient attack shares: descend, keep the best, let converged rows leave.

Rows are independent: the loss is summed, each row has its own step size, and a row that has met the stop
criterion is taken out of the batch, so that no further pass is paid for it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from inversionlab.attacks.base import AttackJobs, of_targets
from inversionlab.core.views import View, WhiteBox

GAIN = 0.01
"""Growth of log p that counts as progress."""
Passes = Callable[[Tensor, Tensor], tuple[Tensor, Tensor]]
"""(points, rows) -> (log p of each row's target, gradient of each row's loss at its point)."""
Update = Callable[[Tensor, Tensor, Tensor], Tensor]
"""(points, gradients, rows) -> new points; `rows` says where a row's own state (say, momentum) stands."""


@dataclass(frozen=True)
class Seen:
    """One forward pass, differentiable in the points."""

    rows_N: Tensor
    """Which rows of the attack these are."""
    x_NCHW: Tensor
    log_y_NK: Tensor
    log_p_N: Tensor
    """Log-score of each row's target."""


def white_box_passes(
    attack: str,
    view: View | None,
    jobs: AttackJobs,
    decode: Callable[[Tensor], Tensor],
    loss: Callable[[Seen], Tensor],
) -> Passes:
    """The passes of an attack that differentiates through the model.

    Args:
        attack: its registered name, for error texts.
        view: must be a `WhiteBox`.
        jobs: all rows of the attack.
        decode: points to pictures.
        loss: the loss, summed over rows.

    Raises:
        TypeError: the view shows less than gradients.
    """
    if not isinstance(view, WhiteBox):
        raise TypeError(f"`{attack}` needs a WhiteBox view, got {type(view).__name__}")

    def passes(point: Tensor, rows_N: Tensor) -> tuple[Tensor, Tensor]:
        point = point.detach().requires_grad_(True)
        x_NCHW = decode(point)
        log_y_NK = view.log_scores(x_NCHW, jobs.account(rows_N))
        log_p_N = of_targets(attack, log_y_NK, jobs.target_N[rows_N])
        (gradient,) = torch.autograd.grad(loss(Seen(rows_N, x_NCHW, log_y_NK, log_p_N)), point)
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

    @classmethod
    def begun(cls, start: Tensor, steps: int) -> Path:
        """Nothing met yet; rows that nothing ends sooner make `steps` updates."""
        n, device = len(start), start.device
        return cls(
            best=start.clone(),
            log_p_N=torch.full((n,), -torch.inf, device=device),
            converged_N=torch.zeros(n, dtype=torch.bool, device=device),
            steps_N=torch.full((n,), steps, device=device),
        )


def descend(
    start: Tensor,
    passes: Passes,
    update: Update,
    *,
    stop: float,
    steps: int,
    patience: int | None = None,
) -> Path:
    """Run the loop from `start` (N, ...) for at most `steps` updates a row.

    Args:
        start: one point a row.
        passes: evaluates the rows still in the batch.
        update: moves them.
        stop: a row leaves when its target's probability exceeds this.
        steps: a row leaves after so many updates.
        patience: a row leaves when its target's score has not grown by GAIN for so many updates; None: never.
    """
    log_stop, path = torch.tensor(stop, device=start.device).log(), Path.begun(start, steps)
    rows, point = torch.arange(len(start), device=start.device), start
    # When each row last made progress, and how far it was then.
    grown_N, mark_N = torch.zeros_like(path.steps_N), path.log_p_N.clone()
    for step in range(steps + 1):
        log_p, gradient = passes(point, rows)
        better = log_p > path.log_p_N[rows]
        path.best[rows[better]] = point[better]
        path.log_p_N[rows[better]] = log_p[better]
        won = log_p > log_stop
        path.converged_N[rows[won]] = True
        grown = log_p > mark_N[rows] + GAIN
        grown_N[rows[grown]], mark_N[rows[grown]] = step, log_p[grown]
        gone = won if patience is None else won | (step - grown_N[rows] >= patience)
        if bool(gone.any()):
            path.steps_N[rows[gone]] = step
            rows, point, gradient = rows[~gone], point[~gone], gradient[~gone]
        if len(rows) == 0 or step == steps:
            break
        point = update(point, gradient, rows)
    return path
