"""Null attack: the picture of a random public person.

Paper:   none; the floor that every attack must beat (design, rule 6). A real face that is not the target's
         shows what the judge says of any real face.
Access:  nothing; no query is made.
Does:    x = a public picture, drawn uniformly, one draw a job.
Returns: pictures in [0, 1]; confidence is NaN, since the model is never asked.
"""

from __future__ import annotations

from typing import ClassVar, Literal

import torch

from inversionlab.attacks.base import Attack, AttackJobs, AttackResult, AttackSettings
from inversionlab.core.views import View


class RandomPublicSettings(AttackSettings):
    """Nothing to set."""

    name: Literal["random_public"] = "random_public"


class RandomPublic(Attack):
    """A random picture of the attacker's own."""

    Settings: ClassVar[type[AttackSettings]] = RandomPublicSettings
    view: ClassVar[type[View] | None] = None
    needs_generator: ClassVar[bool] = False

    def run(self, view: View | None, jobs: AttackJobs) -> AttackResult:
        """Draw one public picture a job."""
        know = self.context
        count = len(know.public_NCHW)
        index = torch.cat(
            [
                torch.randint(count, (1,), generator=know.stream("random_public", t, r))
                for t, r in jobs.pairs()
            ]
        )
        none = torch.zeros(len(jobs), dtype=torch.int64)
        return AttackResult(
            know.public(index), torch.full((len(jobs),), torch.nan), none.bool(), none
        )
