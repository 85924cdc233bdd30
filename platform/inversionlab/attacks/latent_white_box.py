"""Generator-latent white-box attack (A2): gradient descent in the latent space of a face generator.

Paper:   Khosravy et al. 2022, as described in Kotsuji & Nakamura 2025 §3 and Yoshimura et al. 2021 §IV-A.
Access:  white box (`WhiteBox`): scores with gradients.
Solves:  z* = argmin_z CE(R(G(z)), y^)                                   (Yoshimura eq. 6)
Step:    z <- z - a g / |g|,  g = dCE/dz; a grows while successive gradients agree, and shrinks where they do not.
         As published (`update: limited`): z <- z - min(100, 0.1 / |g|) g  (eq. 7; §V-A.3).
Start:   of `pool` encoded public pictures the one of highest target score; repeat r takes the one of rank r. As
         published (`pool: 0`): the mean encoding of 16 random public pictures. Draws from N(0, I) stand in for
         encodings where the generator has no encoder.
Stop:    p_target > 0.99 (§IV-A); or no progress for `patience` updates; or `steps` updates (the papers: neither).
Ranges:  pictures in [0, 1]; z is unbounded.
Result:  the z of highest target score on the way; for a row that meets the criterion, that is its last z.
Deviates: in start and step, unless `as_published: true` says otherwise.
"""

from typing import Any, ClassVar, Literal

from pydantic import Field
from torch import Tensor

from inversionlab.attacks.base import Attack, AttackSettings
from inversionlab.attacks.descent import descend, white_box_objective
from inversionlab.attacks.jobs import AttackJobs, AttackResult
from inversionlab.attacks.updates import latent_update
from inversionlab.core.views import View, WhiteBox


class LatentWhiteBoxSettings(AttackSettings):
    """Settings of the generator-latent white-box attack."""

    published: ClassVar[dict[str, Any]] = {
        "pool": 0,
        "update": "limited",
        "step_length": 0.1,
        "patience": None,
    }

    later: ClassVar[dict[str, Any]] = {"pool": 0, "update": "limited", "patience": None}

    name: Literal["latent_white_box"] = "latent_white_box"
    steps: int = Field(default=300, ge=1, le=100_000)
    """Updates at most."""
    stop: float = Field(default=0.99, gt=0, lt=1)
    """A reconstruction is finished when the target's score exceeds this."""
    pool: int = Field(default=512, ge=0, le=1_000_000)
    """Public pictures that the model is asked about once, as starts for all targets; 0: see `seed_pictures`."""
    seed_pictures: int = Field(default=16, ge=1, le=4096)
    """Without a pool: public pictures whose mean encoding is the start."""
    update: Literal["adaptive", "limited"] = "adaptive"
    """Steps of an adaptive length, or of a limited one."""
    step_length: float = Field(default=0.8, gt=0, le=100)
    """Length of the first step in latent units; of every limited step, unless the gradient is tiny."""
    max_rate: float = Field(default=100.0, gt=0, le=1e6)
    """Upper bound of the factor that multiplies the gradient in a limited step."""
    patience: int | None = Field(default=20, ge=1, le=100_000)
    """A descent ends when its score has not grown by 1 % for so many updates; null: never."""


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
        """Descend for all jobs."""
        options, white_box = self.settings, self.require(view, WhiteBox)

        def start(row_L: Tensor) -> Tensor:
            entering = jobs.take(row_L)
            if options.pool:
                return self.pool(white_box).starts(entering)[0]
            return self.context.first_latents(options.name, entering, options.seed_pictures)

        end = descend(
            self,
            jobs.rows_N,
            start,
            white_box_objective(self, view, jobs, decode=self.generator),
            latent_update(options),
            stop=options.stop,
            steps=options.steps,
            patience=options.patience,
        )
        return end.result(self.generator)
