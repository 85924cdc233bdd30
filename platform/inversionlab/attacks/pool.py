"""Starts for all targets: the model is asked about some public faces once, and every target takes its best.

Struppek et al. 2022 and An et al. 2022 choose starts so. With candidates of its own, every row would ask as many
questions again. The pool depends on the attack's seed alone. So a row's start does not depend on the shard that it
is in, and every worker finds the same one.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Self

import torch
from torch import Tensor

from inversionlab.attacks.context import AttackerContext
from inversionlab.attacks.engine import pass_size
from inversionlab.attacks.jobs import AttackJobs
from inversionlab.core.views import Labels, Scores, View, WhiteBox

RANKS = 64
"""Candidates that are kept for each class."""


@dataclass(frozen=True)
class Pool:
    """The best candidates of every class."""

    point_PD: Tensor
    """The points of all candidates: latents, where the attack says nothing else."""
    best_KR: Tensor
    """Their numbers by the score of each class, the highest first."""
    fits_KR: Tensor
    """Whether the candidate is of the class, as far as labels say; where there are scores, always."""

    @classmethod
    @torch.no_grad()
    def ask(
        cls,
        view: View,
        point_PD: Tensor,
        decode: Callable[[Tensor], Tensor],
        *,
        mirrored: bool = False,
        ranks: int = RANKS,
    ) -> Self:
        """Ask about the pictures that `decode` makes of the points; `mirrored`: about their mirror images too.

        Then the sum of both scores decides. So many `ranks` are kept for each class.
        """
        scores = []
        for point_BD in point_PD.split(pass_size(point_PD.device)):
            x_BCHW = decode(point_BD)
            score_BK = _scores(view, x_BCHW)
            if mirrored:
                both = torch.logaddexp if isinstance(view, WhiteBox) else torch.add
                score_BK = both(score_BK, _scores(view, x_BCHW.flip(3)))
            scores.append(score_BK)
        score_KP = torch.cat(scores).T
        best = score_KP.topk(min(ranks, len(point_PD)), dim=1)
        return cls(point_PD, best.indices, best.values > -torch.inf)

    def starts(self, jobs: AttackJobs) -> tuple[Tensor, Tensor]:
        """A point (N, m) for each job, and whether it fits, (N,): repeat r takes the candidate of rank r."""
        rank_N = jobs.repeat_N % self.best_KR.shape[1]
        return self.point_PD[self.best_KR[jobs.target_N, rank_N]], self.fits_KR[
            jobs.target_N, rank_N
        ]

    def several(self, jobs: AttackJobs, count: int) -> Tensor:
        """Points (N, S, m), the best first: repeat r takes the S that come after those of the repeats before it.

        S is `count`, or the size of the pool if that is smaller. Where the pool is at its end, its best are next.
        """
        kept = self.best_KR.shape[1]
        rank_NS = jobs.repeat_N[:, None] * count + torch.arange(min(count, kept)).to(jobs.repeat_N)
        return self.point_PD[self.best_KR[jobs.target_N[:, None], rank_NS % kept]]


def candidates(attack: str, context: AttackerContext, size: int) -> Tensor:
    """Latents (P, m) that all jobs share: encodings of public pictures, or draws where there is no encoder.

    There are fewer than `size` if there are fewer public pictures to encode.
    """
    rng = context.shared_stream(attack, "pool")
    if not context.has_encoder:
        return context.prior.draw(size, rng).to(context.device)
    return context.encoded(torch.randperm(len(context.public_NCHW), generator=rng)[:size])


def _scores(view: View, x_NCHW: Tensor) -> Tensor:
    """By which candidates are ranked (N, K): scores, or 0 for the label and -inf for other classes."""
    if isinstance(view, WhiteBox):
        return view.log_scores(x_NCHW)
    if isinstance(view, Scores):
        return view.scores(x_NCHW)
    assert isinstance(view, Labels)
    label_N = view.labels(x_NCHW)
    score_NK = torch.full((len(label_N), view.classes), -torch.inf, device=label_N.device)
    return score_NK.scatter(
        1, label_N.clamp_min(0)[:, None], torch.where(label_N < 0, -torch.inf, 0.0)[:, None]
    )
