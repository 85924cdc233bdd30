"""Mirror (A7): a search among the style vectors of a StyleGAN-type generator, kept where faces are.

Paper:   An et al. 2022, "MIRROR: Model Inversion for Deep Learning Network with High Fidelity", and its code.
Access:  white box (`WhiteBox`): scores with gradients; or the score vector only (`Scores`, `gradients: false`).
Solves:  q* = argmin_q CE(R(S(leaky_relu(mean + std q, 0.2))), y^),  |q_i| <= `clip`
         where S makes a picture of a style vector and p = mean + std q stands before the last leaky ReLU of the
         mapping network; mean and std of p, dimension by dimension, over many random latents.
Start:   of `candidates` random latents the one of highest target score. These queries are booked.
Step:    Adam on q, then the clipping. The model is shown the picture with random pixels dropped and mirrored or
         not, other ones at every step, so that a picture is found that it knows robustly, not an adversarial one.
Stop:    the score of `calm` such pictures in a row exceeds `stop`, or `steps` updates.
Scores:  a genetic algorithm, see `mirror_genetic`; undisturbed pictures; stops when its best exceeds `stop`.
Ranges:  pictures in [0, 1]; a dropped pixel is middle grey in all channels.
Deviates: the code steps w, not p (its clipping is the same), with a rate that rises and falls over 20,000 steps
         and in units of w, from each of the 8 best of 100,000 latents that all targets share: here every row
         draws candidates of its own and the rate is constant. The code drops inputs in the model's copy, with
         the others scaled up; here pictures stay in range, and they are mirrored with the same chance, 1/2.
"""

from __future__ import annotations

from dataclasses import replace
from itertools import count
from typing import ClassVar, Literal

import torch
from pydantic import Field
from torch import Tensor

from inversionlab.attacks.base import Attack, AttackJobs, AttackResult, AttackSettings
from inversionlab.attacks.descent import Passes, Path, descend, white_box_passes
from inversionlab.attacks.mirror_genetic import GeneticSettings, evolve
from inversionlab.attacks.mirror_space import PASS, Space, candidates, measured, target_scores
from inversionlab.attacks.row_state import Adam, Recent
from inversionlab.core.views import Scores, View, WhiteBox

GREY = 0.5


class MirrorSettings(AttackSettings):
    """Settings of Mirror."""

    name: Literal["mirror"] = "mirror"
    gradients: bool = True
    """Whether it sees gradients; else it evolves points by their scores."""
    candidates: int = Field(default=64, ge=1, le=100_000)
    """Random pictures that a search starts from the best of (by scores only: from the best `population` of)."""
    mapped: int = Field(default=4096, ge=2, le=1_000_000)
    """Random latents over which mean and spread are taken."""
    clip: float = Field(default=1.0, gt=0, le=100)
    """How many standard deviations a coordinate may be from the mean (the authors' code: 1)."""
    rate: float = Field(default=0.1, gt=0, le=10)
    """Adam's step size, in standard deviations."""
    drop: float = Field(default=0.1, ge=0, lt=1)
    """Share of the pixels that are dropped at random before the model sees a picture."""
    flip: bool = True
    """Whether the model sees pictures mirrored at every other step, at random."""
    steps: int = Field(default=100, ge=1, le=100_000)
    """Updates at most."""
    stop: float = Field(default=0.9999, gt=0, lt=1)
    """A picture is good when the target's score exceeds this."""
    calm: int = Field(default=3, ge=1, le=1000)
    """A search is finished when the pictures of so many steps in a row are good."""
    genetic: GeneticSettings = GeneticSettings()
    """The search by scores only."""


class Mirror(Attack):
    """Clipped search over style vectors."""

    Settings: ClassVar[type[AttackSettings]] = MirrorSettings
    view: ClassVar[type[View] | None] = WhiteBox
    needs_generator: ClassVar[bool] = True
    wants: ClassVar[frozenset[str]] = frozenset({"style"})

    @classmethod
    def view_at(cls, settings: MirrorSettings) -> type[View] | None:
        """Scores with or without gradients, as `gradients` says."""
        return WhiteBox if settings.gradients else Scores

    def run(self, view: View | None, jobs: AttackJobs) -> AttackResult:
        """Search for all jobs at once."""
        wanted = self.view_at(self.settings)
        assert wanted is not None
        if not isinstance(view, wanted):
            raise TypeError(f"`mirror` needs a {wanted.__name__} view, got {type(view).__name__}")
        space = measured(self.context, self.settings.mapped, self.settings.clip)
        streams = [self.context.stream("mirror", t, r) for t, r in jobs.pairs()]
        first_NCW = candidates(self.context, space, self.settings.candidates, streams)
        if isinstance(view, Scores):
            options = self.settings.genetic
            path = evolve(space, view, jobs, first_NCW, options, self.settings.stop, streams)
        else:
            path = self._descend(space, view, jobs, first_NCW)
        with torch.no_grad():
            images = torch.cat([space.pictures(q_BW) for q_BW in path.best.split(PASS)])
        return AttackResult(images, path.log_p_N.exp(), path.converged_N, path.steps_N)

    def _descend(self, space: Space, view: View, jobs: AttackJobs, first_NCW: Tensor) -> Path:
        """Descend from each row's best candidate; log p is that of the undisturbed picture at the end."""
        options = self.settings
        rows_N = torch.arange(len(jobs), device=first_NCW.device)
        p_NC = target_scores(space, view, jobs, first_NCW, rows_N)
        start_NW = first_NCW[rows_N, p_NC.argmax(dim=1)]
        adam = Adam(start_NW, options.rate)

        def update(q_NW: Tensor, g_NW: Tensor, left_N: Tensor) -> Tensor:
            return space.clipped(adam(q_NW, g_NW, left_N))

        passes = self._passes(space, view, jobs)
        path = descend(start_NW, passes, update, stop=options.stop, steps=options.steps)
        p_N1 = target_scores(space, view, jobs, path.best[:, None], rows_N)
        return replace(path, log_p_N=p_N1[:, 0].log())

    def _passes(self, space: Space, view: View, jobs: AttackJobs) -> Passes:
        """Passes whose pictures are disturbed at random, anew at every step; log p is the lowest of late."""
        step = count()
        window = min(self.settings.calm, self.settings.steps + 1)
        recent = Recent(len(jobs), window, jobs.target_N.device)
        seen = white_box_passes(
            "mirror",
            view,
            jobs,
            decode=lambda q_NW: self._disturbed(space.pictures(q_NW), next(step)),
            loss=lambda seen: -seen.log_p_N.sum(),
        )

        def passes(q_NW: Tensor, rows_N: Tensor) -> tuple[Tensor, Tensor]:
            log_p_N, g_NW = seen(q_NW, rows_N)
            return recent.lowest(log_p_N, rows_N), g_NW

        return passes

    def _disturbed(self, x_NCHW: Tensor, step: int) -> Tensor:
        """The pictures as the model sees them at a step: all mirrored or none, without the same pixels."""
        rng = self.context.shared_stream("mirror", "disturbance", step)
        if self.settings.flip and float(torch.rand(1, generator=rng)) < 0.5:
            x_NCHW = x_NCHW.flip(3)
        if self.settings.drop == 0:
            return x_NCHW
        dropped_HW = torch.rand(x_NCHW.shape[2:], generator=rng) < self.settings.drop
        return x_NCHW.masked_fill(dropped_HW.to(x_NCHW.device), GREY)
