"""The classifier of Yang et al. (2019), which Wen et al. (2021) attack and defend.

Papers: Yang et al., "Adversarial Neural Network Inversion via Auxiliary Knowledge Alignment", 2019 (architecture;
public code github.com/yziqi/adversarial-model-inversion); Wen et al. 2021, section V-A: "the same CNN
architecture" for MNIST (32x32 gray) and FaceScrub (64x64).
Structure: blocks of conv 3x3 ("same" padding), batch normalisation, 2x2 max-pooling, ReLU; channels 128, 256, 512
for MNIST and 128, 256, 512, 1024 for faces, which leave 4x4 maps; a dense layer with five units per class (MNIST
50, FaceScrub 2650), without an activation; dropout 0.5. The second dense layer (one unit per class) is the head of
`losses.py`; the paper's is `cross_entropy`.
Inputs: (N, C, H, W) in [0, 1], used as they are, as in the public code; H = W, at least 2 to the number of blocks.
Deviates: a backbone does not know the number of classes, so `dense` is a setting of its own; its default is the
paper's value for the data set of the same picture size.
"""

from typing import Literal

from pydantic import Field
from torch import Tensor, nn

from inversionlab.core.settings import ConfigError
from inversionlab.recognizers.base import Backbone, NetworkSettings

_FACE_SIZE = 64
"""Pixels from which the paper's network for faces is the default."""


class YangCnn(Backbone):
    """Convolution blocks, then one dense layer without an activation: the feature."""

    class Settings(NetworkSettings):
        """Sizes of the layers; the defaults are the paper's."""

        name: Literal["yang_cnn"] = "yang_cnn"
        width: int = Field(default=128, ge=1, le=1024)
        """Channels of the first block; each further block has twice as many."""
        blocks: int | None = Field(default=None, ge=1, le=8)
        """Number of blocks; null: 3 for pictures below 64 pixels, 4 from 64 pixels on."""
        dense: int | None = Field(default=None, ge=1, le=65_536)
        """D, units of the dense layer; null: 50 for pictures below 64 pixels, 2650 from 64 pixels on."""
        dropout: float = Field(default=0.5, ge=0, le=0.9)
        """Share of the dense layer's units that training drops."""

    def __init__(self, settings: Settings, *, channels: int, image_size: int) -> None:
        super().__init__()
        faces = image_size >= _FACE_SIZE
        count = settings.blocks or (4 if faces else 3)
        if image_size < 2**count:
            raise ConfigError(
                f"yang_cnn: blocks = {count}: need pictures of at least {2**count} pixels, "
                f"not {image_size}"
            )
        layers: list[nn.Module] = []
        size_in = channels
        for block in range(count):
            size_out = settings.width * 2**block
            layers += [
                nn.Conv2d(size_in, size_out, 3, padding=1),
                nn.BatchNorm2d(size_out),
                nn.MaxPool2d(2),
                nn.ReLU(),
            ]
            size_in = size_out
        self.feature_size = settings.dense or (2650 if faces else 50)
        self.layers = nn.Sequential(
            *layers,
            nn.Flatten(),
            nn.Linear(size_in * (image_size // 2**count) ** 2, self.feature_size),
            nn.Dropout(settings.dropout),
        )

    def forward(self, x_NCHW: Tensor) -> Tensor:
        """Features (N, D) of pictures (N, C, H, W) in [0, 1]."""
        feature_ND: Tensor = self.layers(x_NCHW)
        return feature_ND
