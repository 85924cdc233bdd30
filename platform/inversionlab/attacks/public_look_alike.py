"""Public look-alike: of some public pictures, the one that the model takes most for the target. A floor.

Paper:   none; it is a floor that every attack must beat. It finds what a model says of strangers without inverting
         it: an attack that finds no more has found a look-alike, not a person.
Access:  the score vector only (`Scores`).
Does:    the model is asked about `pool` public pictures once, for all targets; x = the one with the highest score
         of the target, and repeat r takes the one of rank r.
Stop:    nothing is iterated; a row has converged where the model's winning class is the target.
Ranges:  pictures in [0, 1].
Queries: those about the pool, once; one more a row, for the score of its picture.
"""

from collections.abc import Callable
from typing import Literal

import torch
from pydantic import Field
from torch import Tensor

from inversionlab.attacks.base import Attack, AttackSettings
from inversionlab.attacks.engine import pass_size
from inversionlab.attacks.jobs import AttackJobs, AttackResult
from inversionlab.core.views import Scores, View


class PublicLookAlikeSettings(AttackSettings):
    """How many strangers are looked at."""

    name: Literal["public_look_alike"] = "public_look_alike"
    pool: int = Field(default=256, ge=1, le=1_000_000)
    """Public pictures that the model is asked about once."""


class PublicLookAlike(Attack):
    """The best of some public pictures."""

    Settings = PublicLookAlikeSettings
    usual_seconds = 0.05
    view = Scores
    floor = True

    @classmethod
    def most_queries(cls, settings: PublicLookAlikeSettings, latent_size: int) -> int:
        """One, for the score of the picture that is handed out."""
        return 1

    def search_space(self) -> tuple[Tensor, Callable[[Tensor], Tensor]]:
        """The pictures themselves."""
        rng = self.context.shared_stream("public_look_alike", "pool")
        chosen_P = torch.randperm(len(self.context.public_NCHW), generator=rng)
        return self.context.public(chosen_P[: self.settings.pool]), lambda x_NCHW: x_NCHW

    @torch.no_grad()
    def run(self, view: View | None, jobs: AttackJobs) -> AttackResult:
        """Look each target up."""
        scores = self.require(view, Scores)
        x_NCHW, _ = self.pool(scores).starts(jobs)
        size = pass_size(x_NCHW.device)
        parts = zip(x_NCHW.split(size), jobs.rows_N.split(size), strict=True)
        y_NK = torch.cat([scores.scores(x_BCHW, row_B) for x_BCHW, row_B in parts])
        confidence_N = self.target_scores(y_NK, jobs.target_N)
        won_N = y_NK.argmax(1) == jobs.target_N
        return AttackResult(x_NCHW, confidence_N, won_N, torch.zeros_like(jobs.target_N))
