"""The loop that the gradient attacks share: descend, keep the best point, let converged rows leave.

Rows are independent: the loss is summed, each row has its own step size and its own state. A row that meets the
stop criterion leaves, and the next one takes its place (`engine.py`).
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Protocol

import torch
from torch import Tensor

from inversionlab.attacks.base import Attack
from inversionlab.attacks.engine import InFlight, keep_full, pass_size
from inversionlab.attacks.jobs import AttackJobs, AttackResult
from inversionlab.core.views import View, WhiteBox

GAIN = 0.01
"""Growth of log p that counts as progress."""
Start = Callable[[Tensor], Tensor]
"""Numbers of rows that enter (L,) -> their first points."""
Objective = Callable[[Tensor, Tensor, Tensor], tuple[Tensor, Tensor]]
"""(points, rows, steps) -> (log p of each row's target, gradient of each row's loss at its point). `steps` are the
updates that each row has made."""


class Update(Protocol):
    """A rule that moves points; what it remembers of a row is an entry of `memory`."""

    def memory(self, start: Tensor) -> Tensor:
        """What it remembers of rows before their first update, an entry for each row."""

    def __call__(
        self, point: Tensor, gradient: Tensor, memory: Tensor, step_L: Tensor
    ) -> tuple[Tensor, Tensor]:
        """New points and memory of rows that have made `step_L` updates."""


@dataclass
class Search:
    """The outcome of a search, row by row."""

    best: Tensor
    """The point of highest target score that each row has met."""
    log_p_N: Tensor
    """The log-score of the target at that point."""
    converged_N: Tensor
    steps_N: Tensor

    @torch.no_grad()
    def result(self, decode: Callable[[Tensor], Tensor] = lambda x_NCHW: x_NCHW) -> AttackResult:
        """The result of an attack that ends here; `decode` turns points into pictures."""
        parts = self.best.split(pass_size(self.best.device))
        images = torch.cat([decode(part) for part in parts])
        return AttackResult(images, self.log_p_N.exp(), self.converged_N, self.steps_N)


class Outcomes:
    """Gathers the outcomes of rows as they leave, in any order."""

    def __init__(self) -> None:
        self._parts: list[tuple[Tensor, Search]] = []

    def add(self, row_L: Tensor, outcome: Search) -> None:
        """Keep the outcome of the rows of these numbers."""
        self._parts.append((row_L, outcome))

    def in_order(self) -> Search:
        """The outcome of all rows by their numbers; there must be one or more."""
        order_N = torch.cat([row_L for row_L, _ in self._parts]).argsort()
        whole = [
            torch.cat(values)[order_N]
            for values in zip(
                *(
                    (part.best, part.log_p_N, part.converged_N, part.steps_N)
                    for _, part in self._parts
                ),
                strict=True,
            )
        ]
        return Search(*whole)


@dataclass
class _Descent(InFlight):
    """Rows that descend."""

    point: Tensor
    gradient: Tensor
    memory: Tensor
    """What the update remembers."""
    best: Tensor
    log_p_L: Tensor
    """The log-score at the best point."""
    last_LW: Tensor
    """The log-scores of the last W steps, -inf at first."""
    grown_L: Tensor
    """When each row last made progress ..."""
    mark_L: Tensor
    """... and its log-score then."""
    converged_L: Tensor


def descend(
    attack: Attack,
    rows_N: Tensor,
    start: Start,
    objective: Objective,
    update: Update,
    *,
    stop: float,
    steps: int,
    calm: int = 1,
    patience: int | None = None,
    pictures: int = 1,
) -> Search:
    """Descend from `start`, one point a row, for at most `steps` updates a row, until all rows have left.

    A row leaves when its target's probability exceeds `stop`, or when its target's log-score has not grown by GAIN
    for `patience` updates (None: never). The lowest score of `calm` steps in a row counts as the last one's: where
    each step shows other random pictures, one success may be luck. A row sends `pictures` through the networks at
    a step. The outcome has the rows in the order of `rows_N`, which must rise.
    """
    device = rows_N.device
    width, log_stop = (
        attack.context.widths.of("descent", device),
        torch.tensor(stop).log().to(device),
    )
    window = min(calm, steps + 1)
    outcomes = Outcomes()

    def enter(row_L: Tensor) -> _Descent:
        point = start(row_L)
        never_L = torch.full((len(row_L),), -torch.inf, device=device)
        none_L = torch.zeros_like(row_L)
        return _Descent(
            row_L,
            step_L=none_L,
            point=point,
            gradient=point,
            memory=update.memory(point),
            best=point,
            log_p_L=never_L,
            last_LW=never_L[:, None].expand(-1, window),
            grown_L=none_L,
            mark_L=never_L,
            converged_L=none_L.bool(),
        )

    def judge(flying: _Descent) -> tuple[_Descent, Tensor]:
        log_p_L, gradient = objective(flying.point, flying.row_L, flying.step_L)
        last_LW = torch.cat([flying.last_LW[:, 1:], log_p_L[:, None]], dim=1)
        log_p_L = last_LW.amin(dim=1)
        grown_L = log_p_L > flying.mark_L + GAIN
        met = replace(
            flying,
            gradient=gradient,
            best=_choose(log_p_L > flying.log_p_L, flying.point, flying.best),
            log_p_L=torch.maximum(flying.log_p_L, log_p_L),
            last_LW=last_LW,
            grown_L=torch.where(grown_L, flying.step_L, flying.grown_L),
            mark_L=torch.where(grown_L, log_p_L, flying.mark_L),
            converged_L=log_p_L > log_stop,
        )
        done_L = met.converged_L | (met.step_L == steps)
        if patience is not None:
            done_L = done_L | (met.step_L - met.grown_L >= patience)
        return met, done_L

    def move(flying: _Descent) -> _Descent:
        point, memory = update(flying.point, flying.gradient, flying.memory, flying.step_L)
        return replace(flying, point=point, memory=memory, step_L=flying.step_L + 1)

    def leave(done: _Descent) -> None:
        outcomes.add(done.row_L, Search(done.best, done.log_p_L, done.converged_L, done.step_L))

    keep_full(rows_N, width, enter=enter, judge=judge, move=move, leave=leave, pictures=pictures)
    return outcomes.in_order()


def _choose(better_L: Tensor, new: Tensor, old: Tensor) -> Tensor:
    """Entries of `new` where they are better, else of `old`."""
    return torch.where(better_L.view(-1, *[1] * (new.ndim - 1)), new, old)


@dataclass(frozen=True)
class ForwardPass:
    """One forward pass of some rows, differentiable in their points."""

    x_NCHW: Tensor
    log_y_NK: Tensor
    log_p_N: Tensor
    """Log-score of each row's target."""
    loss_N: Tensor
    """The identity loss of each row; see `Attack.judge`."""


