"""Mirror (A7): a search among the style vectors of a StyleGAN-type generator, restricted to where faces are.

Paper:   An et al. 2022, "MIRROR: Model Inversion for Deep Learning Network with High Fidelity", and its code.
Access:  white box (`WhiteBox`): scores with gradients; or the score vector only (`Scores`, `gradients: false`).
Solves:  q* = argmin_q CE(R(S(leaky_relu(mean + std q, 0.2))), y^),  |q_i| <= `clip`
         where S makes a picture of a style vector and p = mean + std q is the input of the mapping network's last
         leaky ReLU; mean and std of p, dimension by dimension, are taken over many random latents.
Start:   of `pool` latents, about which the model is asked once for all targets, the one of highest target
         score; by scores only, the best `population`. As published (`pool: 0`): of `candidates` of each row's own.
Step:    against the gradient in q, of a length that adapts (`updates.py`; as published: Adam's), then clipping. At
         every step the model sees the picture with other random pixels dropped, mirrored or not, so that the
         search finds a picture it recognises robustly, not an adversarial one.
Stop:    the score of `calm` such pictures in a row exceeds `stop`, `steps` updates, or none of the last `patience`
         updates has raised it.
Scores:  a genetic algorithm (`mirror_genetic`) on undisturbed pictures; it stops when its best exceeds `stop`.
Ranges:  pictures in [0, 1]; a dropped pixel is middle grey in all channels.
Deviates: the code steps w, not p (its clipping is the same), in units of w, with a rate that rises and falls over
         20,000 steps, from each of the 8 best of 100,000 latents that all targets share. Here the rate of Adam is
         constant, a repeat has one start, and as published every row draws its own candidates. The code drops
         inputs in a copy of the model and scales up the others; here pictures stay in range. They are mirrored
         with the same chance, 1/2.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cached_property, partial
from typing import Any, ClassVar, Literal

import torch
from pydantic import Field
from torch import Tensor
from torch.nn import functional

from inversionlab.attacks.base import Attack, AttackSettings
from inversionlab.attacks.context import AttackerContext
from inversionlab.attacks.descent import Search, descend, white_box_objective
from inversionlab.attacks.engine import by_step
from inversionlab.attacks.jobs import AttackJobs, AttackResult
from inversionlab.attacks.mirror_genetic import GeneticSettings, evolve
from inversionlab.attacks.pool import candidates
from inversionlab.attacks.updates import Adam, AdaptiveStep
from inversionlab.core.contracts import GenerativePrior
from inversionlab.core.views import Scores, View, WhiteBox

GREY = 0.5
SLOPE = 0.2
"""The slope of the mapping network's last leaky ReLU."""
PASS = 256
"""Pictures, or latents, at once where no gradient is taken."""


class MirrorSettings(AttackSettings):
    """Settings of Mirror."""

    published: ClassVar[dict[str, Any]] = {"pool": 0, "update": "adam", "patience": None}
    later: ClassVar[dict[str, Any]] = {
        "pool": 0,
        "update": "adam",
        "patience": None,
        "step_length": 3.0,
    }

    name: Literal["mirror"] = "mirror"
    gradients: bool = True
    """Whether the attack sees gradients. If not, it evolves points by their scores."""
    pool: int = Field(default=1024, ge=0, le=1_000_000)
    """Latents that the model is asked about once, as starts for all targets; 0: see `candidates`."""
    candidates: int = Field(default=64, ge=1, le=100_000)
    """Without a pool: random latents of each row; a search starts from the best (by scores only: from the best
    `population`)."""
    mapped: int = Field(default=4096, ge=2, le=1_000_000)
    """Random latents over which mean and std are taken."""
    clip: float = Field(default=1.0, gt=0, le=100)
    """How many standard deviations a coordinate may be from the mean (the authors' code: 1)."""
    update: Literal["adaptive", "adam"] = "adaptive"
    """Whether steps have an adaptive length or are Adam's."""
    step_length: float = Field(default=3.0, gt=0, le=1000)
    """Length of the first adaptive step, in standard deviations."""
    patience: int | None = Field(default=20, ge=1, le=100_000)
    """A descent ends when its score has not grown by 1 % for this many updates; null: never."""
    rate: float = Field(default=0.1, gt=0, le=10)
    """Adam's step size, in standard deviations."""
    drop: float = Field(default=0.1, ge=0, lt=1)
    """Share of the pixels that are dropped at random before the model sees a picture."""
    flip: bool = True
    """Whether the model sees the pictures of a step mirrored with probability 1/2."""
    steps: int = Field(default=100, ge=1, le=100_000)
    """Maximum number of updates."""
    stop: float = Field(default=0.9999, gt=0, lt=1)
    """A picture is good when the target's score exceeds this."""
    calm: int = Field(default=3, ge=1, le=1000)
    """A search is finished after this many steps in a row with good pictures."""
    genetic: GeneticSettings = GeneticSettings()
    """The search by scores only."""


