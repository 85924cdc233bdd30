"""Negative label smoothing: the loss by hand, its course over the training, and what it is taken of."""

from __future__ import annotations

import copy
import dataclasses
import math
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.nn import functional

from inversionlab.core.learner import TrainingSettings
from inversionlab.defenses.negative_label_smoothing import (
    NegativeLabelSmoothing,
    NegativeLabelSmoothingSettings,
    SmoothingLearner,
    smoothed_cross_entropy,
)
from inversionlab.recognizers.losses import Cosface, CrossEntropy
from tests import defended


def settings(**changed: object) -> NegativeLabelSmoothingSettings:
    given = {"training": TrainingSettings(epochs=1, batch_size=8, learning_rate=5e-3)} | changed
    return NegativeLabelSmoothingSettings(**given)  # type: ignore[arg-type]


def batch() -> tuple[Tensor, Tensor]:
    context = defended.context()
    return context.private_NCHW.float() / 255, context.private_class_N


def test_the_loss_by_hand() -> None:
    """p = (3/4, 1/4): at a = -1/2, L = -3/2 log p_y + 1/4 (log p_1 + log p_2)."""
    logit_NK = torch.tensor([[math.log(3), 0.0]]).repeat(2, 1)
    right, wrong = math.log(3 / 4), math.log(1 / 4)
    first = -1.5 * right + 0.25 * (right + wrong)
    second = -1.5 * wrong + 0.25 * (right + wrong)
    found = smoothed_cross_entropy(logit_NK, torch.tensor([0, 1]), -0.5)
    assert float(found) == pytest.approx((first + second) / 2)


@pytest.mark.parametrize("smoothing", [0.0, 0.1, 0.7])
def test_it_is_pytorchs_loss_where_pytorch_has_one(smoothing: float) -> None:
    rng = torch.Generator().manual_seed(1)
    logit_NK, y_N = 5 * torch.randn(6, 4, generator=rng), torch.tensor([0, 1, 2, 3, 3, 0])
    expected = functional.cross_entropy(logit_NK, y_N, label_smoothing=smoothing)
    torch.testing.assert_close(smoothed_cross_entropy(logit_NK, y_N, smoothing), expected)


def test_a_sure_picture_is_still_pushed_away_from_the_others() -> None:
    """The slope in a wrong logit is p_k - a / K; without smoothing it is 0 here."""
    logit_NK = torch.tensor([[200.0, 0.0, 0.0, 0.0]], requires_grad=True)
    loss = smoothed_cross_entropy(logit_NK, torch.tensor([0]), -0.2)
    (slope_NK,) = torch.autograd.grad(loss, logit_NK)
    torch.testing.assert_close(slope_NK, torch.tensor([[-0.15, 0.05, 0.05, 0.05]]))


@pytest.mark.parametrize(
    ("progress", "expected"), [(0.0, 0.0), (0.25, 0.0), (0.5, 0.0), (0.75, -0.025), (1.0, -0.05)]
)
def test_the_smoothing_falls_in_the_second_half(progress: float, expected: float) -> None:
    chosen = settings()
    assert chosen.smoothing_at(progress) == pytest.approx(expected)
    learner = SmoothingLearner(chosen, defended.context())
    learner.schedule(progress)
    assert learner.smoothing == pytest.approx(expected)


def test_it_may_begin_elsewhere() -> None:
    assert settings(begins=0.0, smoothing=-0.4).smoothing_at(0.5) == pytest.approx(-0.2)
    assert settings(begins=0.8, smoothing=-0.4).smoothing_at(0.9) == pytest.approx(-0.2)


@pytest.mark.parametrize("head", ["cosface", "cross_entropy"])
def test_a_step_descends_the_loss_on_the_card(head: str) -> None:
    """With CosFace the smoothing applies to the logits with the margin."""
    context = defended.context()
    kind: Any = Cosface if head == "cosface" else CrossEntropy
    network: Any = context.blueprint.new_network()
    network.head = kind(kind.Settings(), feature_size=16, classes=defended.CLASSES)
    blueprint = dataclasses.replace(context.blueprint, new_network=lambda: network)
    learner = SmoothingLearner(
        settings(smoothing=-0.6), dataclasses.replace(context, blueprint=blueprint)
    )
    learner.training = None  # the step size has nothing to do with the gradients
    learner.schedule(1.0)
    network.train()
    for layer in network.modules():
        if isinstance(layer, torch.nn.Dropout):
            layer.p = 0.0
    twin: Any = copy.deepcopy(network)
    x_NCHW, y_N = batch()
    learner.step(x_NCHW, y_N, torch.Generator(), lambda parameters: None)
    feature_ND = twin.features(x_NCHW)
    logit_NK = twin.head(feature_ND)
    if head == "cosface":
        margin_NK = functional.one_hot(y_N, defended.CLASSES).float() * twin.head.margin
        logit_NK = twin.head.scale * (logit_NK / twin.head.scale - margin_NK)
    log_p_NK = logit_NK.log_softmax(1)
    right_N = log_p_NK[torch.arange(len(y_N)), y_N]
    (-1.6 * right_N + 0.6 / defended.CLASSES * log_p_NK.sum(1)).mean().backward()
    for (name, mine), expected in zip(network.named_parameters(), twin.parameters(), strict=True):
        torch.testing.assert_close(mine.grad, expected.grad, rtol=1e-3, atol=1e-5, msg=name)


def test_pictures_end_farther_from_the_other_people() -> None:
    images, y_N = defended.people(defended.CLASSES, 8, 1)
    wrong_NK = ~functional.one_hot(y_N, defended.CLASSES).bool()
    training = TrainingSettings(epochs=12, batch_size=8, learning_rate=5e-3)
    cosines = []
    for smoothing in (0.0, -1.0):
        model: Any = defended.trained(settings(smoothing=smoothing, training=training))
        cosine_NK = model.head.cosine(model.features(images.float() / 255))
        cosines.append(float(cosine_NK[wrong_NK].mean()))
    assert cosines[1] < cosines[0] - 0.01


def test_augments_as_the_victim_does() -> None:
    seen = []

    def mirror(x_NCHW: Tensor, rng: torch.Generator) -> Tensor:
        seen.append(len(x_NCHW))
        return x_NCHW.flip(3)

    context = dataclasses.replace(defended.context(), augment=mirror)
    job = NegativeLabelSmoothing(settings()).training_job(context)
    x_NCHW, y_N = batch()
    job.learner.step(x_NCHW, y_N, torch.Generator(), lambda parameters: None)
    assert seen == [len(x_NCHW)]
