"""Bilateral dependency optimisation: HSIC by hand and as published, and what training does to it."""

from __future__ import annotations

import copy
import dataclasses
import math
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from inversionlab.core.learner import TrainingSettings
from inversionlab.core.settings import ConfigError
from inversionlab.defenses.base import VictimBlueprint
from inversionlab.defenses.bido import (
    RIDGE,
    Bido,
    BidoLearner,
    BidoSettings,
    centred,
    dependence,
    gaussian_kernel,
)
from tests import defended, tiny


def settings(**changed: object) -> BidoSettings:
    given = {"training": TrainingSettings(epochs=1, batch_size=8, learning_rate=5e-3)} | changed
    return BidoSettings(**given)  # type: ignore[arg-type]


def draw(*shape: int, seed: int = 1) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def batch() -> tuple[Tensor, Tensor]:
    context = defended.context()
    return context.private_NCHW.float() / 255, context.private_class_N


def pair(likeness: float) -> Tensor:
    """The kernel matrix of two samples."""
    return torch.tensor([[1.0, likeness], [likeness, 1.0]])


def test_the_kernel_by_hand() -> None:
    """|(0, 0) - (3, 4)|^2 = 25 and D = 2: exp(-25 / (2 s^2 2))."""
    x_ND = torch.tensor([[0.0, 0.0], [3.0, 4.0]])
    torch.testing.assert_close(gaussian_kernel(x_ND, 5.0), pair(math.exp(-0.25)))
    torch.testing.assert_close(gaussian_kernel(x_ND, 2.5), pair(math.exp(-1.0)))
    torch.testing.assert_close(gaussian_kernel(x_ND + 100, 5.0), pair(math.exp(-0.25)))


def test_plain_dependence_of_two_samples_by_hand() -> None:
    """K~ = (1 - a) / 2 [[1, -1], [-1, 1]], so tr(K~ L~) / (2 - 1)^2 = (1 - a) (1 - b)."""
    found = dependence(pair(0.6), pair(0.25), normalized=False)
    assert float(found) == pytest.approx(0.4 * 0.75)


def test_normalised_dependence_of_two_samples_by_hand() -> None:
    """K~ has one eigenvalue 1 - a, whose share after the ridge is (1 - a) / (1 - a + 2 e)."""
    found = dependence(pair(0.6), pair(0.9999), normalized=True)
    expected = 0.4 / (0.4 + 2 * RIDGE) * 1e-4 / (1e-4 + 2 * RIDGE)
    assert float(found) == pytest.approx(expected, rel=1e-3)


def test_normalised_dependence_of_labels_on_themselves() -> None:
    """The centred label kernel of c classes has rank c - 1, and R is the projection on it."""
    y_N = torch.tensor([0, 0, 1, 1, 1, 2, 4, 4])
    label_NN = (y_N[:, None] == y_N[None]).float()
    assert float(dependence(label_NN, label_NN, True)) == pytest.approx(3, abs=1e-3)


@pytest.mark.parametrize("normalized", [True, False])
def test_nothing_depends_on_a_constant(normalized: bool) -> None:
    constant_NN = gaussian_kernel(torch.ones(6, 4), 5.0)
    kernel_NN = gaussian_kernel(draw(6, 4), 5.0)
    assert float(dependence(constant_NN, kernel_NN, normalized)) == pytest.approx(0, abs=1e-6)


def test_it_is_the_published_estimate() -> None:
    """R = K H (K H + e m I)^-1 without symmetry, and tr(R_x R_z)."""
    count = 9
    x_NN, z_NN = (gaussian_kernel(draw(count, 5, seed=s), 5.0).double() for s in (1, 2))
    h_NN = torch.eye(count).double() - 1 / count
    torch.testing.assert_close(centred(x_NN), h_NN @ x_NN @ h_NN)
    expected = torch.eye(count).double()
    for kernel_NN in (x_NN, z_NN):
        half_NN = kernel_NN @ h_NN
        ridge_NN = RIDGE * count * torch.eye(count)
        expected = expected @ half_NN @ torch.linalg.inv(half_NN + ridge_NN)
    found = dependence(x_NN.float(), z_NN.float(), True)
    assert float(found) == pytest.approx(float(expected.trace()), rel=1e-3)