def white_box_objective(
    attack: Attack,
    view: View | None,
    jobs: AttackJobs,
    decode: Callable[[Tensor], Tensor] = lambda x_NCHW: x_NCHW,
    loss: Callable[[ForwardPass], Tensor] = lambda seen: seen.loss_N.sum(),
    disturb: Callable[[Tensor, Tensor], Tensor] = lambda x_NCHW, step_N: x_NCHW,
) -> Objective:
    """The objective of an attack that differentiates through the model; TypeError if `view` is no `WhiteBox`.

    `decode` turns points into pictures; by default the points are pictures. `loss` is summed over rows; by default
    it is the identity loss (`Attack.judge`), in most attacks the targets' cross-entropy. The model sees the
    pictures as `disturb` changes them at each row's step.
    """
    white_box = attack.require(view, WhiteBox)

    def objective(point: Tensor, row_N: Tensor, step_N: Tensor) -> tuple[Tensor, Tensor]:
        point = point.detach().requires_grad_(True)
        x_NCHW = disturb(decode(point), step_N)
        log_y_NK = white_box.log_scores(x_NCHW, jobs.account(row_N))
        target_N = jobs.target_N[row_N]
        log_p_N = attack.target_scores(log_y_NK, target_N)
        loss_N, merit_N = attack.judge(x_NCHW, log_y_NK, target_N, step_N)
        seen = ForwardPass(x_NCHW, log_y_NK, log_p_N, loss_N)
        (gradient,) = torch.autograd.grad(loss(seen), point)
        return merit_N.detach(), gradient

    return objective
