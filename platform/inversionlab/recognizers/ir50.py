"""IR-50, the improved residual network of face.evoLVe; the evaluator of Chen 2021 and Gong 2023.

Papers: Deng et al., "ArcFace", 2019 (improved residual units); Gong et al. 2023, section V-A ("a 50-layer
convolutional backbone model"); code github.com/ZhaoJ9014/face.evoLVe.
Structure: conv 3x3x64, batch normalisation (BN), PReLU -> stages of 3, 4, 14, 3 units with 64, 128, 256, 512
channels, the first unit of each stage with stride 2 -> BN, dropout 0.5, flatten, dense 512, BN = feature.
Unit: BN, conv 3x3, PReLU, conv 3x3 (with the stride), BN; added to its input, which is subsampled where the
stride is 2, and goes through conv 1x1 and BN where the channels grow. 1 + 2 * 24 convolutions and the dense layer
are the 50 layers.
Inputs: (N, C, H, W) in [0, 1], rescaled to [-1, 1] inside; H = W, a multiple of 16 from 32 to 224.
Deviates: face.evoLVe allows 112 and 224 only. Its units have no BN between the first convolution and the PReLU,
ArcFace's have one: `inner_norm`. The layer of the classes is the head of `losses.py`.
"""

from typing import Annotated, Literal

from pydantic import Field
from torch import Tensor, nn

from inversionlab.core.settings import ConfigError
from inversionlab.recognizers.base import Backbone, NetworkSettings, conv

Units = Annotated[int, Field(le=256)]
"""Units of a stage."""


class Ir50(Backbone):
    """Improved residual units, then one dense layer that makes the feature."""

    class Settings(NetworkSettings):
        """Width, depth and feature size; the defaults are face.evoLVe's."""

        name: Literal["ir50"] = "ir50"
        width: int = Field(default=64, ge=1, le=512)
        """Channels of the first stage; each further stage has twice as many."""
        blocks: tuple[Units, Units, Units, Units] = (3, 4, 14, 3)
        """Units of each stage, at least 1; (3, 13, 30, 3) is IR-101, (3, 8, 36, 3) is IR-152."""
        feature_size: int = Field(default=512, ge=2, le=8192)
        """D, the length of the feature vector."""
        inner_norm: bool = False
        """Batch normalisation after the first convolution of each unit too, as in ArcFace."""
        dropout: float = Field(default=0.5, ge=0, le=0.9)
        """Share of the last map's values dropped before the dense layer."""

    def __init__(self, settings: Settings, *, channels: int, image_size: int) -> None:
        super().__init__()
        if image_size % 16 or not 32 <= image_size <= 224:
            raise ConfigError(
                f"ir50: needs pictures of a multiple of 16 pixels from 32 to 224, not {image_size}"
            )
        if min(settings.blocks) < 1:
            raise ConfigError(f"ir50: blocks = {settings.blocks}: must be at least 1 everywhere")
        size_in = settings.width
        layers: list[nn.Module] = [conv(channels, size_in, 3, 1)]
        layers += [nn.BatchNorm2d(size_in), nn.PReLU(size_in)]
        for stage, count in enumerate(settings.blocks):
            size_out = settings.width * 2**stage
            for stride in [2] + [1] * (count - 1):
                layers.append(_Unit(size_in, size_out, stride, settings.inner_norm))
                size_in = size_out
        self.feature_size = settings.feature_size
        self.layers = nn.Sequential(
            *layers,
            nn.BatchNorm2d(size_in),
            nn.Dropout(settings.dropout),
            nn.Flatten(),
            nn.Linear(size_in * (image_size // 16) ** 2, self.feature_size),
            nn.BatchNorm1d(self.feature_size),
        )


class _Unit(nn.Module):
    """The improved residual unit: normalised before the first convolution, no activation after the sum."""

    def __init__(self, size_in: int, size_out: int, stride: int, inner_norm: bool) -> None:
        super().__init__()
        self.body = nn.Sequential(
            nn.BatchNorm2d(size_in),
            conv(size_in, size_out, 3, 1),
            *([nn.BatchNorm2d(size_out)] if inner_norm else []),
            nn.PReLU(size_out),
            conv(size_out, size_out, 3, stride),
            nn.BatchNorm2d(size_out),
        )
        self.shortcut: nn.Module = nn.Identity()
        if size_in != size_out:
            self.shortcut = nn.Sequential(
                conv(size_in, size_out, 1, stride), nn.BatchNorm2d(size_out)
            )
        elif stride != 1:
            self.shortcut = nn.MaxPool2d(1, stride)  # a pooling of one pixel keeps every second one

    def forward(self, x_NCHW: Tensor) -> Tensor:
        summed: Tensor = self.body(x_NCHW) + self.shortcut(x_NCHW)
        return summed