def test_a_picture_that_is_there_twice_gives_finite_gradients() -> None:
    x_ND = draw(4, 3)[[0, 0, 1, 2]].requires_grad_(True)
    kernel_NN = gaussian_kernel(x_ND, 5.0)
    label_NN = torch.eye(4)
    (slope_ND,) = torch.autograd.grad(dependence(kernel_NN, label_NN, True), x_ND)
    assert bool(slope_ND.isfinite().all())


@pytest.mark.parametrize("normalized", [True, False])
def test_a_step_descends_the_loss_on_the_card(normalized: bool) -> None:
    chosen = settings(input_weight=0.3, label_weight=0.7, normalized=normalized)
    learner = BidoLearner(chosen, defended.context())
    model = learner.recognizer.train()
    for layer in model.modules():
        if isinstance(layer, nn.Dropout):
            layer.p = 0.0
    twin: Any = copy.deepcopy(model)
    x_NCHW, y_N = batch()
    learner.step(x_NCHW, y_N, torch.Generator(), lambda parameters: None)
    # conv, norm, ReLU | block | flatten, dropout, dense, norm
    outputs = [twin.backbone.layers[:3](x_NCHW * 2 - 1)]
    outputs.append(twin.backbone.layers[3](outputs[-1]))
    outputs.append(twin.backbone.layers[4:](outputs[-1]))
    loss = twin.head.loss(outputs[-1], y_N)
    input_NN = gaussian_kernel(x_NCHW.flatten(1), 5.0)
    label_NN = (y_N[:, None] == y_N[None]).float()
    for z_N in outputs:
        z_NN = gaussian_kernel(z_N.flatten(1), 5.0)
        loss = loss + 0.3 * dependence(input_NN, z_NN, normalized)
        loss = loss - 0.7 * dependence(z_NN, label_NN, normalized)
    loss.backward()
    for (name, mine), expected in zip(model.named_parameters(), twin.parameters(), strict=True):
        torch.testing.assert_close(mine.grad, expected.grad, rtol=2e-2, atol=2e-3, msg=name)


def last_sums(**changed: object) -> dict[str, float]:
    learner = BidoLearner(settings(**changed), defended.context())
    learner.recognizer.train()
    x_NCHW, y_N = batch()
    losses = {}
    for step in range(40):
        torch.manual_seed(step)
        losses = learner.step(x_NCHW, y_N, torch.Generator(), lambda parameters: None)
    return {name: float(value) for name, value in losses.items()}


def test_prices_move_what_they_price() -> None:
    free = last_sums(input_weight=1e-6, label_weight=0.0)
    assert last_sums(input_weight=5.0, label_weight=0.0)["input"] < 0.8 * free["input"]
    most = 3 * (defended.CLASSES - 1)  # of three stages
    missing = most - last_sums(input_weight=0.0, label_weight=5.0)["label"]
    assert 0 < missing < 0.8 * (most - free["label"])


def test_it_also_learns_in_half_precision() -> None:
    learner = BidoLearner(settings(), defended.context())
    learner.precision = "bf16"
    x_NCHW, y_N = batch()
    losses = learner.step(x_NCHW, y_N, torch.Generator(), lambda parameters: None)
    assert all(math.isfinite(float(value)) for value in losses.values())


def test_augments_as_the_victim_does_and_compares_with_what_the_network_saw() -> None:
    """A black picture tells nothing: HSIC with it is 0."""
    context = dataclasses.replace(
        defended.context(), augment=lambda x_NCHW, rng: torch.zeros_like(x_NCHW)
    )
    learner = BidoLearner(settings(), context)
    x_NCHW, y_N = batch()
    losses = learner.step(x_NCHW, y_N, torch.Generator(), lambda parameters: None)
    assert float(losses["input"]) == pytest.approx(0, abs=1e-4)


def test_no_price_at_all_is_refused() -> None:
    with pytest.raises(ConfigError, match="input_weight = label_weight = 0"):
        tiny.experiment(
            sweep=None, defense={"name": "bido", "input_weight": 0.0, "label_weight": 0.0}
        )


def test_a_backbone_without_stages_is_refused() -> None:
    def new_network() -> nn.Module:
        model: Any = defended.blueprint().new_network()
        model.backbone.layers = nn.Identity()
        return model

    with pytest.raises(ValueError, match="bido: needs the stages"):
        Bido(settings()).fits(VictimBlueprint(defended.blueprint().shape, new_network), 40)
