"""Which candidate is the person? Orders of the faces found under one label, for an attacker who knows of decoys.

`centre_by_centre` inverts all centres of a label, and each order here says what might tell a person from a decoy.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import Tensor
from torch.nn import functional

from inversionlab.attacks.base import Attack
from inversionlab.attacks.engine import pass_size
from inversionlab.attacks.jobs import AttackJobs
from inversionlab.attacks.multi_mode import changed, random_changes
from inversionlab.core.contracts import as_scoring_model
from inversionlab.core.views import WhiteBox

VIEWS = 8
"""Random changes under which a width is measured."""
DIRECTIONS, STEP = 8, 0.1
"""Random directions in which a curvature is measured, and how far one goes, in draws from the prior."""
PUBLIC = 1024
"""Public pictures whose features the candidates are compared with, at most."""
Order = Literal[
    "score",
    "width",
    "curvature",
    "density",
    "nearness",
    "neighbour",
    "norm",
    "surrogate",
    "natural",
    "membership",
]
STUDENTS = frozenset({"surrogate", "natural", "membership"})
"""The orders that ask a student of the attacker's own."""
QUERIES: dict[Order, int] = {
    "width": VIEWS,
    "curvature": 2 * DIRECTIONS,
    "nearness": 1,
    "neighbour": 1,
}
"""Pictures that an order sends to the model for each candidate; the others send none."""


@dataclass(frozen=True)
class Candidates:
    """N candidates, one for each centre of each label under attack."""

    attack: Attack
    view: WhiteBox
    """The model, with centres as its classes."""
    jobs: AttackJobs
    """Their rows; a target is a centre."""
    start_ND: Tensor
    """Where the descents began."""
    z_ND: Tensor
    """Where they ended: the candidates."""
    log_p_N: Tensor
    """The log-scores of their centres there."""

    @property
    def label_N(self) -> Tensor:
        """The label that each candidate's centre belongs to."""
        return self.jobs.target_N.div(self.view.centres, rounding_mode="floor")

    def in_parts(self, z_ND: Tensor, seen: Callable[[Tensor, Tensor], Tensor]) -> Tensor:
        """What `seen` makes (N,) of pictures and their rows, a few at a time; the pictures are those of `z_ND`."""
        size = pass_size(z_ND.device)
        parts = zip(z_ND.split(size), self.jobs.rows_N.split(size), strict=True)
        return torch.cat([seen(self.attack.generator(z_BD), row_B) for z_BD, row_B in parts])

    def log_p(self, x_NCHW: Tensor, row_N: Tensor) -> Tensor:
        """The log-scores (N,) that the centres of these rows give to pictures."""
        log_p_NK = self.view.log_scores(x_NCHW, self.jobs.account(row_N))
        return self.attack.target_scores(log_p_NK, self.jobs.target_N[row_N])


@torch.no_grad()
def likelihood(order: Order, candidates: Candidates) -> Tensor:
    """How likely each candidate (N,) is to be the person; only the order within a label means anything."""
    return ORDERS[order](candidates)


def by_score(candidates: Candidates) -> Tensor:
    """log p: how well the centre can be met. Also the membership inference of Yeom et al. 2018, by the loss."""
    return candidates.log_p_N


def by_width(candidates: Candidates) -> Tensor:
    """The mean of log p over random small changes of the picture, less log p."""
    stream = candidates.attack.context.shared_stream("centre_by_centre", "width")
    changes_V6 = random_changes(VIEWS, stream).to(candidates.z_ND.device)

    def seen(x_NCHW: Tensor, row_N: Tensor) -> Tensor:
        views = [changed(x_NCHW, change_6.expand(len(x_NCHW), -1)) for change_6 in changes_V6]
        return torch.stack([candidates.log_p(view_NCHW, row_N) for view_NCHW in views]).mean(0)

    return candidates.in_parts(candidates.z_ND, seen) - candidates.log_p_N


