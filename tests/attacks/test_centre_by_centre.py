"""Centre by centre, on a model whose labels hold two identities each."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from inversionlab.attacks.candidate_orders import (
    DIRECTIONS,
    ORDERS,
    STEP,
    STUDENTS,
    Candidates,
    Order,
    by_curvature,
    by_natural,
    by_norm,
)
from inversionlab.attacks.centre_by_centre import CentreByCentre, CentreByCentreSettings
from inversionlab.attacks.context import AttackerContext
from inversionlab.attacks.distil_then_invert import DistilThenInvert, DistilThenInvertSettings
from inversionlab.attacks.jobs import AttackJobs
from inversionlab.core.views import WhiteBox
from inversionlab.defenses.base import ProtectedModel
from inversionlab.pipeline.attack import run_attack
from tests import toys

CENTRES = torch.tensor([[[0.2], [0.8]], [[0.4], [0.6]]])
"""Gray (K, C, 1) of the identities: label 0 is dark or bright, label 1 lies between."""


class Grays(nn.Module):
    """A generator whose pictures have one gray."""

    latent_size = 1

    def forward(self, z_ND: Tensor) -> Tensor:
        return z_ND.sigmoid().view(-1, 1, 1, 1).expand(-1, 1, 2, 2)

    def encode(self, x_NCHW: Tensor) -> Tensor:
        return x_NCHW.mean(dim=(1, 2, 3)).clamp(0.01, 0.99).logit()[:, None]

    def draw(self, count: int, rng: torch.Generator) -> Tensor:
        return torch.randn(count, 1, generator=rng)


class TwoEach(ProtectedModel):
    """An identity is likely where a picture's gray is near its own."""

    def __init__(self, sharpness: float = 400.0) -> None:
        super().__init__()
        self.classes, self.centres, self.sharpness = 2, 2, sharpness

    def centre_log_scores(self, x_NCHW: Tensor) -> Tensor:
        gray_N111 = x_NCHW.mean(dim=(1, 2, 3)).view(-1, 1, 1, 1)
        logit_NKC = -self.sharpness * (gray_N111 - CENTRES).square().squeeze(-1)
        return logit_NKC.flatten(1).log_softmax(1).view(logit_NKC.shape)

    def log_scores(self, x_NCHW: Tensor) -> Tensor:
        return self.centre_log_scores(x_NCHW).logsumexp(2)


def attacked(sharpness: float = 400.0, **changed: Any) -> tuple[Tensor, Any]:
    public = torch.arange(0, 250, 10, dtype=torch.uint8).view(-1, 1, 1, 1).expand(-1, 1, 2, 2)
    context = AttackerContext(Grays(), public, 0, toys.CPU, Student())  # type: ignore[arg-type]
    attack = CentreByCentre(CentreByCentreSettings(**changed), context)
    made = run_attack(attack, TwoEach(sharpness), [(0, 0), (0, 1), (1, 0), (1, 1)])
    return made.result.images_NCHW.mean(dim=(1, 2, 3)), made


class Student(nn.Module):
    """It has learned that bright pictures are label 0, and its feature is the gray's distance from 0.2."""

    classes = 2

    def log_scores(self, x_NCHW: Tensor) -> Tensor:
        gray_N1 = x_NCHW.mean(dim=(1, 2, 3))[:, None]
        return (-20 * (gray_N1 - torch.tensor([0.8, 0.5])).square()).log_softmax(1)

    def features(self, x_NCHW: Tensor) -> Tensor:
        away_N = x_NCHW.mean(dim=(1, 2, 3)) - 0.2
        return torch.stack([away_N.cos(), away_N.sin()], 1)


@pytest.mark.parametrize("rank_by", ORDERS)
@pytest.mark.parametrize("reverse", [False, True])
def test_two_repeats_return_both_identities_of_a_label(rank_by: str, reverse: bool) -> None:
    gray_N, made = attacked(rank_by=rank_by, reverse=reverse, steps=40)
    # A picture is taken for the identity of the nearest gray, and the borders lie between the four of them.
    for label, sides in ((0, (0.0, 0.3, 0.7, 1.0)), (1, (0.3, 0.5, 0.5, 0.7))):
        first, second = sorted(gray_N[2 * label : 2 * label + 2].tolist())
        assert sides[0] < first < sides[1]
        assert sides[2] < second < sides[3]
    assert (made.result.confidence_N > 0.6).all()


def test_the_first_repeat_is_the_likeliest_by_its_rule() -> None:
    gray_N, _ = attacked(rank_by="density", steps=40)
    # -|z|^2 is larger the nearer the gray is to 1/2; those of label 0 are equally far from it but for the descent.
    z_N = gray_N.logit().square()
    assert z_N[0] <= z_N[1]
    assert z_N[2] <= z_N[3]


def test_by_its_neighbour_the_first_is_the_one_that_is_nearest_to_another_label() -> None:
    """Of label 1's grays 0.4 has a neighbour at 0.2, and 0.6 one at 0.95."""
    grays = torch.tensor([[[0.2], [0.95]], [[0.4], [0.6]]])

    class Uneven(TwoEach):
        def centre_log_scores(self, x_NCHW: Tensor) -> Tensor:
            gray_N111 = x_NCHW.mean(dim=(1, 2, 3)).view(-1, 1, 1, 1)
            logit_NKC = -self.sharpness * (gray_N111 - grays).square().squeeze(-1)
            return logit_NKC.flatten(1).log_softmax(1).view(logit_NKC.shape)

    public = torch.arange(0, 250, 10, dtype=torch.uint8).view(-1, 1, 1, 1).expand(-1, 1, 2, 2)
    context = AttackerContext(Grays(), public, seed=0, device=toys.CPU)  # type: ignore[arg-type]
    settings = CentreByCentreSettings(rank_by="neighbour", steps=40)
    made = run_attack(CentreByCentre(settings, context), Uneven(), [(1, 0), (1, 1)])
    first, second = made.result.images_NCHW.mean(dim=(1, 2, 3)).tolist()
    assert first < 0.5 < second


