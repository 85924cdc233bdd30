"""Gray-box pixel-space attack (A1): gradient descent on the pixels from an average face.

Paper:   Khosravy et al. 2021, "Model Inversion Attack: Analysis under Gray-box Scenario".
Access:  the model's structure and weights (`WhiteBox`), no data of any user.
Solves:  x* = argmin_x L(R(x), y^)                                        (eq. 6)
Step:    x <- x - a dL/dx, a = 0.05                                        (eq. 7, §4.4)
Loss:    cross-entropy by default. The paper names "a least square measure ... or an Infomax measure" (§3): `lse`,
         |R(x) - y^|^2, which `as_published: true` takes; and `infomax`, for which it gives no formula. Ours is
         -log p_k + H(R(x)): what an answer says of the class is log n - H bits, and the target takes it up.
         Least squares has no slope where p_k is near 0: on the toy world of the contract tests one of five colour
         targets is found at no rate, and by cross-entropy all are.
Start:   the mean of 256 pictures of people the victim never saw (§4.4); every clone draws its own 256.
Stop:    p_target > `stop`, or `steps` updates (the paper gives neither; its clones end at 0.94 to 0.99).
Ranges:  pixels are clipped to [0, 1] after every update.
Deviates: in the default loss. `pixel_gan_seed` starts from a GAN's face.
"""

from collections.abc import Callable
from functools import partial
from typing import Any, ClassVar, Literal

import torch
from pydantic import Field
from torch import Tensor

from inversionlab.attacks.base import Attack, AttackSettings
from inversionlab.attacks.descent import ForwardPass, descend, white_box_objective
from inversionlab.attacks.jobs import AttackJobs, AttackResult
from inversionlab.attacks.updates import PlainStep
from inversionlab.core.settings import Settings
from inversionlab.core.views import View, WhiteBox

LEAST = -100.0
"""Lower log-scores count as this in the entropy; their scores are 0 in float32."""


class PixelDescentSettings(Settings):
    """The settings of the attacks that descend on pixels, in addition to those of every attack."""

    published: ClassVar[dict[str, Any]] = {"loss": "lse"}

    rate: float = Field(default=0.05, gt=0, le=1e4)
    """The updating rate a of eq. 7."""
    loss: Literal["cross_entropy", "lse", "infomax"] = "cross_entropy"
    """The loss L: cross-entropy, least square error, or cross-entropy with the answer's entropy."""
    steps: int = Field(default=200, ge=1, le=100_000)
    """Maximum number of updates."""
    stop: float = Field(default=0.99, gt=0, lt=1)
    """A clone is finished when the target's score exceeds this."""


class PixelGrayBoxSettings(PixelDescentSettings, AttackSettings):
    """Settings of the gray-box pixel attack."""

    published: ClassVar[dict[str, Any]] = PixelDescentSettings.published

    name: Literal["pixel_gray_box"] = "pixel_gray_box"
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
        return descend_pixels(self, view, jobs, lambda row_L: self.starts(jobs.take(row_L)))

    def starts(self, jobs: AttackJobs) -> Tensor:
        """The first picture (N, C, H, W) of each job."""
        options, context = self.settings, self.context
        streams, total = context.streams(options.name, jobs), len(context.public_NCHW)
        chosen = [torch.randperm(total, generator=s)[: options.seed_pictures] for s in streams]
        return torch.stack([context.public(index).mean(0) for index in chosen])


def descend_pixels(
    attack: Attack, view: View | None, jobs: AttackJobs, start: Callable[[Tensor], Tensor]
) -> AttackResult:
    """Descend on pixels for all jobs at once, as `attack.settings` say; `start` has the first pictures of rows."""
    options = attack.settings
    objective = white_box_objective(attack, view, jobs, loss=partial(pixel_loss, options.loss))
    update = PlainStep(options.rate)
    end = descend(
        attack, jobs.rows_N, start, objective, update, stop=options.stop, steps=options.steps
    )
    return end.result()


def pixel_loss(kind: str, seen: ForwardPass) -> Tensor:
    """The loss L of this kind, summed over rows."""
    if kind == "cross_entropy":
        return -seen.log_p_N.sum()
    y_NK, p_N = seen.log_y_NK.exp(), seen.log_p_N.exp()
    if kind == "infomax":
        # A class without any score adds nothing: 0 log 0 = 0.
        surprise_NK = torch.where(y_NK > 0, y_NK * seen.log_y_NK.clamp_min(LEAST), 0.0)
        return -seen.log_p_N.sum() - surprise_NK.sum()
    # |y - y^|^2 = |y|^2 - 2 p + 1
    return y_NK.square().sum() - 2 * p_N.sum()
