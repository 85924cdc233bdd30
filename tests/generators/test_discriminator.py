"""Minibatch discrimination and the augmentation before the discriminator."""

from __future__ import annotations

import math

import torch

from inversionlab.generators.augment_ada import augment_ada
from inversionlab.generators.discriminator import Discriminator, MinibatchDiscrimination


def _rng(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def test_minibatch_statistic_by_hand():
    layer = MinibatchDiscrimination(1, kernels=1, kernel_size=2)
    layer.project.weight.data = torch.tensor([[1.0], [2.0]])
    # Projections (0, 0), (1, 2), (0, 0): distances 3 between the middle one and the others.
    out_ND = layer(torch.tensor([[0.0], [1.0], [0.0]]))
    near = math.exp(-3)
    expected = torch.tensor([[0.0, (near + 1) / 2], [1.0, near], [0.0, (near + 1) / 2]])
    torch.testing.assert_close(out_ND, expected, atol=1e-6, rtol=0)


def test_minibatch_statistic_tells_a_collapsed_batch():
    layer = MinibatchDiscrimination(16, kernels=4)
    varied_ND = layer(5 * torch.randn(8, 16, generator=_rng()))
    same_ND = layer(torch.randn(1, 16, generator=_rng()).expand(8, -1))
    torch.testing.assert_close(same_ND[:, 16:], torch.ones(8, 4))
    assert float(varied_ND[:, 16:].detach().max()) < 0.5


def test_no_kernels_turn_it_off():
    net = Discriminator(4, channels=3, image_size=16, kernels=0)
    x_NCHW = torch.rand(4, 3, 16, 16)
    torch.testing.assert_close(net(x_NCHW)[1:2], net(x_NCHW[1:2]))


def test_no_augmentation_at_probability_zero():
    x_NCHW = torch.rand(3, 3, 16, 16)
    assert augment_ada(x_NCHW, 0.0, _rng()) is x_NCHW


def test_pictures_are_left_alone_as_often_as_the_probability_says():
    """Nine kinds at p = 0.1: a picture keeps its pixels with probability 0.9^9 = 0.387.

    A mirror of probability p changes nothing half of the time, so 0.95 * 0.9^8 = 0.409.
    """
    x_NCHW = torch.rand(1, 3, 8, 8, generator=_rng()).expand(2000, -1, -1, -1)
    out_NCHW = augment_ada(x_NCHW, 0.1, _rng(1))
    same = ((out_NCHW - x_NCHW).abs().flatten(1).max(1).values < 1e-5).float().mean()
    assert abs(float(same) - 0.409) < 0.04


def test_augmentation_lets_gradients_through():
    x_NCHW = torch.rand(8, 3, 16, 16, requires_grad=True)
    augment_ada(x_NCHW, 0.5, _rng()).sum().backward()
    assert x_NCHW.grad is not None
    assert (x_NCHW.grad.flatten(1).abs().sum(1) > 0).all()


def test_gray_pictures_are_augmented_too():
    assert augment_ada(torch.rand(4, 1, 16, 16), 1.0, _rng()).shape == (4, 1, 16, 16)
