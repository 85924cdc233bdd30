"""Generator-latent white-box attack (A2): gradient descent in the latent space of a face generator.

Paper:   Khosravy et al. 2022, as described in Kotsuji & Nakamura 2025 §3 and Yoshimura et al. 2021 §IV-A.
Access:  white box (`WhiteBox`): scores with gradients.
Solves:  z* = argmin_z CE(R(G(z)), y^)                                   (Yoshimura eq. 6)
Step:    z <- z - min(100, 0.1 / |g|) g,  g = dCE/dz                       (eq. 7; §V-A.3)
Start:   the mean encoding of 16 random public pictures; z ~ N(0, I) if the generator has no encoder.
Stop:    p_target > 0.99 (§IV-A), or `steps` updates (the papers give no limit).
Ranges:  pictures in [0, 1]; z is unbounded.
Result:  the z of highest target score on the way; for a row that meets the criterion, that is its last z.
"""

from typing import Literal

from pydantic import Field

from inversionlab.attacks.base import Attack, AttackSettings
from inversionlab.attacks.descent import descend, white_box_objective
from inversionlab.attacks.jobs import AttackJobs, AttackResult
from inversionlab.attacks.updates import LimitedStep
from inversionlab.core.views import View, WhiteBox


class LatentWhiteBoxSettings(AttackSettings):
    """Settings of the generator-latent white-box attack."""

    name: Literal["latent_white_box"] = "latent_white_box"
    steps: int = Field(default=300, ge=1, le=100_000)
    """Updates at most."""
    stop: float = Field(default=0.99, gt=0, lt=1)
    """A reconstruction is finished when the target's score exceeds this."""
    step_length: float = Field(default=0.1, gt=0, le=100)
    """Length of an update in latent units, unless the gradient is tiny."""
    max_rate: float = Field(default=100.0, gt=0, le=1e6)
    """Upper bound of the factor that multiplies the gradient."""
    seed_pictures: int = Field(default=16, ge=1, le=4096)
    """Public pictures whose mean encoding is the start."""


class LatentWhiteBox(Attack):
    """Gradient descent over the generator's latent vector."""

    Settings = LatentWhiteBoxSettings
    view = WhiteBox
    needs_generator = True

    @classmethod
    def most_queries(cls, settings: LatentWhiteBoxSettings, latent_size: int) -> int:
        """One query a step, and one at the end."""
        return settings.steps + 1

    def run(self, view: View | None, jobs: AttackJobs) -> AttackResult:
        """Descend for all jobs at once."""
        options = self.settings
        end = descend(
            self,
            jobs.rows_N,
            lambda row_L: self.context.first_latents(
                options.name, jobs.take(row_L), options.seed_pictures
            ),
            white_box_objective(self, view, jobs, decode=self.generator),
            LimitedStep(options.step_length, options.max_rate),
            stop=options.stop,
            steps=options.steps,
        )
        return end.result(self.generator)