def test_by_a_student_the_candidate_that_it_shares_comes_first() -> None:
    """The student takes bright pictures, and not dark ones, for label 0."""
    gray_N, _ = attacked(rank_by="surrogate", steps=40)
    assert gray_N[0] > 0.7
    assert gray_N[1] < 0.3


def test_by_membership_the_candidate_that_the_student_does_not_share_comes_first() -> None:
    gray_N, _ = attacked(rank_by="membership", steps=40)
    assert gray_N[0] < 0.3
    assert gray_N[1] > 0.7


@pytest.mark.parametrize("rank_by", sorted(STUDENTS))
def test_orders_by_a_student_need_one(rank_by: Order) -> None:
    settings = CentreByCentreSettings(rank_by=rank_by)
    assert CentreByCentre.trains_at(settings)
    with pytest.raises(ValueError, match="needs its trained network"):
        CentreByCentre(settings, AttackerContext(Grays(), torch.zeros(1), 0, toys.CPU))  # type: ignore[arg-type]


def test_the_student_is_that_of_distil_then_invert_by_scores() -> None:
    own, other = (
        CentreByCentreSettings(rank_by="natural"),
        DistilThenInvertSettings(answers="scores"),
    )
    assert CentreByCentre.network_kind == DistilThenInvert.network_kind
    assert CentreByCentre.network_part(own) == DistilThenInvert.network_part(other)


def candidates(z_N: list[float], log_p_N: list[float], *public_N: int) -> Candidates:
    """Two candidates of each label."""
    public = torch.tensor(public_N or [50], dtype=torch.uint8).view(-1, 1, 1, 1).expand(-1, 1, 2, 2)
    context = AttackerContext(Grays(), public, 0, toys.CPU, Student())  # type: ignore[arg-type]
    attack = CentreByCentre(CentreByCentreSettings(), context)
    view = WhiteBox(TwoEach(), len(z_N) // 2).of_centres()
    jobs = AttackJobs(torch.arange(len(z_N)), torch.zeros(len(z_N), dtype=torch.long), 2)
    z_ND = torch.tensor(z_N)[:, None]
    return Candidates(attack, view, jobs, z_ND, z_ND, torch.tensor(log_p_N))


def test_curvature_is_that_of_the_log_score_in_the_latent() -> None:
    """The log-score of a centre is made a parabola in z, whose second derivative is known."""

    class Parabolas(TwoEach):
        def centre_log_scores(self, x_NCHW: Tensor) -> Tensor:
            z_N = x_NCHW.mean(dim=(1, 2, 3)).logit()
            return -z_N.square()[:, None, None] * torch.tensor([[1.0, 2.0], [3.0, 4.0]])

    found = candidates([0.0] * 4, [0.0] * 4)
    view = WhiteBox(Parabolas(), 2).of_centres()
    curved_N = by_curvature(replace(found, view=view))
    stream = found.attack.context.shared_stream("centre_by_centre", "curvature")
    mean_square = (STEP * torch.randn(DIRECTIONS, 1, generator=stream)).square().mean()
    torch.testing.assert_close(curved_N, -mean_square * torch.tensor([1.0, 2.0, 3.0, 4.0]))
    assert view.queries.tolist() == [4 * DIRECTIONS] * 2


def test_natural_is_the_cosine_to_the_nearest_public_face() -> None:
    """The toy's feature is an angle, and the public faces lie at grays of 51 / 255 and 204 / 255."""
    gray = torch.tensor([0.2, 0.5, 0.7, 0.9])
    natural_N = by_natural(candidates(gray.logit().tolist(), [0.0] * 4, 51, 204))
    torch.testing.assert_close(natural_N, torch.tensor([0.0, 0.3, 0.1, 0.1]).cos())


def test_norms_are_those_of_the_centres_weights() -> None:
    found = candidates([0.0] * 4, [0.0] * 4)
    assert by_norm(found).tolist() == [0.0] * 4

    class Lengths(TwoEach):
        def centre_lengths(self) -> Tensor:
            return torch.tensor([[1.0, 2.0], [3.0, 4.0]])

    view = WhiteBox(Lengths(), 2).of_centres()
    assert by_norm(replace(found, view=view)).tolist() == [1.0, 2.0, 3.0, 4.0]


def test_every_query_is_counted() -> None:
    _, made = attacked(1.0, rank_by="score", steps=3, patience=None)
    # Two descents of 3 updates have 4 passes each; one picture is shown for the confidence.
    assert made.queries_N.tolist() == [9] * 4


def test_a_model_with_one_identity_a_label_is_inverted_as_it_is() -> None:
    class One(ProtectedModel):
        classes = 2

        def log_scores(self, x_NCHW: Tensor) -> Tensor:
            gray_N1 = x_NCHW.mean(dim=(1, 2, 3))[:, None]
            return (-400 * (gray_N1 - torch.tensor([0.3, 0.7])).square()).log_softmax(1)

    view = WhiteBox(One(), 1)
    assert view.of_centres().classes == 2
    torch.testing.assert_close(
        view.of_centres().log_scores(torch.full((1, 1, 2, 2), 0.3)),
        view.log_scores(torch.full((1, 1, 2, 2), 0.3)),
    )
