"""Plug & Play Attacks (PPA): a robust search among a generator's style vectors, whichever generator it is.

Paper:   Struppek et al. 2022, "Plug & Play Attacks: Towards Robust and Flexible Model Inversion Attacks", and the
         authors' default configuration.
Access:  white box (`WhiteBox`): scores with gradients.
Solves:  min over w of  d(u, v) = arcosh(1 + 2 |u - v|^2 / ((1 - |u|^2) (1 - |v|^2))),  u = o / |o|_1,  v the
         target's one-hot vector times 1 - 1e-4, o the logits of a random crop of the picture S(w). Unlike the
         cross-entropy, this distance does not vanish once the model is sure.
Start:   of `pool` encoded public pictures (or draws from the prior, without an encoder), about which and whose
         mirror images the model is asked once for all targets, the `kept` of highest mean target score; repeat r
         takes those that come next.
Step:    against the gradient, of a length that adapts (`updates.py`). As published (`update: adam`): Adam with
         betas (0.1, 0.1), at a tenth of the rate after 60 % of the updates and at a hundredth after 80 %. At each
         step the model sees a random crop of `crop` to all of the picture's area.
Stop:    never before `steps` updates. A result counts as found where that mean exceeds `stop`.
Result:  each start ends at its point of least loss. Of these ends the one of highest mean target score over
         `views` crops of 50 to 90 % of the area, of ratio 0.8 to 1.2, mirrored or not.
Ranges:  pictures in [0, 1]; w is unbounded. A generator without style vectors is searched in z.
Deviates: o are log-scores minus their mean over the classes: a view shows no logits, and these are the logits up
         to their mean. Steps are longer than the paper's, which suit a StyleGAN of another scale. One picture is
         wanted, so fewer starts are kept than the authors' 50, which `as_published: true` has. They truncate their
         draws, and crop the centre of their generators' pictures first.
"""

import math
from collections.abc import Callable
from typing import Any, ClassVar, Literal

import torch
from pydantic import Field
from torch import Tensor
from torch.nn import functional

from inversionlab.attacks.base import Attack, AttackSettings
from inversionlab.attacks.crops import boxes, cropped, surest
from inversionlab.attacks.descent import descend, white_box_objective
from inversionlab.attacks.engine import by_step, pass_size
from inversionlab.attacks.jobs import AttackJobs, AttackResult
from inversionlab.attacks.lomma import AugmentableSettings, AugmentedAttack, logits
from inversionlab.attacks.pool import Pool, candidates
from inversionlab.attacks.updates import Adam, AdaptiveStep
from inversionlab.core.views import View, WhiteBox

NAME = "ppa"
XI = 1e-4
"""What a one-hot vector is short of 1: at 1 itself the distance is infinite."""
BETAS = (0.1, 0.1)
MILESTONES = (0.6, 0.8)
"""Shares of the updates after which the rate falls to a tenth."""


class PpaSettings(AugmentableSettings, AttackSettings):
    """Settings of the plug & play attack."""

    published: ClassVar[dict[str, Any]] = {"update": "adam", "views": 100, "kept": 50}

    name: Literal["ppa"] = "ppa"
    pool: int = Field(default=2000, ge=1, le=1_000_000)
    """Number of starts for all targets. The model is asked once about each of them and about its mirror image."""
    kept: int = Field(default=4, ge=1, le=64)
    """Number of starts of each reconstruction."""
    update: Literal["adaptive", "adam"] = "adaptive"
    """Whether steps have an adaptive length or are Adam's."""
    step_length: float = Field(default=0.8, gt=0, le=1000)
    """Length of the first adaptive step."""
    rate: float = Field(default=0.005, gt=0, le=10)
    """Adam's initial step size."""
    steps: int = Field(default=50, ge=1, le=100_000)
    """Updates of every start."""
    crop: float = Field(default=0.9, gt=0, le=1)
    """The smallest share of the picture's area that the model sees at a step."""
    views: int = Field(default=32, ge=1, le=10_000)
    """Random crops by which the result is chosen among the pictures where the starts end."""
    stop: float = Field(default=0.9, gt=0, lt=1)
    """A reconstruction counts as found when its mean score over these crops exceeds this."""


