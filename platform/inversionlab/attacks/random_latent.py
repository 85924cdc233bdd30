"""Null attack: a picture of nobody in particular.

Paper:   none; the floor that every attack must beat (design, rule 6).
Access:  nothing; no query is made.
Does:    x = G(z), z ~ N(0, I), one draw a job.
Returns: pictures in [0, 1]; confidence is NaN, since the model is never asked.
"""

from __future__ import annotations

from typing import ClassVar, Literal

import torch

from inversionlab.attacks.base import Attack, AttackJobs, AttackResult, AttackSettings
from inversionlab.core.views import View


class RandomLatentSettings(AttackSettings):
    """Nothing to set."""

    name: Literal["random_latent"] = "random_latent"


class RandomLatent(Attack):
    """The generator's picture of a random latent vector."""

    Settings: ClassVar[type[AttackSettings]] = RandomLatentSettings
    view: ClassVar[type[View] | None] = None
    needs_generator: ClassVar[bool] = True

    @torch.no_grad()
    def run(self, view: View | None, jobs: AttackJobs) -> AttackResult:
        """Draw one latent a job and decode it."""
        know = self.context
        assert know.generator is not None
        z_ND = torch.cat(
            [know.generator.draw(1, know.stream("random_latent", t, r)) for t, r in jobs.pairs()]
        )
        images = know.generator(z_ND.to(know.device))
        none = torch.zeros(len(jobs), dtype=torch.int64)
        return AttackResult(images, torch.full((len(jobs),), torch.nan), none.bool(), none)