class Mirror(Attack):
    """Clipped search over style vectors."""

    Settings = MirrorSettings
    usual_seconds = 0.8
    view = WhiteBox
    needs_generator = True
    wants = frozenset({"style"})

    @classmethod
    def view_at(cls, settings: MirrorSettings) -> type[View] | None:
        """Scores with or without gradients, as `gradients` says."""
        return WhiteBox if settings.gradients else Scores

    @classmethod
    def most_queries(cls, settings: MirrorSettings, latent_size: int) -> int:
        """Those of the row's own candidates and of the search; a descent asks about its picture once more."""
        genetic = settings.genetic
        if not settings.gradients:
            first = genetic.population if settings.pool else settings.candidates
            return first + genetic.generations * (genetic.population - 1)
        return (0 if settings.pool else settings.candidates) + settings.steps + 2

    def run(self, view: View | None, jobs: AttackJobs) -> AttackResult:
        """Search for all jobs at once."""
        wanted = self.view_at(self.settings)
        assert wanted is not None
        view = self.require(view, wanted)
        search = self._descend if self.settings.gradients else self._evolve
        return search(view, jobs).result(self.space.pictures)

    @cached_property
    def space(self) -> Space:
        """The space that is searched."""
        return Space.measure(self.context, self.settings.mapped, self.settings.clip)

    def search_space(self) -> tuple[Tensor, Callable[[Tensor], Tensor]]:
        """Points of latents, and pictures of points."""
        z_PD = candidates("mirror", self.context, self.settings.pool)
        parts = [self.space.points(z_BD) for z_BD in z_PD.split(PASS)]
        return torch.cat(parts), self.space.pictures

    def _evolve(self, view: View, jobs: AttackJobs) -> Search:
        """Evolve from each row's best candidates."""
        options, device = self.settings, self.context.device
        streams = self.context.streams("mirror", jobs)

        def candidates(row_L: Tensor) -> Tensor:
            if options.pool:
                return self.pool(view).several(jobs.take(row_L), options.genetic.population)
            own = [streams[row] for row in row_L.tolist()]
            return self.space.candidates(options.candidates, own, device)

        return evolve(
            jobs.rows_N,
            partial(self.point_scores, view, jobs),
            candidates,
            self.space.clipped,
            options.genetic,
            options.stop,
            streams,
            self.context.widths.of("evolution", device),
        )

    def _descend(self, view: View, jobs: AttackJobs) -> Search:
        """Descend from each row's best candidate; log p is that of the undisturbed picture at the end."""
        options, space = self.settings, self.space
        streams = self.context.streams("mirror", jobs)

        def start(row_L: Tensor) -> Tensor:
            if options.pool:
                return self.pool(view).starts(jobs.take(row_L))[0]
            own = [streams[row] for row in row_L.tolist()]
            first_LCW = space.candidates(options.candidates, own, self.context.device)
            p_LC = self.point_scores(view, jobs, first_LCW, row_L)
            return first_LCW[torch.arange(len(row_L), device=row_L.device), p_LC.argmax(dim=1)]

        adaptive = options.update == "adaptive"
        end = descend(
            self,
            jobs.rows_N,
            start,
            white_box_objective(self, view, jobs, space.pictures, disturb=self._disturbed),
            AdaptiveStep(options.step_length, options.clip)
            if adaptive
            else Adam(options.rate, clip=options.clip),
            stop=options.stop,
            steps=options.steps,
            calm=options.calm,
            patience=options.patience,
        )
        p_N1 = self.point_scores(view, jobs, end.best[:, None], jobs.rows_N)
        return replace(end, log_p_N=p_N1[:, 0].log())

    @torch.no_grad()
    def point_scores(self, view: View, jobs: AttackJobs, q_NCW: Tensor, rows_N: Tensor) -> Tensor:
        """The model's score (N, C) of the target of each of `rows_N` for the row's points (N, C, W)."""
        row_N = rows_N.repeat_interleave(q_NCW.shape[1])
        parts = []
        for q_BW, row_B in zip(q_NCW.flatten(0, 1).split(PASS), row_N.split(PASS), strict=True):
            x_BCHW = self.space.pictures(q_BW)
            if isinstance(view, WhiteBox):
                y_BK = view.log_scores(x_BCHW, row_B).exp()
            else:
                y_BK = self.require(view, Scores).scores(x_BCHW, row_B)
            parts.append(self.target_scores(y_BK, jobs.target_N[row_B]))
        return torch.cat(parts).view(q_NCW.shape[:2])

    def _disturbed(self, x_NCHW: Tensor, step_N: Tensor) -> Tensor:
        """The pictures as the model sees them: those at one step are mirrored alike and lack the same pixels."""
        size = x_NCHW.shape[2:]

        def drawn(step: int) -> Tensor:
            """Whether to mirror, in the first row; which pixels to drop, in the others."""
            rng = self.context.shared_stream("mirror", "disturbance", step)
            mirrored = self.settings.flip and float(torch.rand(1, generator=rng)) < 0.5
            dropped_HW = torch.rand(size, generator=rng) < self.settings.drop
            return torch.cat([torch.full((1, size[1]), mirrored), dropped_HW])

        drawn_NHW = by_step(step_N, drawn)
        mirrored_N = drawn_NHW[:, 0, 0]
        x_NCHW = torch.where(mirrored_N[:, None, None, None], x_NCHW.flip(3), x_NCHW)
        return x_NCHW.masked_fill(drawn_NHW[:, None, 1:], GREY)


