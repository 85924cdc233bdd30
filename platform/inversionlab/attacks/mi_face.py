"""MI-FACE (A4): gradient descent on the pixels from a blank picture.

Paper:   Fredrikson, Jha, Ristenpart, "Model Inversion Attacks that Exploit Confidence Information and Basic
         Countermeasures", CCS 2015, Algorithm 1, and the picture processing of Algorithm 2.
Access:  white box (`WhiteBox`): scores with gradients; no public pictures.
Solves:  x* = argmin_x c(x),  c(x) = 1 - p_target(x) + AuxTerm(x)
Step:    x <- Process(x - lambda dc/dx)
Start:   a picture of zeros.
Stop:    p_target > gamma; or c is no better than the worst of the last beta values; or alpha updates.
         The paper: alpha = 5000, beta = 100, gamma = 0.99, lambda = 0.1.
Ranges:  pixels are clipped to [0, 1] after every update.
Result:  the picture of smallest c on the way.
Deviates: gamma is a confidence (the printed c <= 0.99 would be met at once). The first summand of c may be -log p
         (`cost`). AuxTerm, 0 for faces in the paper, may be the total variation. Process, which works on what an
         autoencoder decodes in the paper, is non-local means and sharpening of the pixels every `process_every`
         updates. The start has noise of at most 1/255, so that repeats differ.
"""

from dataclasses import dataclass, replace
from typing import Literal

import torch
from pydantic import Field
from torch import Tensor
from torch.nn import functional

from inversionlab.attacks.base import Attack, AttackSettings
from inversionlab.attacks.descent import Objective, Outcomes, Search, white_box_objective
from inversionlab.attacks.engine import InFlight, keep_full
from inversionlab.attacks.jobs import AttackJobs, AttackResult
from inversionlab.core.views import View, WhiteBox

NAME = "mi_face"
SEARCH, PATCH = 3, 1
"""Non-local means: how far it searches for similar patches, and a patch's half width, in pixels."""


class MiFaceSettings(AttackSettings):
    """Settings of MI-FACE."""

    name: Literal["mi_face"] = "mi_face"
    cost: Literal["probability", "cross_entropy"] = "cross_entropy"
    """The first summand of c: 1 - p (the paper) or -log p."""
    rate: float = Field(default=0.1, gt=0, le=1e6)
    """lambda, the factor of the gradient."""
    steps: int = Field(default=1000, ge=1, le=100_000)
    """alpha, the maximum number of updates."""
    patience: int = Field(default=100, ge=1, le=100_000)
    """beta: a reconstruction ends when its cost is no better than the worst of this many before it."""
    stop: float = Field(default=0.99, gt=0, lt=1)
    """gamma: a reconstruction is finished when the target's score exceeds this."""
    blank: float = Field(default=0.0, ge=0, le=1)
    """Value of every pixel of the start."""
    variation: float = Field(default=0.0, ge=0, le=1e6)
    """Weight of the auxiliary term: the mean absolute difference of neighbouring pixels."""
    process_every: int = Field(default=0, ge=0, le=100_000)
    """Number of updates after which pictures are denoised and sharpened again; 0: never."""
    denoise: float = Field(default=0.1, gt=0, le=10)
    """h of the non-local means: a patch that differs by this much (root mean square) has weight 1/e."""
    sharpen: float = Field(default=0.5, ge=0, le=10)
    """The share of the difference to a blurred copy that is added."""


