"""Generative model inversion (A8): descent in a GAN's latent space, with its critic as a prior.

Paper:   Zhang et al. 2020, "The Secret Revealer: Generative Model-Inversion Attacks"; Gong et al. 2023, eq. 5-6.
Access:  white box (`WhiteBox`): scores with gradients.
Solves:  z* = argmin_z L_prior + lambda L_id,  L_prior = -D(G(z)),  L_id = CE(R(G(z)), y^)
Step:    against the gradient, of a length that adapts (`updates.py`). As published (`update: nesterov`):
         v' = m v - a dL/dz,  z <- z - m v + (1 + m) v',  m = 0.9   (the authors' code)
Start:   of `pool` draws from the prior, about which the model is asked once for all targets, those of highest
         target score. As published (`pool: 0`): draws of each row's own. Of up to `starts` starts the one of
         highest target score at its end is kept (the authors' code).
Stop:    p_target > `stop`, `steps` updates a start, or none of the last `patience` updates has raised p_target. A
         job makes no further start once one has met `stop`.
Ranges:  z is clipped to [-2, 2] after every update, as published to [-1, 1]; pictures in [0, 1].
Deviates: as published, the authors run 1,500 updates of all 5 starts with a = 0.02 on a loss averaged over a batch
         of 100 targets, which is a = 0.0002 for one target. Here each row has its own rate, ten times that, for
         100 updates, and rows leave early. A start ends at its point of highest target score, not at its last.
         The paper's auxiliary knowledge (blurred or masked pictures of the target) is left out.
"""

from functools import partial
from typing import Any, ClassVar, Literal

import torch
from pydantic import Field
from torch import Tensor

from inversionlab.attacks.base import Attack, AttackSettings
from inversionlab.attacks.descent import (
    ForwardPass,
    Objective,
    Search,
    Start,
    descend,
    white_box_objective,
)
from inversionlab.attacks.jobs import AttackJobs, AttackResult
from inversionlab.attacks.lomma import AugmentableSettings, AugmentedAttack
from inversionlab.attacks.updates import AdaptiveStep, Nesterov
from inversionlab.core.views import View, WhiteBox


class GmiSettings(AugmentableSettings, AttackSettings):
    """Settings of the generative model inversion attack."""

    published: ClassVar[dict[str, Any]] = {
        "pool": 0,
        "update": "nesterov",
        "clip": 1.0,
        "patience": None,
    }
    later: ClassVar[dict[str, Any]] = {
        **AugmentableSettings.later,
        "pool": 0,
        "update": "nesterov",
        "patience": None,
        "step_length": 0.8,
    }

    name: Literal["gmi"] = "gmi"
    identity_weight: float = Field(default=100.0, gt=0, le=1e6)
    """lambda, the weight of the target's cross-entropy relative to the critic's score."""
    pool: int = Field(default=512, ge=0, le=1_000_000)
    """Draws that the model is asked about once, as starts for all targets; 0: each reconstruction draws its
    own."""
    update: Literal["adaptive", "nesterov"] = "adaptive"
    """Whether steps have an adaptive length or are Nesterov's."""
    step_length: float = Field(default=0.8, gt=0, le=100)
    """Length of the first adaptive step in latent units."""
    patience: int | None = Field(default=20, ge=1, le=100_000)
    """A start ends when its score has not grown by 1 % for this many updates; null: never."""
    rate: float = Field(default=2e-3, gt=0, le=10)
    """a, Nesterov's step size."""
    momentum: float = Field(default=0.9, ge=0, lt=1)
    """m, the share of the velocity that Nesterov's update keeps."""
    clip: float = Field(default=2.0, gt=0, le=100)
    """Upper bound of the absolute value of every latent coordinate."""
    starts: int = Field(default=3, ge=1, le=100)
    """Maximum number of random starts."""
    steps: int = Field(default=100, ge=1, le=100_000)
    """Maximum number of updates of a start."""
    stop: float = Field(default=0.999, gt=0, lt=1)
    """A reconstruction is finished when the target's score exceeds this."""


class Gmi(AugmentedAttack, Attack):
    """Gradient descent over the latent vector, towards the target and towards what the critic finds real."""

    Settings = GmiSettings
    usual_seconds = 0.4
    view = WhiteBox
    needs_generator = True
    wants = frozenset({"critic"})

    @classmethod
    def most_queries(cls, settings: GmiSettings, latent_size: int) -> int:
        """Those of a descent, for every start, and one for the result with `lomma`."""
        return settings.starts * (settings.steps + 1) + (settings.lomma is not None)

    def run(self, view: View | None, jobs: AttackJobs) -> AttackResult:
        """Descend for all jobs at once, start after start for those that have not converged."""
        white_box = self.require(view, WhiteBox)
        objective = white_box_objective(self, view, jobs, self.generator, self._loss)
        streams, count = self.context.streams("gmi", jobs), self.settings.starts

        def start(attempt: int, row_L: Tensor) -> Tensor:
            if self.settings.pool:
                best_LSD = self.pool(white_box).several(jobs.take(row_L), count)
                return best_LSD[:, attempt % best_LSD.shape[1]]
            drawn = [self.generator.draw(1, streams[row]) for row in row_L.tolist()]
            return torch.cat(drawn).to(self.context.device)

        state = self._attempt(objective, partial(start, 0), jobs.rows_N)
        for attempt in range(1, count):
            left_L = (~state.converged_N).nonzero()[:, 0]
            if len(left_L) == 0:
                break
            _improve(state, left_L, self._attempt(objective, partial(start, attempt), left_L))
        return self.finished(white_box, jobs, state, self.generator)

    def _loss(self, seen: ForwardPass) -> Tensor:
        prior = -self.generator.critic(seen.x_NCHW).sum()
        total: Tensor = prior + self.settings.identity_weight * seen.loss_N.sum()
        return total

    def _attempt(self, objective: Objective, start: Start, chosen_L: Tensor) -> Search:
        """One start of the chosen rows."""
        options = self.settings
        adaptive = options.update == "adaptive"
        return descend(
            self,
            chosen_L,
            start,
            objective,
            AdaptiveStep(options.step_length, options.clip)
            if adaptive
            else Nesterov(options.rate, options.momentum, options.clip),
            stop=options.stop,
            steps=options.steps,
            patience=options.patience,
        )


def _improve(state: Search, rows_L: Tensor, other: Search) -> None:
    """Take over the better points of `other`, a further start of these rows; its steps add up."""
    state.steps_N[rows_L] += other.steps_N
    better_L = other.log_p_N > state.log_p_N[rows_L]
    better_rows = rows_L[better_L]
    state.best[better_rows] = other.best[better_L]
    state.log_p_N[better_rows] = other.log_p_N[better_L]
    state.converged_N[better_rows] = other.converged_N[better_L]