@dataclass(frozen=True)
class Space:
    """Points q = (p - mean) / std, clipped to [-clip, clip], so that steps and bounds suit any generator.

    A mapping network ends in w = leaky_relu(p, 0.2), so p = leaky_relu(w, 5) (the paper's section on P-space
    clipping). For random latents each dimension of p is about normal, which w is not.
    """

    generator: GenerativePrior
    mean_W: Tensor
    std_W: Tensor
    clip: float

    @classmethod
    @torch.no_grad()
    def measure(cls, context: AttackerContext, mapped: int, clip: float) -> Space:
        """The space, with mean and std of p over `mapped` latents that all jobs share."""
        z_ND = context.prior.draw(mapped, context.shared_stream("mirror", "mapped"))
        p_NW = _before_last(context.prior, z_ND.to(context.device))
        # A dimension that never moves stays where it is, and is not divided by zero.
        std_W = p_NW.std(dim=0, unbiased=False).clamp_min(1e-8)
        return cls(context.prior, p_NW.mean(dim=0), std_W, clip)

    def candidates(
        self, count: int, streams: list[torch.Generator], device: torch.device
    ) -> Tensor:
        """Points (N, count, W) of random latents, drawn from each row's own stream."""
        z_NCD = torch.stack([self.generator.draw(count, stream) for stream in streams])
        return self.points(z_NCD.flatten(0, 1).to(device)).view(len(streams), count, -1)

    @torch.no_grad()
    def points(self, z_ND: Tensor) -> Tensor:
        """Points (N, W), clipped, of latents."""
        return self.clipped((_before_last(self.generator, z_ND) - self.mean_W) / self.std_W)

    def clipped(self, q: Tensor) -> Tensor:
        """Points (..., W) moved into the space."""
        inside: Tensor = q.clamp(-self.clip, self.clip)
        return inside

    def pictures(self, q_NW: Tensor) -> Tensor:
        """Pictures (N, C, H, W) in [0, 1] of points."""
        p_NW = self.mean_W + self.std_W * q_NW
        return self.generator.synthesize(functional.leaky_relu(p_NW, SLOPE))


def _before_last(generator: GenerativePrior, z_ND: Tensor) -> Tensor:
    """p (N, W) of latents."""
    w_NW = torch.cat([generator.style(z_BD) for z_BD in z_ND.split(PASS)])
    return functional.leaky_relu(w_NW, 1 / SLOPE)
