"""Gray-box pixel-space attack (A1): gradient descent on the pixels from an average face.

Paper:   Khosravy et al. 2021, "Model Inversion Attack: Analysis under Gray-box Scenario".
Access:  the model's structure and weights (`WhiteBox`), no data of any user.
Solves:  x* = argmin_x L(R(x), y^)                                        (eq. 6)
Step:    x <- x - a dL/dx, a = 0.05                                        (eq. 7, §4.4)
Loss:    cross-entropy, or the least square error |R(x) - y^|^2 (§3, "a least square measure").
Start:   the mean of 256 pictures of people the victim never saw (§4.4); every clone draws its own 256.
Stop:    p_target > `stop`, or `steps` updates (the paper names neither; its clones end at 0.94 to 0.99).
Ranges:  pixels are clipped to [0, 1] after every update.
"""

from __future__ import annotations

from typing import ClassVar, Literal

import torch
from pydantic import Field
from torch import Tensor

from inversionlab.attacks.base import Attack, AttackJobs, AttackResult, AttackSettings
from inversionlab.attacks.descent import Seen, descend, white_box_passes
from inversionlab.core.views import View, WhiteBox


class PixelGrayBoxSettings(AttackSettings):
    """Settings of the gray-box pixel attack."""

    name: Literal["pixel_gray_box"] = "pixel_gray_box"
    rate: float = Field(default=0.05, gt=0, le=1e4)
    """The updating rate a of eq. 7."""
    loss: Literal["cross_entropy", "lse"] = "cross_entropy"
    """What is minimised."""
    steps: int = Field(default=200, ge=1, le=100_000)
    """Updates at most."""
    stop: float = Field(default=0.99, gt=0, lt=1)
    """A clone is finished when the target's score exceeds this."""
    seed_pictures: int = Field(default=256, ge=1, le=65_536)
    """Public pictures whose mean is the seed."""


class PixelGrayBox(Attack):
    """Gradient descent over pixels."""

    Settings: ClassVar[type[AttackSettings]] = PixelGrayBoxSettings
    view: ClassVar[type[View] | None] = WhiteBox
    needs_generator: ClassVar[bool] = False

    def run(self, view: View | None, jobs: AttackJobs) -> AttackResult:
        """Descend for all jobs at once."""
        passes = white_box_passes(
            "pixel_gray_box", view, jobs, decode=lambda x_NCHW: x_NCHW, loss=self._loss
        )

        def update(x_NCHW: Tensor, g_NCHW: Tensor, rows_N: Tensor) -> Tensor:
            moved_NCHW: Tensor = x_NCHW - self.settings.rate * g_NCHW
            return moved_NCHW.clamp(0, 1)

        path = descend(
            self._seed(jobs), passes, update, stop=self.settings.stop, steps=self.settings.steps
        )
        return AttackResult(path.best, path.log_p_N.exp(), path.converged_N, path.steps_N)

    def _loss(self, seen: Seen) -> Tensor:
        if self.settings.loss == "cross_entropy":
            return -seen.log_p_N.sum()
        y_NK, p_N = seen.log_y_NK.exp(), seen.log_p_N.exp()
        # |y - y^|^2 = |y|^2 - 2 p + 1
        return y_NK.square().sum() - 2 * p_N.sum()

    def _seed(self, jobs: AttackJobs) -> Tensor:
        """x(0) of every job: the mean of its own random public pictures."""
        know = self.context
        count = min(self.settings.seed_pictures, len(know.public_NCHW))
        seeds = []
        for target, repeat in jobs.pairs():
            stream = know.stream("pixel_gray_box", target, repeat)
            index = torch.randperm(len(know.public_NCHW), generator=stream)[:count]
            seeds.append(know.public(index).mean(0))
        return torch.stack(seeds)
