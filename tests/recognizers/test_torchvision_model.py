"""Features of torchvision's classifiers, what is refused, and that torchvision is imported late."""

from __future__ import annotations

import importlib.util
import sys

import pytest
import torch
from torch import Tensor, nn

from inversionlab.core.settings import ConfigError
from inversionlab.recognizers import Recognizer, RecognizerSettings, torchvision_model
from inversionlab.recognizers.torchvision_model import TorchvisionModel


def _make(model: str, channels: int = 3, image_size: int = 64) -> TorchvisionModel:
    settings = TorchvisionModel.Settings(model=model)
    return TorchvisionModel(settings, channels=channels, image_size=image_size)


@pytest.mark.parametrize(
    ("model", "size", "last"),
    [
        ("resnet18", 512, "fc"),
        ("mobilenet_v3_small", 1024, "classifier.3"),
        ("densenet121", 1024, "classifier"),
        ("googlenet", 1024, "fc"),
        ("shufflenet_v2_x0_5", 1024, "fc"),
    ],
)
def test_the_last_layer_on_the_features_gives_the_models_own_logits(model, size, last):
    from torchvision import models

    net = _make(model).eval()
    assert net.feature_size == size
    more = {"aux_logits": False, "init_weights": True} if model == "googlenet" else {}
    whole = models.get_model(model, weights=None, **more).eval()
    rest = whole.load_state_dict(net.module.state_dict(), strict=False)
    assert sorted(rest.missing_keys) == [f"{last}.bias", f"{last}.weight"]
    assert rest.unexpected_keys == []
    x_NCHW = torch.rand(2, 3, 64, 64)
    expected: Tensor = whole(x_NCHW * 2 - 1)
    torch.testing.assert_close(whole.get_submodule(last)(net(x_NCHW)), expected)


def test_squeezenet_loses_its_last_convolution():
    net = _make("squeezenet1_1").eval()
    convs = [layer for layer in net.module.modules() if isinstance(layer, nn.Conv2d)]
    assert net.feature_size == 512
    assert all(conv.out_channels != 1000 for conv in convs)


def test_gray_pictures_are_seen_as_three_equal_channels():
    net = _make("shufflenet_v2_x0_5", channels=1).eval()
    x_NCHW = torch.rand(2, 1, 64, 64)
    torch.testing.assert_close(net(x_NCHW), net(x_NCHW.repeat(1, 3, 1, 1)))


def test_making_it_leaves_it_in_training_with_untouched_statistics():
    net = _make("resnet18")
    assert all(module.training for module in net.modules())
    assert net.module.bn1.num_batches_tracked == 0
    assert not net.module.bn1.running_mean.any()


def test_the_seed_alone_sets_the_weights():
    settings = RecognizerSettings(network=TorchvisionModel.Settings(model="shufflenet_v2_x0_5"))

    def state(seed: int) -> Tensor:
        net = Recognizer(settings, classes=3, channels=1, image_size=32, seed=seed)
        return torch.cat([p.detach().flatten() for p in net.parameters()])

    first = state(1)
    torch.rand(1)  # the global stream must not matter
    assert torch.equal(first, state(1))
    assert not torch.equal(first, state(2))


@pytest.mark.parametrize(
    ("model", "text"),
    [
        ("resnet_18", "did you mean .*`resnet18`"),
        ("ResNet18", "did you mean .*`resnet18`"),
        ("something_else", "known: alexnet, "),
        ("fasterrcnn_resnet50_fpn", "not a picture classifier"),
        ("quantized_resnet18", "not a picture classifier"),
    ],
)
def test_other_names_are_refused(model, text):
    with pytest.raises(ConfigError, match=text) as caught:
        _make(model)
    assert f"model = {model}" in str(caught.value)


@pytest.mark.parametrize(("model", "image_size"), [("alexnet", 16), ("vit_b_32", 50)])
def test_pictures_that_do_not_fit_are_refused(model, image_size):
    with pytest.raises(ConfigError, match=f"does not fit pictures of {image_size} pixels"):
        _make(model, image_size=image_size)


def test_two_channels_are_refused():
    with pytest.raises(ConfigError, match="1 or 3 channels, not 2"):
        _make("resnet18", channels=2)


def test_torchvision_is_imported_only_when_the_network_is_made(monkeypatch):
    for name in [name for name in sys.modules if name.split(".")[0] == "torchvision"]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "torchvision", None)  # importing it now fails
    spec = importlib.util.spec_from_file_location("fresh_copy", torchvision_model.__file__)
    assert spec is not None
    assert spec.loader is not None
    fresh = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(fresh)
    assert fresh.TorchvisionModel.__name__ == "TorchvisionModel"
    with pytest.raises(ImportError):
        _make("resnet18")
