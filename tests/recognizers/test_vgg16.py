"""The layers of VGG-16 against the paper's, its initial weights, and what it refuses."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from inversionlab.core.settings import ConfigError
from inversionlab.recognizers.vgg16 import Vgg16

SMALL = Vgg16.Settings(width=8, dense=32, dropout=0.0)


def _meta(settings: Vgg16.Settings, image_size: int) -> Vgg16:
    with torch.device("meta"):
        return Vgg16(settings, channels=3, image_size=image_size)


def test_it_has_as_many_weights_as_the_published_network():
    net = _meta(Vgg16.Settings(), 224)
    count = sum(p.numel() for p in net.parameters())
    assert count == 138_357_544 - (4096 * 1000 + 1000)  # without the layer of the 1000 classes


@pytest.mark.parametrize(("image_size", "side"), [(64, 2), (112, 3), (224, 7)])
def test_thirteen_convolutions_and_two_dense_layers(image_size, side):
    net = _meta(Vgg16.Settings(), image_size)
    kinds = [type(layer) for layer in net.layers]
    assert kinds.count(nn.Conv2d) == 13
    assert kinds.count(nn.MaxPool2d) == 5
    dense = [(d.in_features, d.out_features) for d in net.layers if isinstance(d, nn.Linear)]
    assert dense == [(512 * side**2, 4096), (4096, 4096)]


def test_batch_norm_follows_every_convolution_only_where_it_is_asked_for():
    plain = [type(layer) for layer in Vgg16(SMALL, channels=3, image_size=32).layers]
    assert nn.BatchNorm2d not in plain
    settings = SMALL.model_copy(update={"batch_norm": True})
    kinds = [type(layer) for layer in Vgg16(settings, channels=3, image_size=32).layers]
    after = [kinds[i + 1] for i, kind in enumerate(kinds) if kind is nn.Conv2d]
    assert after == [nn.BatchNorm2d] * 13


def test_different_pictures_start_with_different_features():
    """PyTorch's usual weights would shrink the signal at each of the fifteen layers."""
    torch.manual_seed(0)
    net = Vgg16(Vgg16.Settings(width=16, dense=128), channels=3, image_size=64).eval()
    feature_ND = net(torch.rand(8, 3, 64, 64))
    assert 0.05 < feature_ND.pow(2).mean().sqrt() < 20
    assert feature_ND.std(dim=0).mean() > 0.01 * feature_ND.abs().mean()


def test_too_small_pictures_are_refused():
    with pytest.raises(ConfigError, match="at least 32 pixels, not 31"):
        Vgg16(SMALL, channels=3, image_size=31)
