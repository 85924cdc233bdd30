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

from inversionlab.attacks.base import Attack, AttackJobs, AttackResult, AttackSettings
from inversionlab.attacks.descent import descend, white_box_passes
from inversionlab.attacks.latent import first_latents, limited_step
from inversionlab.core.views import View, WhiteBox


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

    def run(self, view: View | None, jobs: AttackJobs) -> AttackResult:
        """Descend for all jobs at once."""
        generator = self.context.generator
        assert generator is not None
        passes = white_box_passes(
            "latent_white_box",
            view,
            jobs,
            decode=generator,
            loss=lambda seen: -seen.log_p_N.sum(),
        )

        options = self.settings
        path = descend(
            first_latents(options.name, self.context, jobs, options.seed_pictures),
            passes,
            limited_step(options.step_length, options.max_rate),
            stop=options.stop,
            steps=options.steps,
        )
        with torch.no_grad():
            images = generator(path.best)
        return AttackResult(images, path.log_p_N.exp(), path.converged_N, path.steps_N)
