"""The layers of Yang's classifier against the paper's, and what it refuses."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from inversionlab.core.settings import ConfigError
from inversionlab.recognizers.yang_cnn import YangCnn


def _shapes(image_size: int) -> list[tuple[int, ...]]:
    with torch.device("meta"):
        net = YangCnn(YangCnn.Settings(), channels=1, image_size=image_size)
    return [tuple(p.shape) for p in net.parameters() if p.ndim > 1]


def test_mnist_network_has_the_papers_weights():
    assert _shapes(32) == [
        (128, 1, 3, 3),
        (256, 128, 3, 3),
        (512, 256, 3, 3),
        (50, 512 * 4 * 4),  # 32 halved three times is 4; 10 classes, five units each
    ]


def test_face_network_has_the_papers_weights():
    assert _shapes(64) == [
        (128, 1, 3, 3),
        (256, 128, 3, 3),
        (512, 256, 3, 3),
        (1024, 512, 3, 3),
        (2650, 1024 * 4 * 4),  # 64 halved four times is 4; 530 classes, five units each
    ]


def test_set_sizes_replace_the_papers():
    settings = YangCnn.Settings(width=2, blocks=1, dense=7)
    net = YangCnn(settings, channels=3, image_size=64)
    shapes = [tuple(p.shape) for p in net.parameters() if p.ndim > 1]
    assert shapes == [(2, 3, 3, 3), (7, 2 * 32 * 32)]


def test_the_feature_is_linear_and_only_training_drops_units():
    settings = YangCnn.Settings(width=2, dense=400, dropout=0.5)
    net = YangCnn(settings, channels=1, image_size=32)
    x_NCHW = torch.rand(4, 1, 32, 32, generator=torch.Generator().manual_seed(0))
    dropped = (net.train()(x_NCHW) == 0).float().mean().item()
    assert 0.4 < dropped < 0.6
    feature_ND = net.eval()(x_NCHW)
    assert (feature_ND < 0).any(), "no activation follows the dense layer"
    assert (feature_ND != 0).all()


def test_a_hand_made_network_gives_the_hand_made_feature():
    """One block that copies the picture: the feature is the sum of the 2x2 maxima."""
    net = YangCnn(YangCnn.Settings(width=1, blocks=1, dense=1), channels=1, image_size=4).eval()
    conv, dense = net.layers[0], net.layers[-2]
    assert isinstance(conv, nn.Conv2d)
    assert isinstance(dense, nn.Linear)
    with torch.no_grad():
        conv.weight.zero_()[0, 0, 1, 1] = 1
        conv.bias.zero_()
        dense.weight.fill_(1)
        dense.bias.zero_()
    x_NCHW = torch.arange(16.0).reshape(1, 1, 4, 4) / 16
    expected = (5 + 7 + 13 + 15) / 16  # the lower right corner of each 2x2 square
    assert net(x_NCHW).item() == pytest.approx(expected, rel=1e-4)  # eps of the normalisation


def test_too_small_pictures_are_refused():
    with pytest.raises(ConfigError, match="blocks = 5: need pictures of at least 32 pixels"):
        YangCnn(YangCnn.Settings(width=1, blocks=5), channels=1, image_size=31)
