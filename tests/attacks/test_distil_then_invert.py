"""The student and its inversion."""

from __future__ import annotations

import dataclasses

import pytest
import torch
from torch import Tensor, nn

from inversionlab.attacks.distil_then_invert import (
    DistilThenInvert,
    DistilThenInvertSettings,
)
from inversionlab.core.contracts import ModelShape
from inversionlab.core.views import Labels, Scores, View
from tests import toys


class Student(nn.Module):
    """The toy victim itself, so that a perfect student is inverted."""

    classes = toys.CLASSES

    def log_scores(self, x_NCHW: Tensor) -> Tensor:
        return toys.victim().log_scores(x_NCHW)


def run(settings: DistilThenInvertSettings) -> tuple[DistilThenInvert, View, Tensor]:
    context = dataclasses.replace(toys.context(), network=Student())
    attack = DistilThenInvert(settings, context)
    view = attack.open(toys.victim(), len(toys.ALL))
    result = attack.run(view, toys.jobs(toys.ALL))
    target_N1 = torch.tensor([t for t, _ in toys.ALL])[:, None]
    score_N = toys.victim().log_scores(result.images_NCHW).exp().gather(1, target_N1)[:, 0]
    assert bool(result.converged_N.all())
    if isinstance(view, Scores):
        torch.testing.assert_close(result.confidence_N, score_N)
    else:
        assert bool(result.confidence_N.isnan().all())
    return attack, view, score_N


@pytest.mark.parametrize(("answers", "kind"), [("labels", Labels), ("scores", Scores)])
def test_a_perfect_student_gives_the_target_away_for_one_query_a_start(
    answers: str, kind: type[View]
) -> None:
    settings = DistilThenInvertSettings(answers=answers, stop=0.99, starts=2, pool=64)  # type: ignore[arg-type]
    attack, view, score_N = run(settings)
    assert type(view) is kind
    assert float(score_N.min()) > 0.98
    # The student's queries are its own.
    assert view.queries.tolist() == [2] * len(toys.ALL)
    assert (view.shared_queries, attack.shared_queries) == (0, 0)


def test_by_labels_it_learns_from_the_largest_score_alone() -> None:
    labels, scores = (DistilThenInvertSettings(answers=a) for a in ("labels", "scores"))  # type: ignore[arg-type]
    assert DistilThenInvert.training_top(labels) == 1
    assert DistilThenInvert.training_top(scores) is None
    assert DistilThenInvert.pool_size(labels) == 0


def test_the_students_loss_is_that_of_its_head_or_the_cross_entropy_with_the_scores() -> None:
    shape = ModelShape(classes=4, channels=3, image_size=16)
    feature_ND = torch.randn(5, 256, generator=torch.Generator().manual_seed(0))
    score_NK = torch.rand(5, 4, generator=torch.Generator().manual_seed(1)).softmax(1)
    found = {}
    for answers in ("labels", "scores"):
        settings = DistilThenInvertSettings(answers=answers)  # type: ignore[arg-type]
        learner = DistilThenInvert.learner(settings, shape, seed=3)
        head = learner.recognizer.head.requires_grad_(False)
        found[answers] = float(learner.loss(head, feature_ND, score_NK))
    assert found["labels"] == pytest.approx(float(head.loss(feature_ND, score_NK.argmax(1))))
    log_p_NK = head(feature_ND).log_softmax(1)
    by_hand = -sum(float((score_NK[i] * log_p_NK[i]).sum()) for i in range(5)) / 5
    assert found["scores"] == pytest.approx(by_hand, rel=1e-5)


def test_settings_of_the_inversion_train_no_other_student() -> None:
    plain = DistilThenInvertSettings().trained_part()
    assert DistilThenInvertSettings(steps=7, starts=9, stop=0.5).trained_part() == plain
    assert DistilThenInvertSettings(answers="scores").trained_part() != plain
