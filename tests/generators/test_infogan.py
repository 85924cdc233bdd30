"""The codes of InfoGAN and what its head reads of them."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from inversionlab import generators
from inversionlab.generators.gan_training import GanLearner
from inversionlab.generators.infogan import InfoGan


def _settings(**more) -> InfoGan.Settings:
    shape = {"latent_size": 3, "gaussian_codes": 2, "categories": 4}
    return InfoGan.Settings(width=4, discriminator_width=4, **shape, **more)


def _net() -> InfoGan:
    net = generators.build(_settings(), channels=3, image_size=16).eval()
    assert isinstance(net, InfoGan)
    return net


def test_the_latent_holds_noise_and_codes():
    net = _net()
    assert net.latent_size == 3 + 2 + 4
    z_ND = torch.zeros(1, 9)
    z_ND[0, 3:5] = torch.tensor([0.5, -2.0])
    z_ND[0, 5] = math.log(2) / 2  # softmax(2 u) gives it twice the weight of the three others
    gaussian_NG, choice_NC = net.maker.codes(z_ND)
    assert gaussian_NG.tolist() == [[0.5, -2.0]]
    torch.testing.assert_close(choice_NC, torch.tensor([[0.4, 0.2, 0.2, 0.2]]))


def _out(mean: float, log_sigma: float, logits: list[float]) -> Tensor:
    return torch.tensor([[7.0, mean, mean, log_sigma, log_sigma, *logits]])  # 7: the score


@pytest.mark.parametrize(
    ("mean", "log_sigma", "logits", "expected"),
    [
        # Codes (1, 1) and category 0. What the prior says: 1/2 - 1/2 for each, log 4 - log 4.
        (0.0, 0.0, [0.0] * 4, 0.0),
        # The category is known for sure: -log 4.
        (0.0, 0.0, [100.0, 0.0, 0.0, 0.0], -math.log(4)),
        # Means are right and sigma = 1/e: -1 - 1/2 for each of the two.
        (1.0, -1.0, [0.0] * 4, -3.0),
        # Sure and wrong: error 1 at the bound sigma = exp(-2).
        (0.0, -9.0, [0.0] * 4, 2 * (0.5 * math.exp(4) - 2.5)),
    ],
)
def test_surprise_by_hand(mean, log_sigma, logits, expected):
    surprise = _net().discriminator.surprise(
        _out(mean, log_sigma, logits), torch.ones(1, 2), torch.tensor([[1.0, 0.0, 0.0, 0.0]])
    )
    assert surprise.item() == pytest.approx(expected, rel=1e-5, abs=1e-5)


def _train(learner: GanLearner, steps: int) -> list[float]:
    rng = torch.Generator().manual_seed(0)
    nobody = torch.zeros(16, dtype=torch.int64)
    return [
        learner.step(torch.rand(16, 3, 16, 16, generator=rng), nobody, rng, lambda p: None)[
            "beside"
        ].item()
        for _ in range(steps)
    ]


def test_codes_become_readable():
    settings = _settings(information_weight=1.0, ada_limit=0.0)
    learner = generators.learner(settings, channels=3, image_size=16, seed=0)
    assert isinstance(learner, GanLearner)
    further = _train(learner, 60)
    assert abs(further[0]) < 1  # nats: next to nothing is known of the codes at first
    assert sum(further[-5:]) / 5 < -0.5


def test_without_weight_the_generator_ignores_the_head():
    learner = generators.learner(
        _settings(information_weight=0.0), channels=3, image_size=16, seed=0
    )
    assert isinstance(learner, GanLearner)
    before = [p.detach().clone() for p in learner.discriminator.reader.parameters()]
    assert _train(learner, 2) == [0.0, 0.0]
    after = learner.discriminator.reader.parameters()
    assert all(torch.equal(a, b) for a, b in zip(before, after, strict=True))
