"""Any classifier of torchvision, by its name in torchvision's registry, with fresh weights.

Structure: `torchvision.models.get_model(model, weights=None)`, its last layer (the one with a unit
a class) taken away; what went into that layer is the feature.
Inputs: (N, C, H, W) in [0, 1], rescaled to [-1, 1] inside; C = 1 (repeated three times) or 3; which
H = W fit depends on the model and is found by one dry forward pass.
Deviates: no weights are ever downloaded; pictures keep their size (torchvision's own training takes
224 pixels); GoogLeNet and Inception come without their auxiliary classifiers.
"""

from __future__ import annotations

import difflib
from typing import Any, Literal

import torch
from torch import Tensor, nn

from inversionlab.core.settings import ConfigError
from inversionlab.recognizers.base import Backbone, NetworkSettings


class TorchvisionModel(Backbone):
    """Wraps the model and takes its last layer away."""

    class Settings(NetworkSettings):
        """Which model."""

        name: Literal["torchvision"] = "torchvision"
        model: str = "resnet18"
        """A classifier's name as `torchvision.models.list_models(torchvision.models)` gives it."""

    def __init__(self, settings: Settings, *, channels: int, image_size: int) -> None:
        """Build for pictures of `channels` x `image_size` x `image_size`.

        Raises:
            ConfigError: the model is unknown or no classifier of pictures, or the pictures do not
            fit it.
        """
        super().__init__()
        if channels not in (1, 3):
            raise ConfigError(f"torchvision: needs pictures of 1 or 3 channels, not {channels}")
        _check_name(settings.model)
        self.module = _make(settings.model, image_size)
        self.feature_size = _take_last_layer(self.module)
        self._try(settings.model, channels, image_size)

    def forward(self, x_NCHW: Tensor) -> Tensor:
        """Features (N, D) of pictures (N, C, H, W) in [0, 1]."""
        feature_ND: Tensor = self.module((x_NCHW * 2 - 1).expand(-1, 3, -1, -1))
        return feature_ND

    def _try(self, model: str, channels: int, image_size: int) -> None:
        """One forward pass on two blank pictures, at inference, so that no statistics move."""
        x_NCHW = torch.zeros(2, channels, image_size, image_size)
        self.eval()
        try:
            with torch.no_grad():
                feature_ND = self(x_NCHW)
        except (AssertionError, RuntimeError, ValueError) as error:
            raise _no_fit(model, image_size, error) from error
        self.train()
        assert feature_ND.shape == (2, self.feature_size), (model, feature_ND.shape)


def _check_name(model: str) -> None:
    from torchvision import models  # takes a second, and only this network needs it

    classifiers = models.list_models(models)
    if model in classifiers:
        return
    if model in models.list_models():
        raise ConfigError(f"model = {model}: is a model of torchvision but no picture classifier")
    near = difflib.get_close_matches(model, classifiers, n=3)
    hint = (
        f"did you mean {' or '.join(f'`{name}`' for name in near)}?"
        if near
        else (f"known are: {', '.join(classifiers)}")
    )
    raise ConfigError(f"model = {model}: torchvision has no such classifier; {hint}")


def _make(model: str, image_size: int) -> nn.Module:
    from torchvision import models

    arguments: dict[str, Any] = {}
    if model in ("googlenet", "inception_v3"):
        # `init_weights` is their default too, but they warn where it is not given.
        arguments = {"aux_logits": False, "init_weights": True}
    elif model.startswith("vit_"):
        arguments = {"image_size": image_size}
    elif model.startswith("maxvit_"):
        arguments = {"input_size": (image_size, image_size)}
    try:
        made: nn.Module = models.get_model(model, weights=None, **arguments)
    except (AssertionError, ValueError) as error:
        raise _no_fit(model, image_size, error) from error
    return made


def _take_last_layer(module: nn.Module) -> int:
    """Put an identity in the place of the last layer with weights; returns the size of its input."""
    layers = [
        (name, layer)
        for name, layer in module.named_modules()
        if isinstance(layer, nn.Linear | nn.Conv2d)  # SqueezeNet ends with a convolution
    ]
    name, last = layers[-1]
    module.set_submodule(name, nn.Identity())
    return last.in_features if isinstance(last, nn.Linear) else last.in_channels


def _no_fit(model: str, image_size: int, error: Exception) -> ConfigError:
    why = str(error).partition("\n")[0]
    return ConfigError(f"model = {model}: does not fit pictures of {image_size} pixels: {why}")
