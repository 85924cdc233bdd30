"""Null attack: the picture of a random latent.

Paper:   none; it is a floor that every attack must beat (design, rule 6).
Access:  nothing; no query is made.
Does:    x = G(z), z ~ N(0, I), one draw a job.
Returns: pictures in [0, 1]; the confidence is NaN, since the model is never asked.
"""

from typing import Literal

import torch

from inversionlab.attacks.base import Attack, AttackSettings
from inversionlab.attacks.jobs import AttackJobs, AttackResult
from inversionlab.core.views import View


class RandomLatentSettings(AttackSettings):
    """Nothing to set."""

    name: Literal["random_latent"] = "random_latent"


class RandomLatent(Attack):
    """The generator's picture of a random latent vector."""

    Settings = RandomLatentSettings
    usual_seconds = 0.02
    view = None
    needs_generator = True

    @torch.no_grad()
    def run(self, view: View | None, jobs: AttackJobs) -> AttackResult:
        """Draw one latent a job and decode it."""
        streams = self.context.streams(self.settings.name, jobs)
        z_ND = torch.cat([self.generator.draw(1, s) for s in streams])
        return AttackResult.of_null(self.generator(z_ND.to(self.context.device)))
