"""Generative model inversion (A8): descent in a GAN's latent space, with its critic as a prior.

Paper:   Zhang et al. 2020, "The Secret Revealer: Generative Model-Inversion Attacks"; Gong et al. 2023, eq. 5-6.
Access:  white box (`WhiteBox`): scores with gradients.
Solves:  z* = argmin_z L_prior + lambda L_id,  L_prior = -D(G(z)),  L_id = CE(R(G(z)), y^)
Step:    Nesterov's:  v' = m v - a dL/dz,  z <- z - m v + (1 + m) v',  m = 0.9   (the authors' code)
Start:   z ~ N(0, I); of up to `starts` starts the one of highest target score is kept (the authors' code).
Stop:    p_target > `stop`, or `steps` updates a start. A job makes no further start once one has met `stop`.
Ranges:  z is clipped to [-1, 1] after every update from the first on (the authors' code); pictures in [0, 1].
Deviates: the authors run 1,500 updates of all 5 starts with a = 0.02 on a loss averaged over a batch of 100
         targets, which is a = 0.0002 for one target. Here each row has its own rate, ten times that, for 100
         updates, and rows leave early. A start ends at its point of highest target score, not at its last. The
         paper's auxiliary knowledge (blurred or masked pictures of the target) is left out.
"""

from typing import Literal

import torch
from pydantic import Field
from torch import Tensor

from inversionlab.attacks.base import Attack, AttackSettings
from inversionlab.attacks.descent import (
    ForwardPass,
    Objective,
    Search,
    descend,
    white_box_objective,
)
from inversionlab.attacks.jobs import AttackJobs, AttackResult
from inversionlab.attacks.updates import Nesterov
from inversionlab.core.views import View, WhiteBox


class GmiSettings(AttackSettings):
    """Settings of the generative model inversion attack."""

    name: Literal["gmi"] = "gmi"
    identity_weight: float = Field(default=100.0, gt=0, le=1e6)
    """lambda, the weight of the target's cross-entropy relative to the critic's score."""
    rate: float = Field(default=2e-3, gt=0, le=10)
    """a, the step size."""
    momentum: float = Field(default=0.9, ge=0, lt=1)
    """m, the share of the velocity that an update keeps."""
    clip: float = Field(default=1.0, gt=0, le=100)
    """Bound of every latent coordinate's absolute value."""
    starts: int = Field(default=3, ge=1, le=100)
    """Random starts at most."""
    steps: int = Field(default=100, ge=1, le=100_000)
    """Updates of a start at most."""
    stop: float = Field(default=0.999, gt=0, lt=1)
    """A reconstruction is finished when the target's score exceeds this."""


class Gmi(Attack):
    """Gradient descent over the latent vector, towards the target and towards what the critic finds real."""

    Settings = GmiSettings
    view = WhiteBox
    needs_generator = True
    wants = frozenset({"critic"})

    @classmethod
    def most_queries(cls, settings: GmiSettings, latent_size: int) -> int:
        """Those of a descent, for every start."""
        return settings.starts * (settings.steps + 1)

    def run(self, view: View | None, jobs: AttackJobs) -> AttackResult:
        """Descend for all jobs at once, start after start for those that have not converged."""
        objective = white_box_objective(self, view, jobs, self.generator, self._loss)
        streams = self.context.streams("gmi", jobs)
        state = self._attempt(objective, streams, jobs.rows_N)
        for _ in range(1, self.settings.starts):
            left_L = (~state.converged_N).nonzero()[:, 0]
            if len(left_L) == 0:
                break
            _improve(state, left_L, self._attempt(objective, streams, left_L))
        return state.result(self.generator)

    def _loss(self, seen: ForwardPass) -> Tensor:
        prior = -self.generator.critic(seen.x_NCHW).sum()
        total: Tensor = prior - self.settings.identity_weight * seen.log_p_N.sum()
        return total

    def _attempt(
        self, objective: Objective, streams: list[torch.Generator], chosen_L: Tensor
    ) -> Search:
        """One start of the chosen rows, each drawn from the row's own stream."""
        options = self.settings

        def start(row_L: Tensor) -> Tensor:
            drawn = [self.generator.draw(1, streams[row]) for row in row_L.tolist()]
            return torch.cat(drawn).to(self.context.device)

        update = Nesterov(options.rate, options.momentum, options.clip)
        return descend(
            self, chosen_L, start, objective, update, stop=options.stop, steps=options.steps
        )


def _improve(state: Search, rows_L: Tensor, other: Search) -> None:
    """Take over the better points of `other`, a further start of these rows; its steps add up."""
    state.steps_N[rows_L] += other.steps_N
    better_L = other.log_p_N > state.log_p_N[rows_L]
    better_rows = rows_L[better_L]
    state.best[better_rows] = other.best[better_L]
    state.log_p_N[better_rows] = other.log_p_N[better_L]
    state.converged_N[better_rows] = other.converged_N[better_L]
