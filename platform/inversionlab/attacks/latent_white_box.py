"""Generator-latent white-box attack (A2): gradient descent in the latent space of a face generator.

Paper:   Khosravy et al. 2022, as described in Kotsuji & Nakamura 2025 §3 and Yoshimura et al. 2021 §IV-A.
Access:  white box (`WhiteBox`): scores with gradients.
Solves:  z* = argmin_z CE(R(G(z)), y^)                                   (Yoshimura eq. 6)
Step:    z <- z - min(100, 0.1 / |g|) g,  g = dCE/dz                       (eq. 7; §V-A.3)
Start:   with an encoder, the mean encoding of 16 random public pictures; without, z ~ N(0, I).
Stop:    p_target > 0.99 (§IV-A), or `steps` updates (the papers name no limit).
Ranges:  pictures in [0, 1]; z is unbounded.
Result:  the z of highest target score on the way (for a row that stops by the criterion: its last one).
"""

from __future__ import annotations

from typing import ClassVar, Literal

import torch
from pydantic import Field
from torch import Tensor

from inversionlab.access import View, WhiteBox
from inversionlab.attacks.base import Attack, AttackSettings, Found, Jobs, Knowledge
from inversionlab.attacks.descent import descend, white_box_passes

ENCODER_BATCH = 256
"""Pictures encoded at once, so that memory stays small whatever the number of jobs."""


class LatentWhiteBoxSettings(AttackSettings):
    """Settings of the generator-latent white-box attack."""

    name: Literal["latent_white_box"] = "latent_white_box"
    steps: int = Field(default=300, ge=1, le=100_000)
    """Updates at most."""
    stop: float = Field(default=0.99, gt=0, lt=1)
    """A reconstruction is finished when the target's score exceeds this."""
    step_length: float = Field(default=0.1, gt=0, le=100)
    """Length of an update in latent units, while the gradient is not tiny."""
    max_rate: float = Field(default=100.0, gt=0, le=1e6)
    """Upper bound of the factor that the gradient is multiplied by."""
    seed_pictures: int = Field(default=16, ge=1, le=4096)
    """Public pictures whose mean encoding is the start."""


class LatentWhiteBox(Attack):
    """Gradient descent over the generator's latent vector."""

    Settings: ClassVar[type[AttackSettings]] = LatentWhiteBoxSettings
    view: ClassVar[type[View] | None] = WhiteBox
    needs_generator: ClassVar[bool] = True

    def __init__(self, settings: LatentWhiteBoxSettings, knowledge: Knowledge) -> None:
        super().__init__(settings, knowledge)
        self.settings = settings

    def run(self, view: View | None, jobs: Jobs) -> Found:
        """Descend for all jobs at once."""
        generator = self.knowledge.generator
        assert generator is not None
        passes = white_box_passes(
            "latent_white_box",
            view,
            jobs,
            decode=generator,
            loss=lambda log_y_NK, log_p_N: -log_p_N.sum(),
        )

        def update(z_ND: Tensor, g_ND: Tensor) -> Tensor:
            norm_N1 = g_ND.norm(dim=1, keepdim=True).clamp_min(1e-12)
            rate_N1 = (self.settings.step_length / norm_N1).clamp_max(self.settings.max_rate)
            moved_ND: Tensor = z_ND - rate_N1 * g_ND
            return moved_ND

        path = descend(
            self._start(jobs), passes, update, stop=self.settings.stop, steps=self.settings.steps
        )
        with torch.no_grad():
            images = generator(path.best)
        return Found(images, path.log_p_N.exp(), path.converged_N, path.steps_N)

    @torch.no_grad()
    def _start(self, jobs: Jobs) -> Tensor:
        """z(0) of every job: the mean encoding of its own random public pictures, or a random draw."""
        know, generator = self.knowledge, self.knowledge.generator
        assert generator is not None
        pairs = list(zip(jobs.target_N.tolist(), jobs.repeat_N.tolist(), strict=True))
        streams = [know.stream("latent_white_box", target, repeat) for target, repeat in pairs]
        if generator.encode(know.public(torch.zeros(1, dtype=torch.int64))) is None:
            return torch.cat([generator.draw(1, s) for s in streams]).to(know.device)
        count = min(self.settings.seed_pictures, len(know.public_NCHW))
        chosen = [torch.randperm(len(know.public_NCHW), generator=s)[:count] for s in streams]
        parts = []
        for index_S in torch.cat(chosen).split(ENCODER_BATCH):
            z_SD = generator.encode(know.public(index_S))
            assert z_SD is not None, "it has just encoded a picture"
            parts.append(z_SD)
        return torch.cat(parts).view(len(pairs), count, -1).mean(1)
