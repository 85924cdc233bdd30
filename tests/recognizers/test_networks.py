"""Shapes, the user's own network, and settings that must be refused."""

from __future__ import annotations

import pytest
import torch
from pydantic import TypeAdapter
from torch import Tensor, nn

from inversionlab.core.settings import ConfigError, validate
from inversionlab.recognizers import RECOGNIZERS, RecognizerSettings
from inversionlab.recognizers.base import Backbone
from inversionlab.recognizers.imported import Imported
from inversionlab.recognizers.khosravy_cnn import KhosravyCnn


class MeanColour(nn.Module):
    """A user's network: features are the channel means, repeated."""

    def __init__(self, times: int = 1) -> None:
        super().__init__()
        self.times = times

    def forward(self, x: Tensor) -> Tensor:
        return x.mean(dim=(2, 3)).repeat(1, self.times)


class KeepsMap(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return x


class Counts(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return torch.zeros(len(x), 3, dtype=torch.int64)


class TellsNothing(nn.Module):
    def forward(self, x_NCHW: Tensor) -> Tensor:
        return x_NCHW.flatten(1)[:, :0]


class DividesByZero(nn.Module):
    def forward(self, x_NCHW: Tensor) -> Tensor:
        return x_NCHW.flatten(1) / 0


def _imported(name: str, **arguments: object) -> Imported:
    settings = Imported.Settings(path=f"{__name__}:{name}", arguments=arguments)
    return Imported(settings, channels=3, image_size=16)


SMALL = {
    "ir50": {"width": 4, "blocks": (1, 1, 2, 1), "feature_size": 24},
    "khosravy_cnn": {},
    "small_resnet": {},
    "torchvision": {"model": "shufflenet_v2_x0_5"},
    "vgg16": {"width": 4, "dense": 24},
    "yang_cnn": {"width": 4, "dense": 24},
}
"""Settings that make each network fast."""


def _small(name: str, channels: int, image_size: int) -> Backbone:
    torch.manual_seed(0)
    cls = RECOGNIZERS[name]
    return cls(cls.Settings(**SMALL[name]), channels=channels, image_size=image_size)


def test_every_network_is_tried():
    assert {*SMALL, "imported"} == {*RECOGNIZERS}


FITTING = [
    (name, image_size)
    for name in sorted(SMALL)
    for image_size in (16, 48, 64, 100, 112)
    # The tests of these two check what they refuse.
    if (name, image_size) not in {("ir50", 16), ("ir50", 100), ("vgg16", 16)}
]


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize(("name", "image_size"), FITTING)
def test_features_have_the_announced_size(name, image_size, channels):
    net = _small(name, channels, image_size).eval()
    feature_ND = net(torch.rand(2, channels, image_size, image_size))
    assert feature_ND.shape == (2, net.feature_size)


@pytest.mark.parametrize("name", sorted(SMALL))
def test_every_weight_and_every_picture_gets_a_gradient(name):
    net = _small(name, channels=3, image_size=64)
    x_NCHW = torch.rand(4, 3, 64, 64, requires_grad=True)
    feature_ND = net(x_NCHW)
    # A plain sum would be constant where the feature is batch-normalised.
    (feature_ND * torch.randn_like(feature_ND)).sum().backward()
    missing = [key for key, p in net.named_parameters() if p.grad is None or not p.grad.any()]
    assert missing == []
    assert (x_NCHW.grad.flatten(1).abs().sum(dim=1) > 0).all()


def test_khosravy_cnn_has_the_papers_weights():
    net = KhosravyCnn(KhosravyCnn.Settings(), channels=3, image_size=128)
    shapes = [tuple(p.shape) for p in net.parameters() if p.ndim > 1]
    assert shapes == [
        (8, 3, 5, 5),
        (16, 8, 5, 5),
        (32, 16, 3, 3),
        (64, 32, 3, 3),
        (1024, 64 * 8 * 8),  # 128 halved four times is 8
        (1024, 1024),
    ]


@pytest.mark.parametrize(
    ("change", "text"),
    [
        ({"kernels": (5, 5, 3)}, "`kernels` names 3"),
        ({"kernels": (5, 4, 3, 3)}, "must be odd"),
        ({"channels": (8, 0, 32, 64)}, "at least 1"),
        ({"channels": (4,) * 6, "kernels": (3,) * 6}, "at least 64 pixels"),
    ],
)
def test_khosravy_cnn_refuses(change, text):
    with pytest.raises(ConfigError, match=text):
        KhosravyCnn(KhosravyCnn.Settings(**change), channels=3, image_size=32)


@pytest.mark.parametrize("name", sorted(SMALL))
def test_each_picture_is_scored_alone_at_inference(name):
    net = _small(name, channels=3, image_size=32)
    net(torch.rand(8, 3, 32, 32))  # moves the running statistics away from 0 and 1
    net.eval()
    x_NCHW = torch.rand(3, 3, 32, 32)
    torch.testing.assert_close(net(x_NCHW)[1:2], net(x_NCHW[1:2]), atol=1e-5, rtol=1e-4)


def test_imported_network_gets_its_arguments_and_the_pictures_as_they_are():
    net = _imported("MeanColour", times=2)
    assert net.feature_size == 6
    x_NCHW = torch.zeros(1, 3, 16, 16)
    x_NCHW[:, 1] = 0.5
    assert net(x_NCHW).tolist() == [[0, 0.5, 0, 0, 0.5, 0]]
    assert net.module.training, "the dry run must leave the module as it was"


@pytest.mark.parametrize(
    ("path", "text"),
    [
        ("no_such_package_of_mine:Net", "cannot be imported"),
        (f"{__name__}:NoSuchClass", "cannot be imported"),
        (f"{__name__}:validate", "subclass of torch.nn.Module"),
        (f"{__name__}:KeepsMap", r"must return features \(2, D\)"),
        (f"{__name__}:Counts", "must return floats"),
        (f"{__name__}:TellsNothing", "one or more per picture"),
        (f"{__name__}:DividesByZero", "must return finite numbers"),
        ("torch.nn:Bilinear", "cannot be built"),
        ("torch.nn:Bilinear", "missing"),
    ],
)
def test_imported_network_is_refused_with_its_path(path, text):
    with pytest.raises(ConfigError, match=text) as caught:
        Imported(Imported.Settings(path=path), channels=3, image_size=16)
    assert path in str(caught.value)


def test_imported_network_that_does_not_fit_the_pictures_is_refused():
    settings = Imported.Settings(
        path="torch.nn:Linear", arguments={"in_features": 5, "out_features": 2}
    )
    with pytest.raises(ConfigError, match=r"fails on pictures of shape \(2, 3, 16, 16\)"):
        Imported(settings, channels=3, image_size=16)


@pytest.mark.parametrize("name", sorted(RECOGNIZERS))
def test_each_network_is_chosen_by_its_name(name):
    network = {"name": name} | ({"path": "a.b:C"} if name == "imported" else {})
    settings = validate(RecognizerSettings, {"network": network}, origin="test")
    assert isinstance(settings.network, RECOGNIZERS[name].Settings)
    again = TypeAdapter(RecognizerSettings).validate_json(settings.model_dump_json())
    assert again == settings


def test_an_unknown_network_is_refused_with_the_nearest_name():
    with pytest.raises(ConfigError, match="did you mean `small_resnet`"):
        validate(RecognizerSettings, {"network": {"name": "smal_resnet"}}, origin="test")
