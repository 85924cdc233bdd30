"""Null attack: the picture of a random public person.

Paper:   none; it is a floor that every attack must beat (design, rule 6). It shows how the evaluator scores a real
         face that is not the target's.
Access:  nothing; no query is made.
Does:    x = a public picture, drawn uniformly, one draw a job.
Returns: pictures in [0, 1]; the confidence is NaN, since the model is never asked.
"""

from typing import Literal

import torch

from inversionlab.attacks.base import Attack, AttackSettings
from inversionlab.attacks.jobs import AttackJobs, AttackResult
from inversionlab.core.views import View


class RandomPublicSettings(AttackSettings):
    """Nothing to set."""

    name: Literal["random_public"] = "random_public"


class RandomPublic(Attack):
    """A random picture of the attacker's own."""

    Settings = RandomPublicSettings
    usual_seconds = 0.02
    view = None

    def run(self, view: View | None, jobs: AttackJobs) -> AttackResult:
        """Draw one public picture a job."""
        count, streams = len(self.context.public_NCHW), self.context.streams("random_public", jobs)
        index_N = torch.cat([torch.randint(count, (1,), generator=s) for s in streams])
        return AttackResult.of_null(self.context.public(index_N))