class MiFace(Attack):
    """Gradient descent over pixels from a blank picture."""

    Settings = MiFaceSettings
    usual_seconds = 1.1
    view = WhiteBox

    @classmethod
    def most_queries(cls, settings: MiFaceSettings, latent_size: int) -> int:
        """One query a step, and one at the end."""
        return settings.steps + 1

    def run(self, view: View | None, jobs: AttackJobs) -> AttackResult:
        """Descend for all jobs at once."""
        objective = white_box_objective(
            self, view, jobs, loss=lambda seen: self._cost(seen.x_NCHW, seen.log_p_N).sum()
        )
        return self._descend(jobs, objective).result()

    def _cost(self, x_NCHW: Tensor, log_p_N: Tensor) -> Tensor:
        """c of every picture, (N,)."""
        cost_N = -log_p_N.expm1() if self.settings.cost == "probability" else -log_p_N
        if self.settings.variation:
            cost_N = cost_N + self.settings.variation * variation(x_NCHW)
        return cost_N

    def _descend(self, jobs: AttackJobs, objective: Objective) -> Search:
        """Algorithm 1 for all rows; a row that ends leaves the batch."""
        options, device = self.settings, self.context.device
        log_stop, outcomes = torch.tensor(options.stop).log().to(device), Outcomes()

        def enter(row_L: Tensor) -> _Descent:
            shape = self.context.public_NCHW.shape[1:]
            streams = self.context.streams(NAME, jobs.take(row_L))
            noise = torch.stack([torch.rand(shape, generator=stream) for stream in streams])
            x_LCHW = (options.blank + noise / 255).clamp_max(1).to(device)
            never_L = torch.full((len(row_L),), torch.inf, device=device)
            return _Descent(
                row_L,
                step_L=torch.zeros_like(row_L),
                x_LCHW=x_LCHW,
                gradient_LCHW=x_LCHW,
                best_LCHW=x_LCHW,
                log_p_L=-never_L,
                lowest_L=never_L,
                recent_LB=never_L[:, None].expand(-1, options.patience),
                converged_L=torch.zeros_like(row_L, dtype=torch.bool),
            )

        def judge(flying: _Descent) -> tuple[_Descent, Tensor]:
            log_p_L, gradient_LCHW = objective(flying.x_LCHW, flying.row_L, flying.step_L)
            cost_L = self._cost(flying.x_LCHW, log_p_L)
            better_L, converged_L = cost_L < flying.lowest_L, log_p_L > log_stop
            ended_L = converged_L | (cost_L >= flying.recent_LB.amax(1))
            oldest_L1 = (flying.step_L % options.patience)[:, None]
            met = replace(
                flying,
                gradient_LCHW=gradient_LCHW,
                best_LCHW=torch.where(
                    better_L[:, None, None, None], flying.x_LCHW, flying.best_LCHW
                ),
                log_p_L=torch.where(better_L, log_p_L, flying.log_p_L),
                lowest_L=torch.minimum(cost_L, flying.lowest_L),
                recent_LB=flying.recent_LB.scatter(1, oldest_L1, cost_L[:, None]),
                converged_L=converged_L,
            )
            return met, ended_L | (flying.step_L == options.steps)

        def move(flying: _Descent) -> _Descent:
            step_L = flying.step_L + 1
            x_LCHW = (flying.x_LCHW - options.rate * flying.gradient_LCHW).clamp(0, 1)
            if options.process_every:
                due_L = step_L % options.process_every == 0
                if bool(due_L.any()):
                    x_LCHW[due_L] = processed(x_LCHW[due_L], options.denoise, options.sharpen)
            return replace(flying, x_LCHW=x_LCHW, step_L=step_L)

        def leave(done: _Descent) -> None:
            outcomes.add(
                done.row_L, Search(done.best_LCHW, done.log_p_L, done.converged_L, done.step_L)
            )

        width = self.context.widths.of("descent", device)
        keep_full(jobs.rows_N, width, enter=enter, judge=judge, move=move, leave=leave)
        return outcomes.in_order()


@dataclass
class _Descent(InFlight):
    """Rows that descend."""

    x_LCHW: Tensor
    gradient_LCHW: Tensor
    best_LCHW: Tensor
    """The picture of smallest cost on the way."""
    log_p_L: Tensor
    """Its target's log-score."""
    lowest_L: Tensor
    """Its cost."""
    recent_LB: Tensor
    """The costs of the last `patience` steps, the oldest overwritten; infinite while there are fewer."""
    converged_L: Tensor


def variation(x_NCHW: Tensor) -> Tensor:
    """Mean absolute difference of neighbouring pixels, averaged over the two directions, (N,)."""
    down_N = (x_NCHW[:, :, 1:] - x_NCHW[:, :, :-1]).abs().flatten(1).mean(1)
    along_N = (x_NCHW[..., 1:] - x_NCHW[..., :-1]).abs().flatten(1).mean(1)
    return (down_N + along_N) / 2


def processed(x_NCHW: Tensor, denoise: float, sharpen: float) -> Tensor:
    """Pictures in [0, 1], with sides of at least 4 pixels, denoised and then sharpened."""
    calm_NCHW = non_local_means(x_NCHW, denoise)
    blurred_NCHW = functional.avg_pool2d(functional.pad(calm_NCHW, (1, 1, 1, 1), "reflect"), 3, 1)
    return (calm_NCHW + sharpen * (calm_NCHW - blurred_NCHW)).clamp(0, 1)


def non_local_means(x_NCHW: Tensor, h: float) -> Tensor:
    """Each pixel as a mean of those around it, weighted exp(-d^2 / h^2), d^2 the patches' mean squared error."""
    height, width = x_NCHW.shape[2:]
    around_NCHW = functional.pad(x_NCHW, (SEARCH,) * 4, "reflect")
    total_NCHW, weight_N1HW = torch.zeros_like(x_NCHW), torch.zeros_like(x_NCHW[:, :1])
    for top in range(2 * SEARCH + 1):
        for left in range(2 * SEARCH + 1):
            other_NCHW = around_NCHW[..., top : top + height, left : left + width]
            away_N1HW = (x_NCHW - other_NCHW).square().mean(1, keepdim=True)
            padded = functional.pad(away_N1HW, (PATCH,) * 4, "reflect")
            like_N1HW = (-functional.avg_pool2d(padded, 2 * PATCH + 1, 1) / h**2).exp()
            total_NCHW += like_N1HW * other_NCHW
            weight_N1HW += like_N1HW
    return total_NCHW / weight_N1HW
