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
Deviates: gamma is read as a confidence (the printed c <= 0.99 would be met at once). The first summand of c may be
         -log p (`cost: cross_entropy`). AuxTerm, which the paper has 0 for faces, may be the total variation.
         Process works on pixels (the paper's, on what its autoencoder decodes): non-local means and sharpening,
         every `process_every` updates. A start has noise of at most 1/255, or all repeats would be one picture.
"""

from __future__ import annotations

from typing import ClassVar, Literal

import torch
from pydantic import Field
from torch import Tensor
from torch.nn import functional

from inversionlab.attacks.base import Attack, AttackJobs, AttackResult, AttackSettings
from inversionlab.attacks.descent import Passes, Path, Seen, white_box_passes
from inversionlab.core.views import View, WhiteBox

NAME = "mi_face"
SEARCH, PATCH = 3, 1
"""Non-local means: how far it looks for like patches, and a patch's half width, in pixels."""


class MiFaceSettings(AttackSettings):
    """Settings of MI-FACE."""

    name: Literal["mi_face"] = "mi_face"
    cost: Literal["probability", "cross_entropy"] = "cross_entropy"
    """The first summand of c: 1 - p (the paper) or -log p."""
    rate: float = Field(default=0.1, gt=0, le=1e6)
    """lambda, what the gradient is multiplied by."""
    steps: int = Field(default=1000, ge=1, le=100_000)
    """alpha, updates at most."""
    patience: int = Field(default=100, ge=1, le=100_000)
    """beta: a row ends where its cost is no better than the worst of so many before."""
    stop: float = Field(default=0.99, gt=0, lt=1)
    """gamma: a reconstruction is finished when the target's score exceeds this."""
    blank: float = Field(default=0.0, ge=0, le=1)
    """Value of every pixel of the start."""
    variation: float = Field(default=0.0, ge=0, le=1e6)
    """Weight of the auxiliary term: the mean absolute difference of neighbouring pixels."""
    process_every: int = Field(default=0, ge=0, le=100_000)
    """Updates from one denoising and sharpening to the next; 0: none."""
    denoise: float = Field(default=0.1, gt=0, le=10)
    """h of the non-local means: a patch that differs by so much (root mean square) weighs 1/e."""
    sharpen: float = Field(default=0.5, ge=0, le=10)
    """How much of the difference to a blurred copy is added."""


class MiFace(Attack):
    """Gradient descent over pixels, from nothing."""

    Settings: ClassVar[type[AttackSettings]] = MiFaceSettings
    view: ClassVar[type[View] | None] = WhiteBox
    needs_generator: ClassVar[bool] = False

    def run(self, view: View | None, jobs: AttackJobs) -> AttackResult:
        """Descend for all jobs at once."""
        passes = white_box_passes(NAME, view, jobs, lambda x_NCHW: x_NCHW, self._loss)
        path = self._descend(self._start(jobs), passes)
        return AttackResult(path.best, path.log_p_N.exp(), path.converged_N, path.steps_N)

    def _start(self, jobs: AttackJobs) -> Tensor:
        """x(0) of every job: blank but for noise of its own."""
        know = self.context
        shape = know.public_NCHW.shape[1:]
        noise = [torch.rand(shape, generator=know.stream(NAME, t, r)) for t, r in jobs.pairs()]
        start_NCHW: Tensor = self.settings.blank + torch.stack(noise) / 255
        return start_NCHW.clamp_max(1).to(know.device)

    def _loss(self, seen: Seen) -> Tensor:
        return self._cost(seen.x_NCHW, seen.log_p_N).sum()

    def _cost(self, x_NCHW: Tensor, log_p_N: Tensor) -> Tensor:
        """c of every picture, (N,)."""
        cost_N = -log_p_N.expm1() if self.settings.cost == "probability" else -log_p_N
        if self.settings.variation:
            cost_N = cost_N + self.settings.variation * variation(x_NCHW)
        return cost_N

    def _descend(self, start_NCHW: Tensor, passes: Passes) -> Path:
        """Algorithm 1 for all rows; a row that ends leaves the batch."""
        options, n, device = self.settings, len(start_NCHW), start_NCHW.device
        log_stop = torch.tensor(options.stop, device=device).log()
        path = Path.begun(start_NCHW, options.steps)
        lowest_N = torch.full((n,), torch.inf, device=device)
        # The costs of the last `patience` steps, oldest overwritten; infinite while there are fewer.
        recent_NB = torch.full((n, options.patience), torch.inf, device=device)
        rows, x_NCHW, best_NCHW = torch.arange(n, device=device), start_NCHW, start_NCHW
        for step in range(options.steps + 1):
            log_p_N, gradient_NCHW = passes(x_NCHW, rows)
            cost_N = self._cost(x_NCHW, log_p_N)
            better = cost_N < lowest_N[rows]
            # Most steps better every row: then this point is the best one, and nothing need be copied.
            if bool(better.all()):
                best_NCHW = x_NCHW
            else:
                best_NCHW = torch.where(better[:, None, None, None], x_NCHW, best_NCHW)
            path.log_p_N[rows[better]] = log_p_N[better]
            lowest_N[rows[better]] = cost_N[better]
            won = log_p_N > log_stop
            ended = won | (cost_N >= recent_NB[rows].amax(1))
            path.converged_N[rows[won]] = True
            path.steps_N[rows[ended]] = step
            recent_NB[rows, step % options.patience] = cost_N
            if bool(ended.any()):
                path.best[rows[ended]] = best_NCHW[ended]
                best_NCHW = best_NCHW[~ended]
                rows, x_NCHW, gradient_NCHW = rows[~ended], x_NCHW[~ended], gradient_NCHW[~ended]
            if len(rows) == 0 or step == options.steps:
                break
            x_NCHW = (x_NCHW - options.rate * gradient_NCHW).clamp(0, 1)
            if options.process_every and (step + 1) % options.process_every == 0:
                x_NCHW = processed(x_NCHW, options.denoise, options.sharpen)
        path.best[rows] = best_NCHW
        return path


def variation(x_NCHW: Tensor) -> Tensor:
    """Mean absolute difference of neighbouring pixels, the mean of both directions, (N,)."""
    down_N = (x_NCHW[:, :, 1:] - x_NCHW[:, :, :-1]).abs().flatten(1).mean(1)
    along_N = (x_NCHW[..., 1:] - x_NCHW[..., :-1]).abs().flatten(1).mean(1)
    return (down_N + along_N) / 2


def processed(x_NCHW: Tensor, denoise: float, sharpen: float) -> Tensor:
    """Pictures in [0, 1] denoised, then sharpened; sides of at least 4 pixels."""
    calm_NCHW = non_local_means(x_NCHW, denoise)
    blurred_NCHW = functional.avg_pool2d(functional.pad(calm_NCHW, (1, 1, 1, 1), "reflect"), 3, 1)
    return (calm_NCHW + sharpen * (calm_NCHW - blurred_NCHW)).clamp(0, 1)


def non_local_means(x_NCHW: Tensor, h: float) -> Tensor:
    """Every pixel a mean of those around it: weights exp(-d^2 / h^2), d^2 the patches' mean square difference."""
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
