"""The recognizer of Khosravy et al. (2021), section 4.1: four convolutions and two dense layers.

Paper: Khosravy et al. 2021 (the gray-box attack), figure 4; Kotsuji et al. (2025) build victim, evaluator and
dummy recognizer on the networks of Khosravy et al. (2022).
Structure: conv 5x5x8, 5x5x16, 3x3x32, 3x3x64 ("same" padding, stride 1), each with ReLU and 2x2 max-pooling;
dense 1024, 1024, each with ReLU. The paper's third dense layer (one unit per class) is the head of `losses.py`.
Inputs: (N, C, H, W) in [0, 1], rescaled to [-1, 1] inside; H = W, at least 2 to the number of convolutions (the
paper: 128).
Deviations: the paper does not name the activation (ReLU here) and does not mention normalisation or dropout:
both are settings, off by default.
"""

from typing import Annotated, Literal

from pydantic import Field
from torch import nn

from inversionlab.core.settings import ConfigError
from inversionlab.recognizers.base import Backbone, NetworkSettings

Size = Annotated[int, Field(le=8192)]
"""Channels, units or the side of a kernel."""


class KhosravyCnn(Backbone):
    """Convolutions with max-pooling, then dense layers; the last dense layer is the feature."""

    class Settings(NetworkSettings):
        """Sizes of the layers; the defaults are the paper's."""

        name: Literal["khosravy_cnn"] = "khosravy_cnn"
        channels: tuple[Size, ...] = Field(default=(8, 16, 32, 64), min_length=1, max_length=8)
        """Output channels of each convolution."""
        kernels: tuple[Size, ...] = Field(default=(5, 5, 3, 3), min_length=1, max_length=8)
        """Kernel size of each convolution; odd."""
        dense: tuple[Size, ...] = Field(default=(1024, 1024), min_length=1, max_length=8)
        """Units of each dense layer; the last one is the feature size."""
        batch_norm: bool = False
        """Batch normalisation after every convolution and dense layer (not in the paper)."""
        dropout: float = Field(default=0.0, ge=0, le=0.9)
        """Share of the units dropped before each dense layer (not in the paper)."""

    def __init__(self, settings: Settings, *, channels: int, image_size: int) -> None:
        super().__init__()
        count = len(settings.channels)
        if len(settings.kernels) != count:
            raise ConfigError(
                f"khosravy_cnn: `channels` names {count} convolutions but `kernels` names "
                f"{len(settings.kernels)}; give one kernel size for each"
            )
        if any(kernel < 1 or kernel % 2 == 0 for kernel in settings.kernels):
            raise ConfigError(
                f"khosravy_cnn: kernels = {settings.kernels}: must be odd and at least 1"
            )
        if any(size < 1 for size in (*settings.channels, *settings.dense)):
            raise ConfigError("khosravy_cnn: `channels` and `dense` must be at least 1 everywhere")
        if image_size < 2**count:
            raise ConfigError(
                f"khosravy_cnn: {count} poolings need pictures of at least {2**count} pixels, "
                f"not {image_size}"
            )
        layers: list[nn.Module] = []
        size_in = channels
        for size_out, kernel in zip(settings.channels, settings.kernels, strict=True):
            layers.append(nn.Conv2d(size_in, size_out, kernel, padding=kernel // 2))
            if settings.batch_norm:
                layers.append(nn.BatchNorm2d(size_out))
            layers += [nn.ReLU(), nn.MaxPool2d(2)]
            size_in = size_out
        layers.append(nn.Flatten())
        size_in *= (image_size // 2**count) ** 2
        for size_out in settings.dense:
            if settings.dropout > 0:
                layers.append(nn.Dropout(settings.dropout))
            layers.append(nn.Linear(size_in, size_out))
            if settings.batch_norm:
                layers.append(nn.BatchNorm1d(size_out))
            layers.append(nn.ReLU())
            size_in = size_out
        self.layers = nn.Sequential(*layers)
        self.feature_size = size_in
