"""VGG-16: thirteen convolutions and three dense layers, the victim of Gong et al. (2023).

Papers: Simonyan and Zisserman, "Very Deep Convolutional Networks for Large-Scale Image Recognition", 2015,
configuration D; Gong et al. 2023, section V-A ("16 layers, 13 of which are convolutional layers, and 3 are fully
connected"; pictures of 64, 112 and 224 pixels).
Structure: conv 3x3 with ReLU, 2-2-3-3-3 of them with 64, 128, 256, 512, 512 channels, 2x2 max-pooling after each
group; dense 4096, 4096, each with ReLU and dropout. The third dense layer (one unit per class) is the head of
`losses.py`.
Inputs: (N, C, H, W) in [0, 1], rescaled to [-1, 1] inside; H = W, at least 32.
Deviates: the first dense layer takes the map as it is (2x2 from 64 pixels, 3x3 from 112, 7x7 from 224, as in the
paper of 2015); torchvision resizes every map to 7x7, which adds weights and no information. Batch normalisation
is an option; Gong et al. use none. Initial weights follow He et al. (2015), because fifteen layers without batch
normalisation do not start to learn with smaller ones.
"""

from typing import Literal

from pydantic import Field
from torch import nn

from inversionlab.core.settings import ConfigError
from inversionlab.recognizers.base import Backbone, NetworkSettings

_GROUPS = ((1, 2), (2, 2), (4, 3), (8, 3), (8, 3))
"""For each group: channels as a multiple of `width`, and the number of convolutions."""


class Vgg16(Backbone):
    """Convolutions with max-pooling, then two dense layers; the second is the feature."""

    class Settings(NetworkSettings):
        """Sizes of the layers; the defaults are the paper's."""

        name: Literal["vgg16"] = "vgg16"
        width: int = Field(default=64, ge=1, le=512)
        """Channels of the first group; the later groups have 2, 4, 8 and 8 times as many."""
        dense: int = Field(default=4096, ge=2, le=65_536)
        """D, units of each of the two dense layers."""
        batch_norm: bool = False
        """Batch normalisation after every convolution."""
        dropout: float = Field(default=0.5, ge=0, le=0.9)
        """Share of the units dropped after each dense layer."""

    def __init__(self, settings: Settings, *, channels: int, image_size: int) -> None:
        super().__init__()
        least = 2 ** len(_GROUPS)
        if image_size < least:
            raise ConfigError(f"vgg16: needs pictures of at least {least} pixels, not {image_size}")
        layers: list[nn.Module] = []
        size_in = channels
        for multiple, count in _GROUPS:
            for _ in range(count):
                size_out = settings.width * multiple
                layers.append(nn.Conv2d(size_in, size_out, 3, padding=1))
                if settings.batch_norm:
                    layers.append(nn.BatchNorm2d(size_out))
                layers.append(nn.ReLU())
                size_in = size_out
            layers.append(nn.MaxPool2d(2))
        layers.append(nn.Flatten())
        size_in *= (image_size // least) ** 2
        for _ in range(2):
            layers += [nn.Linear(size_in, settings.dense), nn.ReLU(), nn.Dropout(settings.dropout)]
            size_in = settings.dense
        self.layers = nn.Sequential(*layers)
        self.feature_size = settings.dense
        # Weights that keep the size of the signal from layer to layer.
        for layer in self.layers:
            if isinstance(layer, nn.Conv2d | nn.Linear):
                nn.init.kaiming_normal_(layer.weight, nonlinearity="relu")
                assert layer.bias is not None
                nn.init.zeros_(layer.bias)
