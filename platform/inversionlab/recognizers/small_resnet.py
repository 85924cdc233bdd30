"""A small residual network, cheap enough to train on one CPU core in minutes.

Paper: He et al., "Deep Residual Learning for Image Recognition", 2016 (basic blocks); the feature layer (dense
layer and batch normalisation on the flattened map, as in face recognition) follows Deng et al., "ArcFace", 2019.
Structure: conv 5x5, stride 2 -> stages of basic blocks, each stage halves the map and doubles the channels ->
flatten -> dropout -> dense -> batch normalisation = feature.
Inputs: (N, C, H, W) in [0, 1], rescaled to [-1, 1] inside; any H = W from 16.
Deviations: average-pooled 1x1 shortcuts (as in ResNet-D); flattening in place of global pooling.
"""

from typing import Annotated, Literal

from pydantic import Field
from torch import Tensor, nn
from torch.nn import functional

from inversionlab.recognizers.base import Backbone, NetworkSettings, conv


class SmallResnet(Backbone):
    """Residual stages, then one dense layer that makes the feature."""

    class Settings(NetworkSettings):
        """Width, depth and feature size."""

        name: Literal["small_resnet"] = "small_resnet"
        width: int = Field(default=32, ge=4, le=512)
        """Channels of the first stage; each further stage has twice as many."""
        blocks: tuple[Annotated[int, Field(le=256)], ...] = Field(
            default=(2, 2, 2), min_length=1, max_length=5
        )
        """Residual blocks in each stage."""
        feature_size: int = Field(default=256, ge=2, le=8192)
        """D, the length of the feature vector."""
        dropout: float = Field(default=0.2, ge=0, le=0.9)
        """Share of the units dropped before the dense layer."""

    def __init__(self, settings: Settings, *, channels: int, image_size: int) -> None:
        super().__init__()
        size_in = settings.width
        layers: list[nn.Module] = [
            conv(channels, size_in, 5, 2),
            nn.BatchNorm2d(size_in),
            nn.ReLU(),
        ]
        side = (image_size + 1) // 2
        for stage, count in enumerate(settings.blocks):
            size_out = settings.width * 2**stage
            layers.append(_Block(size_in, size_out, stride=2))
            layers += [_Block(size_out, size_out, stride=1) for _ in range(count - 1)]
            size_in, side = size_out, (side + 1) // 2
        self.feature_size = settings.feature_size
        self.layers = nn.Sequential(
            *layers,
            nn.Flatten(),
            nn.Dropout(settings.dropout),
            nn.Linear(size_in * side**2, self.feature_size, bias=False),
            nn.BatchNorm1d(self.feature_size),
        )


class _Block(nn.Module):
    """Two 3x3 convolutions with a shortcut."""

    def __init__(self, size_in: int, size_out: int, stride: int) -> None:
        super().__init__()
        self.body = nn.Sequential(
            conv(size_in, size_out, 3, stride),
            nn.BatchNorm2d(size_out),
            nn.ReLU(),
            conv(size_out, size_out, 3, 1),
            nn.BatchNorm2d(size_out),
        )
        self.shortcut: nn.Module = nn.Identity()
        if stride != 1 or size_in != size_out:
            self.shortcut = nn.Sequential(
                nn.AvgPool2d(stride, ceil_mode=True), nn.Conv2d(size_in, size_out, 1, bias=False)
            )

    def forward(self, x_NCHW: Tensor) -> Tensor:
        summed: Tensor = self.body(x_NCHW) + self.shortcut(x_NCHW)
        return functional.relu(summed)
