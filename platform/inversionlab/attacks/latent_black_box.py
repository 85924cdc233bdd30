"""Generator-latent black-box attack (A3): the gradient is estimated from scores around the point.

Paper:   Yoshimura et al. 2021, "Model Inversion Attack against a Face Recognition System in a Black-Box Setting".
Access:  black box (`Scores`): the score vector, whole or cut to its largest entries; no gradient.
Solves:  z* = argmin_z CE(R(G(z)), y^)                                   (eq. 6)
Step:    z <- z - a g / |g|,  g = E^+ s; a grows while successive gradients agree, and shrinks where they do not.
         With M perturbations e ~ N(0, sigma^2 I), the rows of E, and s_k = L(z + e_k) - L(z). Where M >= m, the
         length of z, E^+ is (E^T E)^-1 E^T (eq. 14). Where M < m, g is the slope within the perturbations' span.
         As published (`as_published: true`): z <- z - min(100, 0.1 / |g|) g  (eq. 15; §V-A.3), M = 64 for m = 32.
         Then sigma^2 is the value of a grid over [1e-4, 1e0] with the smallest criterion C (eq. 17), every time.
Start:   of `pool` encoded public pictures the one of highest target score; repeat r takes the one of rank r. As
         published (`pool: 0`): the mean encoding of 16 random public pictures. Draws from N(0, I) stand in for
         encodings where the generator has no encoder.
Stop:    p_target > 0.99, or no progress for `patience` updates, or `steps` updates (the paper gives no limit).
Ranges:  pictures in [0, 1]; z is unbounded.
Result:  the z of highest target score on the way; for a row that meets the criterion, that is its last z.
Queries: 1 + M an update, and M more for each further sigma^2 that is tried; those of the pool, once for all.
Deviates: all targets share a step's perturbations, which saves factorisations; otherwise these are independent.
         L is computed from the whole score vector, not from the rounded p alone (`target_losses`).
"""

from __future__ import annotations

import functools
from typing import Any, ClassVar, Literal

import torch
from pydantic import Field, field_validator
from torch import Tensor

from inversionlab.attacks.base import Attack, AttackSettings
from inversionlab.attacks.engine import pass_size
from inversionlab.attacks.jobs import AttackJobs, AttackResult
from inversionlab.attacks.latent_descent import LatentDescentSettings, descend_latents
from inversionlab.attacks.perturbations import Estimate, Perturbations
from inversionlab.core.views import Scores, View

NAME = "latent_black_box"
STEPS_KEPT = 64
"""Steps whose factorised perturbations are kept; rows in flight are at different steps."""
TINY = torch.finfo(torch.float32).tiny
"""A score of 0 counts as this: -log of it is 87."""


class LatentBlackBoxSettings(LatentDescentSettings, AttackSettings):
    """Settings of the generator-latent black-box attack."""

    published: ClassVar[dict[str, Any]] = {
        **LatentDescentSettings.published,
        "perturbations": None,
        "variances": (1e-4, 1e-3, 1e-2, 1e-1, 1.0),
        "grid_every": 1,
    }

    name: Literal["latent_black_box"] = "latent_black_box"
    perturbations: int | None = Field(default=32, ge=1, le=65_536)
    """M; null: the larger of 64 and twice the latent's length."""
    variances: tuple[float, ...] = (0.1,)
    """The grid of sigma^2, each from 1e-12 to 1e12; more than one value needs M to be greater than the latent's
    length."""
    grid_every: int = Field(default=25, ge=1, le=100_000)
    """Number of updates after which all of `variances` are tried again; 1: at every update."""
    truncate: int | None = Field(default=None, ge=1)
    """The attacker sees only this many of the largest scores; null: all."""

    @field_validator("variances")
    @classmethod
    def _usable(cls, value: tuple[float, ...]) -> tuple[float, ...]:
        if not value or not all(1e-12 <= v <= 1e12 for v in value):
            raise ValueError("must hold at least one number, each from 1e-12 to 1e12")
        return value


