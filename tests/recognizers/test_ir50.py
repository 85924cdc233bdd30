"""The layers of IR-50 against face.evoLVe's, the unit by hand, and what it refuses."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from inversionlab.core.settings import ConfigError
from inversionlab.recognizers.ir50 import Ir50, _Unit

SMALL = Ir50.Settings(width=2, blocks=(1, 1, 1, 1), feature_size=6)


def _meta(image_size: int = 112, **change: object) -> Ir50:
    with torch.device("meta"):
        return Ir50(Ir50.Settings(**change), channels=3, image_size=image_size)


def _weights(net: nn.Module) -> int:
    return sum(p.numel() for p in net.parameters())


def test_fifty_layers():
    layers = [
        name
        for name, layer in _meta().named_modules()
        if isinstance(layer, nn.Conv2d | nn.Linear) and "shortcut" not in name
    ]
    assert len(layers) == 50


def test_it_has_as_many_weights_as_counted_by_hand():
    def unit(a: int, b: int) -> int:  # BN, conv, PReLU, conv, BN; conv 1x1 and BN if it grows
        grown = a * b + 2 * b if a != b else 0
        return 2 * a + 9 * a * b + b + 9 * b * b + 2 * b + grown

    stages = [(64, 64, 3), (64, 128, 4), (128, 256, 14), (256, 512, 3)]
    body = sum(unit(a, b) + (n - 1) * unit(b, b) for a, b, n in stages)
    first = 9 * 3 * 64 + 2 * 64 + 64
    last = 2 * 512 + (512 * 7 * 7 + 1) * 512 + 2 * 512
    assert _weights(_meta()) == first + body + last


def test_inner_norm_adds_one_normalisation_a_unit():
    channels = 3 * 64 + 4 * 128 + 14 * 256 + 3 * 512
    assert _weights(_meta(inner_norm=True)) - _weights(_meta()) == 2 * channels


@pytest.mark.parametrize(("image_size", "side"), [(32, 2), (64, 4), (112, 7), (224, 14)])
def test_the_map_is_a_sixteenth_of_the_picture(image_size, side):
    dense = next(layer for layer in _meta(image_size).layers if isinstance(layer, nn.Linear))
    assert dense.in_features == 512 * side**2


def test_a_unit_with_stride_and_without_growth_adds_every_second_pixel():
    unit = _Unit(1, 1, stride=2, inner_norm=False).eval()
    with torch.no_grad():
        for parameter in unit.body.parameters():
            parameter.zero_()
    x_NCHW = torch.arange(16.0).reshape(1, 1, 4, 4)
    assert unit(x_NCHW).flatten().tolist() == [0, 2, 8, 10]


def test_a_unit_has_no_activation_after_the_sum():
    unit = _Unit(2, 2, stride=1, inner_norm=True).eval()
    with torch.no_grad():
        for parameter in unit.body.parameters():
            parameter.zero_()
    x_NCHW = -torch.rand(1, 2, 4, 4)
    torch.testing.assert_close(unit(x_NCHW), x_NCHW)


def test_features_are_normalised_over_the_batch_in_training():
    net = Ir50(SMALL, channels=1, image_size=32)
    feature_ND = net(torch.rand(16, 1, 32, 32))
    torch.testing.assert_close(feature_ND.mean(dim=0), torch.zeros(6), atol=1e-4, rtol=0)


@pytest.mark.parametrize("image_size", [16, 40, 100, 240])
def test_other_picture_sizes_are_refused(image_size):
    with pytest.raises(ConfigError, match=f"multiple of 16 .* not {image_size}"):
        Ir50(SMALL, channels=1, image_size=image_size)


def test_a_stage_without_a_unit_is_refused():
    settings = Ir50.Settings(blocks=(1, 0, 1, 1))
    with pytest.raises(ConfigError, match="must be at least 1"):
        Ir50(settings, channels=1, image_size=32)
