"""Generative model inversion (A8): descent in a GAN's latent space, with its critic as a prior.

Paper:   Zhang et al. 2020, "The Secret Revealer: Generative Model-Inversion Attacks"; Gong et al. 2023, eq. 5-6.
Access:  white box (`WhiteBox`): scores with gradients.
Solves:  z* = argmin_z L_prior + lambda L_id,  L_prior = -D(G(z)),  L_id = CE(R(G(z)), y^)
Step:    Nesterov's:  v' = m v - a dL/dz,  z <- z - m v + (1 + m) v',  m = 0.9   (the authors' code)
Start:   z ~ N(0, I); of up to `starts` starts the one of highest target score is kept (the authors' code).
Stop:    p_target > `stop`, or `steps` updates a start; a job whose start has met it needs no further one.
Ranges:  every coordinate of z is clipped to [-1, 1] after an update (the authors' code); pictures in [0, 1].
Deviates: the authors run 1,500 updates of all 5 starts with a = 0.02 on a loss that is averaged over a batch of
         100 targets, which is a = 0.0002 for one of them. Here the rate is a row's own, and ten times that for
         100 updates; rows leave early. A start ends at its point of highest target score, not at its last.
         Clipping starts with the first update, as theirs does.
         The auxiliary-knowledge part of the paper (blurred or masked pictures of the target) is left out.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar, Literal

import torch
from pydantic import Field
from torch import Tensor

from inversionlab.attacks.base import Attack, AttackJobs, AttackResult, AttackSettings
from inversionlab.attacks.descent import Passes, Path, Seen, descend, white_box_passes
from inversionlab.core.views import View, WhiteBox


class GmiSettings(AttackSettings):
    """Settings of the generative model inversion attack."""

    name: Literal["gmi"] = "gmi"
    identity_weight: float = Field(default=100.0, gt=0, le=1e6)
    """lambda, the weight of the target's cross-entropy against the critic's score."""
    rate: float = Field(default=2e-3, gt=0, le=10)
    """a, the step size."""
    momentum: float = Field(default=0.9, ge=0, lt=1)
    """m, the part of the velocity that stays."""
    clip: float = Field(default=1.0, gt=0, le=100)
    """Bound of the latent coordinates, either way."""
    starts: int = Field(default=3, ge=1, le=100)
    """Random starts at most."""
    steps: int = Field(default=100, ge=1, le=100_000)
    """Updates of a start at most."""
    stop: float = Field(default=0.999, gt=0, lt=1)
    """A reconstruction is finished when the target's score exceeds this."""


class Gmi(Attack):
    """Gradient descent over the latent vector, towards the target and towards what the critic finds real."""

    Settings: ClassVar[type[AttackSettings]] = GmiSettings
    view: ClassVar[type[View] | None] = WhiteBox
    needs_generator: ClassVar[bool] = True
    wants: ClassVar[frozenset[str]] = frozenset({"critic"})

    def run(self, view: View | None, jobs: AttackJobs) -> AttackResult:
        """Descend for all jobs at once, start after start for those that have not converged."""
        know, generator = self.context, self.context.generator
        assert generator is not None
        passes = white_box_passes("gmi", view, jobs, decode=generator, loss=self._loss)
        streams = [know.stream("gmi", t, r) for t, r in jobs.pairs()]
        path = self._attempt(self._draw(streams), passes)
        for _ in range(1, self.settings.starts):
            left_L = (~path.converged_N).nonzero()[:, 0]
            if len(left_L) == 0:
                break
            start_LD = self._draw([streams[row] for row in left_L.tolist()])
            self._improve(path, left_L, self._attempt(start_LD, _only(passes, left_L)))
        with torch.no_grad():
            images = generator(path.best)
        return AttackResult(images, path.log_p_N.exp(), path.converged_N, path.steps_N)

    def _draw(self, streams: Sequence[torch.Generator]) -> Tensor:
        """The next start (N, m) of each row's own stream."""
        generator = self.context.generator
        assert generator is not None
        return torch.cat([generator.draw(1, stream) for stream in streams]).to(self.context.device)

    def _loss(self, seen: Seen) -> Tensor:
        assert self.context.generator is not None
        prior = -self.context.generator.critic(seen.x_NCHW).sum()
        total: Tensor = prior - self.settings.identity_weight * seen.log_p_N.sum()
        return total

    def _attempt(self, start_ND: Tensor, passes: Passes) -> Path:
        """One start of every row."""
        options, speed_ND = self.settings, torch.zeros_like(start_ND)

        def update(z_ND: Tensor, g_ND: Tensor, rows_N: Tensor) -> Tensor:
            before_ND = speed_ND[rows_N]
            after_ND = options.momentum * before_ND - options.rate * g_ND
            speed_ND[rows_N] = after_ND
            moved_ND = z_ND - options.momentum * before_ND + (1 + options.momentum) * after_ND
            clipped_ND: Tensor = moved_ND.clamp(-options.clip, options.clip)
            return clipped_ND

        return descend(start_ND, passes, update, stop=options.stop, steps=options.steps)

    @staticmethod
    def _improve(path: Path, rows_L: Tensor, other: Path) -> None:
        """Take over what `other`, a further start of these rows, found better; its steps add up."""
        path.steps_N[rows_L] += other.steps_N
        better_L = other.log_p_N > path.log_p_N[rows_L]
        won = rows_L[better_L]
        path.best[won] = other.best[better_L]
        path.log_p_N[won] = other.log_p_N[better_L]
        path.converged_N[won] = other.converged_N[better_L]


def _only(passes: Passes, chosen_L: Tensor) -> Passes:
    """The passes of an attack, for some of its rows, which are numbered anew."""
    return lambda point, rows_N: passes(point, chosen_L[rows_N])