class Ppa(AugmentedAttack, Attack):
    """Search among style vectors by random crops, the end chosen by how robust it is."""

    Settings = PpaSettings
    usual_seconds = 2.0
    view = WhiteBox
    needs_generator = True

    @classmethod
    def pool_size(cls, settings: PpaSettings) -> int:
        """Every candidate and its mirror image."""
        return 2 * settings.pool

    @classmethod
    def most_queries(cls, settings: PpaSettings, latent_size: int) -> int:
        """The crops of every update and of the choice, for each start."""
        return settings.kept * (settings.steps + 1 + settings.views)

    def search_space(self) -> tuple[Tensor, Callable[[Tensor], Tensor]]:
        """Style vectors where the generator has them, else latents."""
        z_PD = candidates(NAME, self.context, self.settings.pool)
        if not self.context.has_style:
            return z_PD, self.generator
        with torch.no_grad():
            parts = [self.generator.style(z_BD) for z_BD in z_PD.split(pass_size(z_PD.device))]
        return torch.cat(parts), self.generator.synthesize

    def ask_pool(self, view: View) -> Pool:
        """The mean score of each candidate and its mirror image decides."""
        return Pool.ask(view, *self.search_space(), mirrored=True)

    def run(self, view: View | None, jobs: AttackJobs) -> AttackResult:
        """Move the starts of all jobs, then choose an end of each."""
        white_box, options = self.require(view, WhiteBox), self.settings
        decode = self.generator.synthesize if self.context.has_style else self.generator
        start_NSW = self.pool(white_box).several(jobs, options.kept)
        wide, start_NW = jobs.times(start_NSW.shape[1]), start_NSW.flatten(0, 1)
        milestones = tuple(round(share * options.steps) for share in MILESTONES)
        adaptive = options.update == "adaptive"
        end = descend(
            self,
            wide.rows_N,
            lambda row_L: start_NW[row_L],
            white_box_objective(self, white_box, wide, decode, disturb=self._cropped),
            AdaptiveStep(options.step_length)
            if adaptive
            else Adam(options.rate, BETAS, milestones=milestones),
            stop=math.inf,
            steps=options.steps,
        )
        return surest(self, white_box, wide, end, decode, options.views, options.stop)

    def judge(
        self, x_NCHW: Tensor, log_y_NK: Tensor, target_N: Tensor, step_N: Tensor
    ) -> tuple[Tensor, Tensor]:
        """The distance, or with `lomma` its loss; the merit of a picture is how little that is."""
        if self.settings.lomma is None:
            loss_N = poincare(log_y_NK, target_N)
        else:
            loss_N, _ = super().judge(x_NCHW, log_y_NK, target_N, step_N)
        return loss_N, -loss_N

    def _cropped(self, x_NCHW: Tensor, step_N: Tensor) -> Tensor:
        """What the model sees of pictures; those at one step are cropped alike."""
        area = (self.settings.crop, 1.0)

        def box(step: int) -> Tensor:
            return boxes(1, area, (1.0, 1.0), self.context.shared_stream(NAME, "step", step))[0]

        return cropped(x_NCHW, by_step(step_N, box))


def poincare(log_y_NK: Tensor, target_N: Tensor) -> Tensor:
    """d(u, v) (N,), see the card, for log-scores (N, K)."""
    o_NK = logits(log_y_NK)
    u_NK = o_NK / o_NK.abs().sum(1, keepdim=True).clamp_min(1e-12)
    v_NK = functional.one_hot(target_N, o_NK.shape[1]) * (1 - XI)
    apart_N, u_N, v_N = (x.square().sum(1) for x in (u_NK - v_NK, u_NK, v_NK))
    return torch.arccosh(1 + 2 * apart_N / ((1 - u_N) * (1 - v_N)))
