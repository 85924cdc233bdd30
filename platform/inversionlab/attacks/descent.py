"""The loop that the gradient attacks share: descend, keep the best point, let converged rows leave.

Rows are independent: the loss is summed, each row has its own step size and its own state, and a row that meets
the stop criterion leaves the batch, so that no further pass is spent on it.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Self

import torch
from torch import Tensor

from inversionlab.attacks.base import Attack, AttackJobs, AttackResult
from inversionlab.core.views import View, WhiteBox

GAIN = 0.01
"""Growth of log p that counts as progress."""
Objective = Callable[[Tensor, Tensor], tuple[Tensor, Tensor]]
"""(points, rows) -> (log p of each row's target, gradient of each row's loss at its point)."""
Update = Callable[[Tensor, Tensor, Tensor], Tensor]
"""(points, gradients, rows) -> new points. `rows` numbers the rows still in the batch; an update that keeps
state, such as momentum, keeps it for all rows and indexes it by `rows`."""


@dataclass
class Search:
    """How far each row of a search has come; after the search, its outcome."""

    best: Tensor
    """The point of highest target score that each row has met."""
    log_p_N: Tensor
    """The log-score of the target at that point."""
    converged_N: Tensor
    steps_N: Tensor

    @classmethod
    def begin(cls, start: Tensor, steps: int) -> Self:
        """Before the first pass; a row that nothing ends sooner makes `steps` updates."""
        n, device = len(start), start.device
        return cls(
            best=start.clone(),
            log_p_N=torch.full((n,), -torch.inf, device=device),
            converged_N=torch.zeros(n, dtype=torch.bool, device=device),
            steps_N=torch.full((n,), steps, device=device),
        )

    @torch.no_grad()
    def result(self, decode: Callable[[Tensor], Tensor] = lambda x_NCHW: x_NCHW) -> AttackResult:
        """The result of an attack that ends here; `decode` turns points into pictures."""
        return AttackResult(decode(self.best), self.log_p_N.exp(), self.converged_N, self.steps_N)


def descend(
    start: Tensor,
    objective: Objective,
    update: Update,
    *,
    stop: float,
    steps: int,
    calm: int = 1,
    patience: int | None = None,
) -> Search:
    """Run the loop from `start` (N, ...), one point a row, for at most `steps` updates a row.

    A row leaves when its target's probability exceeds `stop`, or when its target's log-score has not grown by GAIN
    for `patience` updates (None: never). The lowest score of `calm` steps in a row counts as the last one's: where
    each step shows other random pictures, one success may be luck.
    """
    log_stop, state = torch.tensor(stop, device=start.device).log(), Search.begin(start, steps)
    rows, point = torch.arange(len(start), device=start.device), start
    window = (len(start), min(calm, steps + 1))
    last_NW = torch.full(window, -torch.inf, device=start.device)
    # When each row last made progress, and its log-score then.
    grown_N, mark_N = torch.zeros_like(state.steps_N), state.log_p_N.clone()
    for step in range(steps + 1):
        log_p, gradient = objective(point, rows)
        log_p = lowest_of_last(last_NW, log_p, rows)
        better = log_p > state.log_p_N[rows]
        state.best[rows[better]] = point[better]
        state.log_p_N[rows[better]] = log_p[better]
        converged = log_p > log_stop
        state.converged_N[rows[converged]] = True
        grown = log_p > mark_N[rows] + GAIN
        grown_N[rows[grown]], mark_N[rows[grown]] = step, log_p[grown]
        leaves = converged if patience is None else converged | (step - grown_N[rows] >= patience)
        if bool(leaves.any()):
            state.steps_N[rows[leaves]] = step
            rows, point, gradient = rows[~leaves], point[~leaves], gradient[~leaves]
        if len(rows) == 0 or step == steps:
            break
        point = update(point, gradient, rows)
    return state


def lowest_of_last(last_NW: Tensor, log_p_L: Tensor, rows_L: Tensor) -> Tensor:
    """Shift a step's log-scores into the rows of `last_NW`; the lowest of each row's last W, -inf at first."""
    last_NW[rows_L] = torch.cat([last_NW[rows_L, 1:], log_p_L[:, None]], dim=1)
    return last_NW[rows_L].amin(dim=1)


@dataclass(frozen=True)
class ForwardPass:
    """One forward pass of some rows, differentiable in their points."""

    x_NCHW: Tensor
    log_y_NK: Tensor
    log_p_N: Tensor
    """Log-score of each row's target."""


def white_box_objective(
    attack: Attack,
    view: View | None,
    jobs: AttackJobs,
    decode: Callable[[Tensor], Tensor] = lambda x_NCHW: x_NCHW,
    loss: Callable[[ForwardPass], Tensor] = lambda seen: -seen.log_p_N.sum(),
) -> Objective:
    """The objective of an attack that differentiates through the model; TypeError if `view` is no `WhiteBox`.

    `decode` turns points into pictures; by default the points are pictures. `loss` is summed over rows; by default
    it is the targets' cross-entropy.
    """
    white_box = attack.require(view, WhiteBox)

    def objective(point: Tensor, rows_N: Tensor) -> tuple[Tensor, Tensor]:
        point = point.detach().requires_grad_(True)
        x_NCHW = decode(point)
        log_y_NK = white_box.log_scores(x_NCHW, jobs.account(rows_N))
        log_p_N = attack.target_scores(log_y_NK, jobs.target_N[rows_N])
        (gradient,) = torch.autograd.grad(loss(ForwardPass(x_NCHW, log_y_NK, log_p_N)), point)
        return log_p_N.detach(), gradient

    return objective


def limited_step(length: float, max_rate: float) -> Update:
    """The update z - min(max_rate, length / |g|) g of each row (Yoshimura et al. 2021, §V-A.3)."""

    def update(z_ND: Tensor, g_ND: Tensor, rows_N: Tensor) -> Tensor:
        norm_N1 = g_ND.norm(dim=1, keepdim=True).clamp_min(1e-12)
        moved_ND: Tensor = z_ND - (length / norm_N1).clamp_max(max_rate) * g_ND
        return moved_ND

    return update


class Adam:
    """Adam (Kingma & Ba 2015) as an `Update`: elementwise, with its moments kept for every row.

    All rows of a descent begin at the same step, so they share one step count.
    """

    BETAS, EPSILON = (0.9, 0.999), 1e-8

    def __init__(self, start: Tensor, rate: float) -> None:
        """Begin at points `start` (N, ...) with steps of about `rate` in every coordinate."""
        self.rate, self.step = rate, 0
        self.mean, self.square = torch.zeros_like(start), torch.zeros_like(start)

    def __call__(self, point: Tensor, gradient: Tensor, rows_N: Tensor) -> Tensor:
        """The points of the rows `rows_N` after one more step."""
        first, second = self.BETAS
        self.step += 1
        mean = first * self.mean[rows_N] + (1 - first) * gradient
        square = second * self.square[rows_N] + (1 - second) * gradient.square()
        self.mean[rows_N], self.square[rows_N] = mean, square
        deviation = (square / (1 - second**self.step)).sqrt() + self.EPSILON
        moved: Tensor = point - self.rate / (1 - first**self.step) * mean / deviation
        return moved


def pass_size(device: torch.device) -> int:
    """Pictures a pass without gradients: few enough for a CPU's cache, or enough to fill a GPU."""
    return 128 if device.type == "cpu" else 1024