def by_curvature(candidates: Candidates) -> Tensor:
    """h^2/2 times the trace of the Hessian of log p in z, estimated by differences; 0 is flat."""
    stream = candidates.attack.context.shared_stream("centre_by_centre", "curvature")
    move_VD = STEP * torch.randn(DIRECTIONS, candidates.z_ND.shape[1], generator=stream)
    around = [
        candidates.in_parts(candidates.z_ND + sign * move_D, candidates.log_p)
        for move_D in move_VD.to(candidates.z_ND)
        for sign in (1, -1)
    ]
    return torch.stack(around).mean(0) - candidates.log_p_N


def by_density(candidates: Candidates) -> Tensor:
    """-|z|^2 / 2: how natural the prior finds the candidate."""
    return -candidates.z_ND.square().mean(1) / 2


def by_nearness(candidates: Candidates) -> Tensor:
    """The log p of the best public picture: how near the centre is to people whom the attacker knows."""
    return candidates.in_parts(candidates.start_ND, candidates.log_p)


def by_neighbour(candidates: Candidates) -> Tensor:
    """The largest log p that a centre of another label has at the candidate."""

    def seen(x_NCHW: Tensor, row_N: Tensor) -> Tensor:
        log_p_NK = candidates.view.log_scores(x_NCHW, candidates.jobs.account(row_N))
        log_p_NKC = log_p_NK.reshape(len(row_N), -1, candidates.view.centres).clone()
        log_p_NKC[torch.arange(len(row_N)), candidates.label_N[row_N]] = -torch.inf
        return log_p_NKC.flatten(1).amax(1)

    return candidates.in_parts(candidates.z_ND, seen)


def by_norm(candidates: Candidates) -> Tensor:
    """The length of the centre's weights, which grows with how often an identity is trained."""
    length_KC = candidates.view.centre_lengths()
    if length_KC is None:
        return torch.zeros_like(candidates.log_p_N)
    return length_KC.flatten().to(candidates.log_p_N)[candidates.jobs.target_N]


def by_surrogate(candidates: Candidates) -> Tensor:
    """The label's log-score by a student: modes that a student does not share come last."""
    student = as_scoring_model(candidates.attack.context.network)

    def seen(x_NCHW: Tensor, row_N: Tensor) -> Tensor:
        label_N1 = candidates.label_N[row_N][:, None]
        return student.log_scores(x_NCHW).gather(1, label_N1).squeeze(1)

    return candidates.in_parts(candidates.z_ND, seen)


def by_membership(candidates: Candidates) -> Tensor:
    """log p less the student's log-score of the label: Watson et al. 2022's membership inference.

    The student has not seen the private pictures, so what only those who have know remains.
    """
    return candidates.log_p_N - by_surrogate(candidates)


def by_natural(candidates: Candidates) -> Tensor:
    """The largest cosine between the candidate and a public picture, in the features of a student."""
    context = candidates.attack.context
    # Any: `log_scores` is all that the type of an attack's network promises; a student has features, too.
    student: Any = context.network
    stream = context.shared_stream("centre_by_centre", "public")
    chosen_P = torch.randperm(len(context.public_NCHW), generator=stream)[:PUBLIC]
    public_PD = torch.cat(
        [
            functional.normalize(student.features(context.public(index_B)))
            for index_B in chosen_P.split(pass_size(context.device))
        ]
    )

    def seen(x_NCHW: Tensor, row_N: Tensor) -> Tensor:
        own_N1D = functional.normalize(student.features(x_NCHW))[:, None]
        # No matrix product, whose bits would depend on the number of rows.
        return (own_N1D * public_PD).sum(2).amax(1)

    return candidates.in_parts(candidates.z_ND, seen)


ORDERS: dict[Order, Callable[[Candidates], Tensor]] = {
    "score": by_score,
    "width": by_width,
    "curvature": by_curvature,
    "density": by_density,
    "nearness": by_nearness,
    "neighbour": by_neighbour,
    "norm": by_norm,
    "surrogate": by_surrogate,
    "natural": by_natural,
    "membership": by_membership,
}
