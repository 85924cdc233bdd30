"""The inversion-specific GAN of KED-MI: its losses, and what it takes from the scores."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from inversionlab import generators
from inversionlab.core.settings import ConfigError
from inversionlab.generators.gan_training import GanLearner
from inversionlab.generators.ked_gan import KedGan, entropy, reality_loss, soft_cross_entropy

SETTINGS = KedGan.Settings(latent_size=6, width=4, discriminator_width=4)


def _learner(classes: int = 5, **change: float) -> GanLearner:
    settings = SETTINGS.model_copy(update=change)
    made = generators.learner(settings, channels=3, image_size=16, seed=0, classes=classes)
    assert isinstance(made, GanLearner)
    return made


def _step(learner: GanLearner, x_NCHW: Tensor, score_NK: Tensor, seed: int = 0):
    rng = torch.Generator().manual_seed(seed)
    return learner.step(x_NCHW, score_NK, rng, lambda p: None)


def _colours(count: int) -> Tensor:
    colour = torch.rand(count, 3, 1, 1, generator=torch.Generator().manual_seed(1))
    return colour.expand(-1, -1, 16, 16)


@pytest.mark.parametrize(("size", "channels"), [(16, 1), (24, 3), (48, 1), (64, 3)])
def test_sizes(size, channels):
    net = generators.build(SETTINGS, channels=channels, image_size=size, classes=7).eval()
    assert isinstance(net, KedGan)
    x_NCHW = net(net.draw(2, torch.Generator().manual_seed(0)))
    assert x_NCHW.shape == (2, channels, size, size)
    assert net.critic(x_NCHW).shape == (2,)
    assert net.class_logits(x_NCHW).shape == (2, 7)


def test_it_needs_classes():
    with pytest.raises(ConfigError, match="classes = 0"):
        generators.build(SETTINGS, channels=3, image_size=16)


def test_soft_cross_entropy_by_hand():
    # Probabilities (1/4, 3/4) and (1/2, 1/2); the second row was truncated to its largest score.
    logits_NK = torch.tensor([[0.0, math.log(3)], [2.0, 2.0]])
    score_NK = torch.tensor([[0.5, 0.5], [0.8, 0.0]])
    first = 0.5 * math.log(4) + 0.5 * math.log(4 / 3)
    expected = (first + 0.8 * math.log(2)) / 2
    assert soft_cross_entropy(logits_NK, score_NK).item() == pytest.approx(expected, rel=1e-5)


def test_reality_loss_by_hand():
    # The sum of the exponentials is 3 on the real picture: D = 3/4. On the fake one 1/2: D = 1/3.
    real_NK = torch.tensor([[0.0, math.log(2)]])
    fake_NK = torch.tensor([[math.log(0.25), math.log(0.25)]])
    expected = 0.5 * (-math.log(3 / 4) - math.log(2 / 3))
    assert reality_loss(real_NK, fake_NK).item() == pytest.approx(expected, rel=1e-5)


def test_entropy_by_hand():
    logits_NK = torch.tensor([[1.0, 1.0, 1.0, 1.0], [100.0, 0.0, 0.0, 0.0]])
    assert entropy(logits_NK).item() == pytest.approx(math.log(4) / 2, rel=1e-5)


def test_the_critic_is_the_log_sum_of_the_class_logits_one_by_one():
    net = generators.build(SETTINGS, channels=3, image_size=16, classes=5).eval()
    x_NCHW = torch.rand(4, 3, 16, 16)
    logits_NK = net.class_logits(x_NCHW)
    torch.testing.assert_close(net.critic(x_NCHW), logits_NK.exp().sum(dim=1).log())
    torch.testing.assert_close(net.critic(x_NCHW)[2:3], net.critic(x_NCHW[2:3]))


def test_the_critic_learns_to_prefer_real_pictures():
    learner = _learner()
    x_NCHW = _colours(16)
    for i in range(30):
        _step(learner, x_NCHW, torch.full((16, 5), 0.2), seed=i)
    net = learner.product().eval()
    assert isinstance(net, KedGan)
    noise_NCHW = torch.rand(16, 3, 16, 16, generator=torch.Generator().manual_seed(2))
    assert net.critic(x_NCHW).mean() > net.critic(noise_NCHW).mean() + 0.3


def test_the_discriminator_learns_the_classes_from_the_scores():
    learner = _learner(classes=2, discriminator_rate=20.0)
    top_N = torch.arange(16) % 2 == 0  # bright at the top, or else at the bottom
    x_NCHW = 0.2 + 0.1 * torch.rand(16, 3, 16, 16, generator=torch.Generator().manual_seed(1))
    x_NCHW[top_N, :, :8] += 0.6
    x_NCHW[~top_N, :, 8:] += 0.6
    score_NK = torch.stack([~top_N, top_N], dim=1).float() * 0.8 + 0.1
    losses = [_step(learner, x_NCHW, score_NK, seed=i)["classes"].item() for i in range(40)]
    net = learner.product().eval()
    assert isinstance(net, KedGan)
    assert ((net.class_logits(x_NCHW).argmax(dim=1) == 1) == top_N).all()
    # No less than the entropy of the scores themselves.
    floor = -0.9 * math.log(0.9) - 0.1 * math.log(0.1)
    assert floor < losses[-1] < 0.9 * losses[0]


def test_scores_that_say_nothing_teach_no_class():
    learner = _learner()
    losses = _step(learner, _colours(4), torch.zeros(4, 5))
    assert losses["classes"].item() == 0


def test_the_entropy_term_moves_the_generator():
    """With a still discriminator and a heavy weight, generated pictures come to look like one class."""
    last = {}
    for weight in (0.0, 1000.0):
        learner = _learner(entropy_weight=weight, adversarial_weight=0.0)
        learner.discriminator.classes.weight.data *= 3
        learner.optimizers["discriminator"].param_groups[0]["lr"] = 0.0
        learner.optimizers["generator"].param_groups[0]["lr"] = 5e-3
        x_NCHW, score_NK = _colours(8), torch.full((8, 5), 0.2)
        for i in range(25):
            last[weight] = _step(learner, x_NCHW, score_NK, seed=i)["entropy"].item()
    assert last[1000.0] < 0.7 * last[0.0]
