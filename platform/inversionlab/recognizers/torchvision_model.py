"""Any classifier of torchvision, by its name in torchvision's registry, with fresh weights.

Structure: `torchvision.models.get_model(model, weights=None)` without its last layer (the one with one unit per
class); the input of that layer is the feature.
Inputs: (N, C, H, W) in [0, 1], rescaled to [-1, 1] inside; C = 1 (repeated three times) or 3; the H = W
that fit depend on the model, and one dry forward pass tests them.
Deviates: no weights are ever downloaded; pictures keep their size (torchvision's own training takes 224 pixels);
GoogLeNet and Inception have no auxiliary classifiers.
"""

import difflib
from typing import Any, Literal

import torch
from torch import Tensor, nn

from inversionlab.core.settings import ConfigError
from inversionlab.recognizers.base import Backbone, NetworkSettings


class TorchvisionModel(Backbone):
    """Wraps the model without its last layer."""

    class Settings(NetworkSettings):
        """Which model."""

        name: Literal["torchvision"] = "torchvision"
        model: str = "resnet18"
        """A classifier's name as `torchvision.models.list_models(torchvision.models)` gives it."""

    def __init__(self, settings: Settings, *, channels: int, image_size: int) -> None:
        """Build the model, and try it on two blank pictures.

        Raises:
            ConfigError: the model is unknown or no classifier of pictures, or the pictures do not fit it.
        """
        super().__init__()
        if channels not in (1, 3):
            raise ConfigError(f"torchvision: needs pictures of 1 or 3 channels, not {channels}")
        _check_name(settings.model)
        try:
            self.module = _classifier(settings.model, image_size)
            # The last layer with weights; SqueezeNet's is a convolution.
            name, last = [
                (name, layer)
                for name, layer in self.module.named_modules()
                if isinstance(layer, nn.Linear | nn.Conv2d)
            ][-1]
            self.module.set_submodule(name, nn.Identity())
            self.feature_size = (
                last.in_features if isinstance(last, nn.Linear) else last.in_channels
            )
            # In evaluation mode, so that no statistics move.
            self.eval()
            with torch.no_grad():
                feature_ND = self(torch.zeros(2, channels, image_size, image_size))
        except (AssertionError, RuntimeError, ValueError) as error:
            why = str(error).partition("\n")[0]
            raise ConfigError(
                f"model = {settings.model}: does not fit pictures of {image_size} pixels: {why}"
            ) from error
        self.train()
        assert feature_ND.shape == (2, self.feature_size), (settings.model, feature_ND.shape)

    def forward(self, x_NCHW: Tensor) -> Tensor:
        """Features (N, D) of pictures (N, C, H, W) in [0, 1]."""
        feature_ND: Tensor = self.module((x_NCHW * 2 - 1).expand(-1, 3, -1, -1))
        return feature_ND


def _check_name(model: str) -> None:
    from torchvision import models  # takes a second, and only this network needs it

    classifiers = models.list_models(models)
    if model in classifiers:
        return
    if model in models.list_models():
        raise ConfigError(
            f"model = {model}: is a model of torchvision but not a picture classifier"
        )
    near = difflib.get_close_matches(model, classifiers, n=3)
    hint = f"known: {', '.join(classifiers)}"
    if near:
        hint = f"did you mean {' or '.join(f'`{name}`' for name in near)}?"
    raise ConfigError(f"model = {model}: torchvision has no such classifier; {hint}")


def _classifier(model: str, image_size: int) -> nn.Module:
    from torchvision import models

    arguments: dict[str, Any] = {}
    if model in ("googlenet", "inception_v3"):
        # `init_weights` is their default too, but they warn where it is not given.
        arguments = {"aux_logits": False, "init_weights": True}
    elif model.startswith("vit_"):
        arguments = {"image_size": image_size}
    elif model.startswith("maxvit_"):
        arguments = {"input_size": (image_size, image_size)}
    made: nn.Module = models.get_model(model, weights=None, **arguments)
    return made
