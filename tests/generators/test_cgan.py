"""Conditions of the conditional GAN: their prior, and what they do to the pictures."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from inversionlab import generators
from inversionlab.generators.cgan import SPREAD, Cgan, ConditionalGenerator
from inversionlab.generators.gan_training import GanLearner


def _learner(classes: int = 3, **more) -> GanLearner:
    settings = Cgan.Settings(latent_size=4, width=4, discriminator_width=4, **more)
    learner = generators.learner(settings, channels=1, image_size=16, seed=0, classes=classes)
    assert isinstance(learner, GanLearner)
    return learner


def _generator(share: list[float], sharpness: float) -> ConditionalGenerator:
    generator = _learner(classes=len(share)).generator
    assert isinstance(generator, ConditionalGenerator)
    generator.share_K.copy_(torch.tensor(share))
    generator.sharpness.fill_(sharpness)
    return generator


def test_the_condition_of_a_latent_by_hand():
    generator = _generator([0.5, 0.25, 0.25], 2.0)
    z_ND = torch.zeros(2, 7)
    z_ND[1, 5:] = math.log(2) / 2  # doubles the weights 0.25
    expected = torch.tensor([[0.5, 0.25, 0.25], [1 / 3, 1 / 3, 1 / 3]])
    torch.testing.assert_close(generator.condition(z_ND), expected)


def test_every_condition_has_its_latent():
    generator = _generator([0.7, 0.2, 0.1], 1.7)
    z_ND = torch.randn(3, 7, generator=torch.Generator().manual_seed(0))
    y_NK = torch.tensor([[1.0, 0.0, 0.0], [0.2, 0.5, 0.3], [0.0, 0.5, 0.5]])
    found_ND = generator.conditioned(z_ND, y_NK)
    torch.testing.assert_close(generator.condition(found_ND), y_NK, atol=1e-5, rtol=0)
    assert torch.equal(found_ND[:, :4], z_ND[:, :4])


def _fit(learner: GanLearner, y_NK: Tensor, steps: int = 150, sync=lambda p: None) -> Tensor:
    """Conditions drawn from the prior after it was fitted to these scores."""
    rng = torch.Generator().manual_seed(0)
    for step in range(steps):
        z_ND = learner.product().draw(len(y_NK), rng)
        learner.generator.fit_prior(y_NK, z_ND, step, sync)
    return learner.generator.condition(learner.product().draw(2000, rng))


@pytest.mark.parametrize("sure", [0.9, 0.5, 0.2])
def test_drawn_conditions_become_as_pure_as_the_scores(sure):
    classes = 10
    y_NK = torch.full((40, classes), (1 - sure) / (classes - 1))
    y_NK[torch.arange(40), torch.arange(40) % classes] = sure
    drawn_NK = _fit(_learner(classes), y_NK)
    purity = sure**2 + (1 - sure) ** 2 / (classes - 1)
    assert drawn_NK.square().sum(1).mean().item() == pytest.approx(purity, rel=0.15)
    torch.testing.assert_close(drawn_NK.mean(0), torch.full((10,), 0.1), atol=0.02, rtol=0)


def test_a_class_that_no_picture_shows_stays_within_reach():
    learner = _learner()
    drawn_NK = _fit(learner, torch.tensor([[0.5, 0.5, 0.0]]).expand(8, -1))
    share_K = learner.generator.share_K
    assert share_K.tolist() == pytest.approx([0.45 + SPREAD / 3] * 2 + [SPREAD / 3], abs=0.01)
    assert drawn_NK[:, 2].mean() < 0.2


def test_the_prior_follows_the_scores_of_all_workers():
    learner = _learner()

    def sync(parameters):
        for p in parameters:  # purities and shares: the others saw class 2 only
            p.grad[2:] = torch.tensor([0.0, 0.0, 1.0])

    _fit(learner, torch.tensor([[1.0, 0.0, 0.0]]).expand(8, -1), sync=sync)
    assert learner.generator.share_K.argmax() == 2


def test_a_truncated_row_counts_as_a_whole_one():
    x_NCHW = torch.rand(4, 1, 16, 16, generator=torch.Generator().manual_seed(1))
    y_NK = torch.tensor([[0.6, 0.2, 0.2], [0.1, 0.8, 0.1]]).repeat(2, 1)
    losses = []
    for factor in (1.0, 0.25):
        learner, rng = _learner(), torch.Generator().manual_seed(0)
        losses.append(learner.step(x_NCHW, factor * y_NK, rng, lambda p: None))
    for name in losses[0]:
        torch.testing.assert_close(losses[0][name], losses[1][name])


def test_pictures_follow_their_condition():
    """Class 0 is dark and class 1 is bright; the generator must learn which is which."""
    learner = _learner(classes=2, ada_limit=0.0)
    y_NK = torch.eye(2).repeat(8, 1)
    x_NCHW = (0.2 + 0.6 * y_NK[:, 1])[:, None, None, None].expand(16, 1, 16, 16)
    rng = torch.Generator().manual_seed(0)
    for _ in range(60):
        learner.step(x_NCHW, y_NK, rng, lambda p: None)
    net = learner.product().eval()
    assert isinstance(net, Cgan)
    z_ND = net.maker.conditioned(net.draw(16, rng), y_NK)
    level_N = net(z_ND).mean(dim=(1, 2, 3))
    assert level_N[1::2].mean() > level_N[::2].mean() + 0.2
