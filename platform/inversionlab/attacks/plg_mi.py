"""PLG-MI: a search in a conditional GAN that has learned the target model's classes, by a max-margin loss.

Paper:   Yuan et al. 2023, "Pseudo Label-Guided Model Inversion Attack via Conditional Generative Adversarial
         Network". Its other half, the GAN, is the generator `plg_gan`.
Access:  white box (`WhiteBox`): scores with gradients.
Solves:  min over z of  mean over two augmented views A of  max_{j != t} o_j - o_t,  o the logits of A(G(z | t))
Step:    against the gradient, of a length that adapts (`updates.py`); as published (`update: adam`) Adam's.
         A view is a random crop of `crop` to all of the area, mirrored or not; those of a step are the same for
         all rows.
Start:   `starts` draws of each row's own noise, of the target's class.
Stop:    none of the last `patience` updates has raised the margin (as published: never), or `steps` updates.
Result:  each start ends at its point of largest margin. Of these ends the one of highest mean target score over
         `choice` random crops, as in `ppa`. A result counts as found where that mean exceeds `stop`.
Ranges:  pictures in [0, 1]; the noise is unbounded.
Deviates: the authors make 600 updates at a rate of 0.02, take the last point, and count every start as an attack.
         o are log-scores, whose differences are those of the logits. Of the paper's views, the colours and turns
         are left out.
"""

import math
from functools import partial
from typing import Any, ClassVar, Literal

import torch
from pydantic import Field
from torch import Tensor

from inversionlab.attacks.base import Attack, AttackSettings
from inversionlab.attacks.crops import boxes, cropped, surest
from inversionlab.attacks.descent import Objective, descend
from inversionlab.attacks.engine import by_step
from inversionlab.attacks.jobs import AttackJobs, AttackResult
from inversionlab.attacks.lomma import AugmentableSettings, AugmentedAttack
from inversionlab.attacks.updates import Adam, AdaptiveStep
from inversionlab.core.views import View, WhiteBox
from inversionlab.generators.plg_gan import margin

NAME = "plg_mi"


class PlgMiSettings(AugmentableSettings, AttackSettings):
    """Settings of the pseudo-label guided attack."""

    published: ClassVar[dict[str, Any]] = {"update": "adam", "patience": None, "steps": 600}

    name: Literal["plg_mi"] = "plg_mi"
    starts: int = Field(default=4, ge=1, le=64)
    """Number of draws of the noise that a reconstruction starts from."""
    update: Literal["adaptive", "adam"] = "adaptive"
    """Whether steps have an adaptive length or are Adam's."""
    step_length: float = Field(default=0.8, gt=0, le=100)
    """Length of the first adaptive step in latent units."""
    rate: float = Field(default=0.02, gt=0, le=10)
    """Adam's step size."""
    steps: int = Field(default=60, ge=1, le=100_000)
    """Maximum number of updates of a start."""
    patience: int | None = Field(default=20, ge=1, le=100_000)
    """A start ends when its margin has not grown by 0.01 for this many updates; null: never."""
    views: int = Field(default=2, ge=1, le=64)
    """Views of the picture that the model sees at a step."""
    crop: float = Field(default=0.8, gt=0, le=1)
    """The smallest share of the picture's area in a view."""
    flip: bool = True
    """Whether a view is mirrored with probability 1/2."""
    choice: int = Field(default=32, ge=1, le=10_000)
    """Random crops by which the result is chosen among the pictures where the starts end."""
    stop: float = Field(default=0.9, gt=0, lt=1)
    """A reconstruction counts as found when its mean score over these crops exceeds this."""


class PlgMi(AugmentedAttack, Attack):
    """Search for the target's own noise in a generator of classes."""

    Settings = PlgMiSettings
    view = WhiteBox
    needs_generator = True
    wants = frozenset({"conditional"})

    @classmethod
    def most_queries(cls, settings: PlgMiSettings, latent_size: int) -> int:
        """The views of every update, and the crops of the choice, for each start."""
        return settings.starts * (settings.views * (settings.steps + 1) + settings.choice)

    def run(self, view: View | None, jobs: AttackJobs) -> AttackResult:
        """Move the starts of all jobs, then choose an end of each."""
        white_box, options = self.require(view, WhiteBox), self.settings
        wide, device = jobs.times(options.starts), self.context.device
        streams = self.context.streams(NAME, jobs)
        z_ND = torch.cat([self.generator.draw(options.starts, stream) for stream in streams])
        z_ND = self.generator.of_class(z_ND.to(device), wide.target_N)
        adaptive = options.update == "adaptive"
        end = descend(
            self,
            wide.rows_N,
            lambda row_L: z_ND[row_L],
            self._objective(white_box, wide),
            AdaptiveStep(options.step_length) if adaptive else Adam(options.rate),
            stop=math.inf,
            steps=options.steps,
            patience=options.patience,
            pictures=options.views,
        )
        return surest(self, white_box, wide, end, self.generator, options.choice, options.stop)

    def judge(
        self, x_NCHW: Tensor, log_y_NK: Tensor, target_N: Tensor, step_N: Tensor
    ) -> tuple[Tensor, Tensor]:
        """The max-margin loss, or with `lomma` its loss; the merit of a picture is how little that is."""
        if self.settings.lomma is None:
            loss_N = -margin(log_y_NK, target_N)
        else:
            loss_N, _ = super().judge(x_NCHW, log_y_NK, target_N, step_N)
        return loss_N, -loss_N

    def _objective(self, view: WhiteBox, jobs: AttackJobs) -> Objective:
        """The mean margin over a step's views, and the gradient of its loss."""
        count = self.settings.views

        def objective(z_ND: Tensor, row_N: Tensor, step_N: Tensor) -> tuple[Tensor, Tensor]:
            z_ND = z_ND.detach().requires_grad_(True)
            x_NCHW, target_N = self.generator(z_ND), jobs.target_N[row_N]
            losses, merits = [], []
            for number in range(count):
                seen_NCHW = cropped(x_NCHW, by_step(step_N, partial(self._box, number)))
                log_y_NK = view.log_scores(seen_NCHW, jobs.account(row_N))
                self.target_scores(log_y_NK, target_N)
                loss_N, merit_N = self.judge(seen_NCHW, log_y_NK, target_N, step_N)
                losses.append(loss_N)
                merits.append(merit_N.detach())
            loss = torch.stack(losses).mean(0).sum()
            return torch.stack(merits).mean(0), torch.autograd.grad(loss, z_ND)[0]

        return objective

    def _box(self, number: int, step: int) -> Tensor:
        stream = self.context.shared_stream(NAME, "view", step, number)
        area = (self.settings.crop, 1.0)
        return boxes(1, area, (1.0, 1.0), stream, mirrored=self.settings.flip)[0]
