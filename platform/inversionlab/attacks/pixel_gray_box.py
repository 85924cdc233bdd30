"""Gray-box pixel-space attack (A1): gradient descent on the pixels from an average face.

Paper:   Khosravy et al. 2021, "Model Inversion Attack: Analysis under Gray-box Scenario".
Access:  the model's structure and weights (`WhiteBox`), no data of any user.
Solves:  x* = argmin_x L(R(x), y^)                                        (eq. 6)
Step:    x <- x - a dL/dx, a = 0.05                                        (eq. 7, §4.4)
Loss:    cross-entropy, or the least square error |R(x) - y^|^2 (§3, "a least square measure").
Start:   the mean of 256 pictures of people the victim never saw (§4.4); every clone draws its own 256.
Stop:    p_target > `stop`, or `steps` updates (the paper gives neither; its clones end at 0.94 to 0.99).
Ranges:  pixels are clipped to [0, 1] after every update.
"""

from typing import Literal

import torch
from pydantic import Field
from torch import Tensor

from inversionlab.attacks.base import Attack, AttackSettings
from inversionlab.attacks.descent import ForwardPass, descend, white_box_objective
from inversionlab.attacks.jobs import AttackJobs, AttackResult
from inversionlab.attacks.updates import PlainStep
from inversionlab.core.views import View, WhiteBox


class PixelGrayBoxSettings(AttackSettings):
    """Settings of the gray-box pixel attack."""

    name: Literal["pixel_gray_box"] = "pixel_gray_box"
    rate: float = Field(default=0.05, gt=0, le=1e4)
    """The updating rate a of eq. 7."""
    loss: Literal["cross_entropy", "lse"] = "cross_entropy"
    """The loss L: cross-entropy or least square error."""
    steps: int = Field(default=200, ge=1, le=100_000)
    """Updates at most."""
    stop: float = Field(default=0.99, gt=0, lt=1)
    """A clone is finished when the target's score exceeds this."""
    seed_pictures: int = Field(default=256, ge=1, le=65_536)
    """Public pictures whose mean is the start."""


class PixelGrayBox(Attack):
    """Gradient descent over pixels."""

    Settings = PixelGrayBoxSettings
    usual_seconds = 0.1
    view = WhiteBox

    @classmethod
    def most_queries(cls, settings: PixelGrayBoxSettings, latent_size: int) -> int:
        """One query a step, and one at the end."""
        return settings.steps + 1

    def run(self, view: View | None, jobs: AttackJobs) -> AttackResult:
        """Descend for all jobs at once."""
        options, context = self.settings, self.context
        total = len(context.public_NCHW)

        def start(row_L: Tensor) -> Tensor:
            streams = context.streams(options.name, jobs.take(row_L))
            chosen = [torch.randperm(total, generator=s)[: options.seed_pictures] for s in streams]
            return torch.stack([context.public(index).mean(0) for index in chosen])

        objective = white_box_objective(self, view, jobs, loss=self._loss)
        update = PlainStep(options.rate)
        end = descend(
            self, jobs.rows_N, start, objective, update, stop=options.stop, steps=options.steps
        )
        return end.result()

    def _loss(self, seen: ForwardPass) -> Tensor:
        if self.settings.loss == "cross_entropy":
            return -seen.log_p_N.sum()
        y_NK, p_N = seen.log_y_NK.exp(), seen.log_p_N.exp()
        # |y - y^|^2 = |y|^2 - 2 p + 1
        return y_NK.square().sum() - 2 * p_N.sum()