class LatentBlackBox(Attack):
    """Descent over the generator's latent vector along estimated gradients."""

    Settings = LatentBlackBoxSettings
    usual_seconds = 4.4
    view = Scores
    needs_generator = True

    @classmethod
    def check(cls, settings: LatentBlackBoxSettings, latent_size: int) -> None:
        """Refuse too few perturbations for a choice of sigma before anything is trained."""
        count = perturbation_count(settings.perturbations, latent_size)
        if len(settings.variances) > 1 and count <= latent_size:
            raise ValueError(
                f"{NAME}: perturbations = {count}: a choice among {len(settings.variances)} variances needs more "
                f"than {latent_size}, the length of the latent; give one variance, or more perturbations"
            )

    @classmethod
    def most_queries(cls, settings: LatentBlackBoxSettings, latent_size: int) -> int:
        """1 + M an update, M more for each further variance that is tried, and 1 at the end."""
        count = perturbation_count(settings.perturbations, latent_size)
        grids = -(-settings.steps // settings.grid_every)
        estimates = settings.steps + grids * (len(settings.variances) - 1)
        return settings.steps + 1 + count * estimates

    def run(self, view: View | None, jobs: AttackJobs) -> AttackResult:
        """Descend for all jobs at once; raises as `check` does."""
        scores = self.require(view, Scores)
        objective = _EstimatedObjective(self, scores, jobs)
        end = descend_latents(self, scores, jobs, objective, pictures=objective.count)
        return end.result(self.generator)


class _EstimatedObjective:
    """The objective of one run: scores at the points, gradients estimated from scores around them."""

    def __init__(self, attack: LatentBlackBox, view: Scores, jobs: AttackJobs) -> None:
        self.attack, self.view, self.jobs = attack, view, jobs
        self.options, self.generator = attack.settings, attack.generator
        self.count = perturbation_count(self.options.perturbations, self.generator.latent_size)
        self._directions = functools.lru_cache(maxsize=STEPS_KEPT)(self._drawn)
        self.variance_N = torch.zeros(len(jobs), device=attack.context.device)
        """The last choice of every row."""

    def __call__(self, z_ND: Tensor, rows_N: Tensor, step_N: Tensor) -> tuple[Tensor, Tensor]:
        log_p_N, loss_N = self._ask(z_ND, rows_N)
        gradient_ND = torch.zeros_like(z_ND)
        # A row that has converged, or that may make no further update, needs no gradient.
        onward_N = log_p_N <= torch.tensor(self.options.stop).log().to(log_p_N.device)
        onward_N = onward_N & (step_N < self.options.steps)
        for step in step_N[onward_N].unique().tolist():
            here_N = onward_N & (step_N == step)
            gradient_ND[here_N] = self._gradients(
                z_ND[here_N], loss_N[here_N], rows_N[here_N], step
            )
        return log_p_N, gradient_ND

    def _drawn(self, step: int) -> Perturbations:
        """The perturbations of a step."""
        context = self.attack.context
        rng = context.shared_stream(NAME, step)
        return Perturbations.draw(self.count, self.generator.latent_size, rng, context.device)

    def _gradients(self, z_ND: Tensor, loss_N: Tensor, rows_N: Tensor, step: int) -> Tensor:
        """Gradients (N, m) at the points of rows that have all made `step` updates."""
        directions = self._directions(step)

        def estimate() -> Estimate:
            """g and C at every row's present sigma^2."""
            sigma_N = self.variance_N[rows_N].sqrt()
            return directions.estimate_around(losses, z_ND, loss_N, sigma_N)

        def losses(points_ND: Tensor, index_N: Tensor) -> Tensor:
            return self._ask(points_ND, rows_N[index_N])[1]

        if step % self.options.grid_every:
            return estimate().gradient_ND
        best_ND, lowest_N = torch.zeros_like(z_ND), torch.full_like(loss_N, torch.inf)
        chosen_N = torch.zeros_like(loss_N)
        # From the widest on: of two equal ones, rounding disturbs the wider one less.
        for variance in sorted(self.options.variances, reverse=True):
            self.variance_N[rows_N] = variance
            found = estimate()
            better_N = found.criterion_N < lowest_N
            best_ND[better_N] = found.gradient_ND[better_N]
            lowest_N[better_N], chosen_N[better_N] = found.criterion_N[better_N], variance
        self.variance_N[rows_N] = chosen_N
        return best_ND

    @torch.no_grad()
    def _ask(self, z_ND: Tensor, rows_N: Tensor) -> tuple[Tensor, Tensor]:
        """log p (N,) and loss (N,) of the rows' targets at points (N, m)."""
        batch, parts = pass_size(z_ND.device), []
        for z_BD, rows_B in zip(z_ND.split(batch), rows_N.split(batch), strict=True):
            y_BK = self.view.scores(self.generator(z_BD), self.jobs.account(rows_B))
            target_B = self.jobs.target_N[rows_B]
            p_B = y_BK.gather(1, target_B[:, None]).squeeze(1)
            loss_B = target_losses(y_BK, target_B, self.view.top)
            self.attack.refuse_nan(p_B + loss_B, target_B)
            parts.append(torch.stack([p_B.clamp_min(TINY).log(), loss_B]))
        log_p_N, loss_N = torch.cat(parts, dim=1)
        return log_p_N, loss_N


def perturbation_count(wanted: int | None, latent_size: int) -> int:
    """M: as many as wanted, or the larger of 64 and twice the latent's length."""
    return max(64, 2 * latent_size) if wanted is None else wanted


def target_losses(y_NK: Tensor, target_N: Tensor, top: int | None = None) -> Tensor:
    """-log p of the targets (N,), as precisely as scores (N, K) in float32 allow.

    Near p = 1 the steps of float32 are 6e-8, too coarse for differences. The other classes' small scores keep all
    their digits, however: -log p = log(1 + (sum of the others) / p).

    `top` is how many of the K scores are shown, the others being 0 (None: all). A target that is not shown is
    taken to score the average of the hidden scores, so that leaving the shown classes lowers the loss.
    """
    p_N1 = y_NK.gather(1, target_N[:, None])
    p_N = p_N1.squeeze(1).clamp_min(TINY)
    if top is None:
        others_N = y_NK.scatter(1, target_N[:, None], 0).sum(1)
        return (others_N / p_N).clamp(0, 1 / TINY).log1p()
    hidden_N = (1 - y_NK.sum(1)) / max(y_NK.shape[1] - top, 1)
    p_N = torch.where(p_N1.squeeze(1) > 0, p_N, hidden_N.clamp_min(TINY))
    return -p_N.log()
