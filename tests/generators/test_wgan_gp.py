"""The critic's losses and its turns with the generator."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from inversionlab import generators
from inversionlab.generators.gan_training import GanLearner
from inversionlab.generators.wgan_gp import WganGp, gradient_penalty

PIXELS = 3 * 16 * 16


class _Sum(nn.Module):
    """A critic whose slope is `weight` in every pixel."""

    def __init__(self, weight: float) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.tensor(weight))

    def forward(self, x_NCHW: Tensor) -> Tensor:
        return self.weight * x_NCHW.sum(dim=(1, 2, 3))


def _learner(**more) -> GanLearner:
    settings = WganGp.Settings(latent_size=6, width=4, discriminator_width=4, **more)
    learner = generators.learner(settings, channels=3, image_size=16, seed=0)
    assert isinstance(learner, GanLearner)
    return learner


def _step(learner: GanLearner, x_NCHW: Tensor, seed: int = 0) -> dict[str, float]:
    rng = torch.Generator().manual_seed(seed)
    nobody = torch.zeros(len(x_NCHW), dtype=torch.int64)
    losses = learner.step(x_NCHW, nobody, rng, lambda p: None)
    return {name: loss.item() for name, loss in losses.items()}


def _put(learner: GanLearner, critic: nn.Module) -> None:
    learner.discriminator = critic
    learner.modules = {**learner.modules, "discriminator": critic}


@pytest.mark.parametrize(("length", "expected"), [(3.0, 4.0), (1.0, 0.0), (0.0, 1.0)])
def test_the_penalty_is_the_squared_distance_of_the_slope_from_one(length, expected):
    critic = _Sum(length / PIXELS**0.5)
    real_NCHW, fake_NCHW = torch.rand(4, 3, 16, 16), torch.rand(4, 3, 16, 16)
    penalty = gradient_penalty(critic, real_NCHW, fake_NCHW, torch.rand(4))
    assert penalty.item() == pytest.approx(expected, abs=1e-4)


def test_the_penalty_is_taken_between_the_pictures():
    """D(u) = sum u^2 / 2 has the slope u: from zeros to c everywhere, e c sqrt(pixels) long."""

    def critic(x_NCHW):
        return x_NCHW.square().sum(dim=(1, 2, 3)) / 2

    real_NCHW = torch.full((2, 3, 16, 16), 2 / PIXELS**0.5)
    zeros_NCHW = torch.zeros_like(real_NCHW)
    penalty = gradient_penalty(critic, real_NCHW, zeros_NCHW, torch.tensor([0.0, 1.0]))
    # e = 0: the slope is 0, (0 - 1)^2 = 1. e = 1: it is 2, (2 - 1)^2 = 1.
    assert penalty.item() == pytest.approx(1.0, abs=1e-3)
    half = gradient_penalty(critic, real_NCHW, zeros_NCHW, torch.tensor([0.5, 0.5]))
    assert half.item() == pytest.approx(0.0, abs=1e-6)


def test_the_distance_by_hand():
    learner = _learner()
    last = learner.generator[-2]
    last.weight.data.zero_()
    last.bias.data.zero_()  # every generated picture is sigmoid(0) = 0.5
    _put(learner, _Sum(1 / PIXELS))  # the mean of the pixels
    assert _step(learner, torch.full((4, 3, 16, 16), 0.9))["distance"] == pytest.approx(0.4)


def test_the_generator_waits_for_its_turn():
    learner = _learner(critic_steps=3)
    x_NCHW = torch.rand(4, 3, 16, 16)
    moved = []
    for seed in range(6):
        before = [p.detach().clone() for p in learner.generator.parameters()]
        critic = next(learner.discriminator.parameters()).detach().clone()
        _step(learner, x_NCHW, seed)
        now = list(learner.generator.parameters())
        moved.append(any(not torch.equal(a, b) for a, b in zip(before, now, strict=True)))
        assert not torch.equal(critic, next(learner.discriminator.parameters()))
    assert moved == [True, False, False, True, False, False]


def _striped(count: int, rng: torch.Generator) -> Tensor:
    """Bright above, dark below, each picture its own brightness."""
    row_H = torch.linspace(0.9, 0.1, 16)[None, None, :, None]
    level_N = 0.8 + 0.2 * torch.rand(count, 1, 1, 1, generator=rng)
    return (row_H * level_N).expand(count, 3, 16, 16)


def test_the_product_holds_the_critic_that_learned_and_it_prefers_real_pictures():
    learner = _learner()
    rng = torch.Generator().manual_seed(1)
    for seed in range(40):
        _step(learner, _striped(8, rng), seed)
    product = learner.product()
    assert isinstance(product, WganGp)
    state = learner.discriminator.state_dict()
    assert all(torch.equal(product.state_dict()[f"discriminator.{k}"], state[k]) for k in state)
    real_N = product.eval().critic(_striped(16, rng))
    noise_N = product.critic(torch.rand(16, 3, 16, 16, generator=rng))
    assert real_N.min() > noise_N.max()
