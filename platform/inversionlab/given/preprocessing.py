"""What is done to a picture before a given model sees it; it is part of the model, and inside every view of it.

Order: alignment or resizing, colours, range, mean and std, layout. Every step is differentiable. The result for a
picture does not depend on the rest of the batch, to the last bit on a CPU.
"""

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional

from inversionlab.core.alignment import SIDE, similarity
from inversionlab.core.settings import ConfigError
from inversionlab.given.settings import Point, PreprocessingSettings

LUMA = (0.299, 0.587, 0.114)
"""Weights of red, green and blue in gray (ITU-R BT.601), the same as for data of one channel."""


class Preprocessing(nn.Module):
    """Turns pictures in [0, 1] into what the model takes."""

    mean_C11: Tensor
    std_C11: Tensor
    grid_HW2: Tensor | None

    def __init__(self, settings: PreprocessingSettings, channels: int) -> None:
        """Prepare for pictures of 1 (gray) or 3 (RGB) channels.

        Raises:
            ConfigError: `mean` or `std` does not fit the channels that the model takes.
        """
        super().__init__()
        self.settings = settings
        self.channels = {"auto": channels, "gray": 1, "rgb": 3, "bgr": 3}[settings.colors]
        """Channels that the model takes."""
        for key, values in (("mean", settings.mean), ("std", settings.std)):
            if len(values) not in (0, 1, self.channels):
                takes = "1 channel" if self.channels == 1 else f"{self.channels} channels"
                right = "1 number" if self.channels == 1 else f"1 or {self.channels} numbers"
                raise ConfigError(
                    f"preprocessing.{key} = {list(values)}: has {len(values)} numbers, but the model "
                    f"takes {takes} (colors = {settings.colors}); give {right}"
                    + ("; or name its `colors`" if settings.colors == "auto" else "")
                )
        self.register_buffer(
            "mean_C11", torch.tensor(settings.mean or (0.0,)).view(-1, 1, 1), False
        )
        self.register_buffer("std_C11", torch.tensor(settings.std or (1.0,)).view(-1, 1, 1), False)
        grid_HW2, self.step = _grid(settings, settings.points) if settings.points else (None, 0.0)
        self.register_buffer("grid_HW2", grid_HW2, False)

    def forward(self, x_NCHW: Tensor) -> Tensor:
        """What the model takes, (N, C', H, W) or (N, H, W, C') by `layout`, of pictures (N, C, S, S) in [0, 1]."""
        settings = self.settings
        if self.grid_HW2 is not None:
            x_NCHW = _align(x_NCHW, self.grid_HW2, self.step)
        elif settings.size is not None:
            x_NCHW = _resize(x_NCHW, _shape(settings), settings.fit)
        x_NCHW = _recolor(x_NCHW, settings.colors)
        if settings.range == "0..255":
            x_NCHW = x_NCHW * 255
        elif settings.range == "-1..1":
            x_NCHW = x_NCHW * 2 - 1
        if settings.mean:
            x_NCHW = x_NCHW - self.mean_C11
        if settings.std:
            x_NCHW = x_NCHW / self.std_C11
        # Some models view the memory in another shape, and convolutions choose their way by its order.
        nhwc = settings.layout == "nhwc"
        return (x_NCHW.permute(0, 2, 3, 1) if nhwc else x_NCHW).contiguous()


def _shape(settings: PreprocessingSettings) -> tuple[int, int]:
    """Height and width that the model takes; aligned pictures have the template's by default."""
    size = SIDE if settings.size is None else settings.size
    return size if isinstance(size, tuple) else (size, size)


def _resize(x_NCHW: Tensor, shape: tuple[int, int], fit: str) -> Tensor:
    """Square pictures in another size, antialiased; those of the right size come back as they are."""
    if fit == "stretch":
        return _interpolate(x_NCHW, shape)
    (height, width), side = shape, max(shape)
    top, left = (side - height) // 2, (side - width) // 2
    return _interpolate(x_NCHW, (side, side))[:, :, top : top + height, left : left + width]


def _interpolate(x_NCHW: Tensor, shape: tuple[int, int]) -> Tensor:
    if x_NCHW.shape[2:] == shape:
        return x_NCHW
    return functional.interpolate(x_NCHW, shape, mode="bilinear", antialias=True)


def _align(x_NCHW: Tensor, grid_HW2: Tensor, step: float) -> Tensor:
    """Square pictures sampled where the grid says, in steps of a share of their side; black beyond their edge."""
    side = x_NCHW.shape[3]
    # Bilinear sampling skips pixels where the steps are longer, so the picture is made smaller first.
    if step * side > 1:
        smaller = round(1 / step)
        x_NCHW = _interpolate(x_NCHW, (smaller, smaller))
    grid_NHW2 = grid_HW2.expand(len(x_NCHW), -1, -1, -1)
    return functional.grid_sample(x_NCHW, grid_NHW2, padding_mode="zeros", align_corners=False)


def _grid(settings: PreprocessingSettings, points: Sequence[Point]) -> tuple[Tensor, float]:
    """Where each pixel of an aligned picture lies on the picture, and the pixels' distance there.

    Returns:
        x and y from -1 to 1 (H, W, 2), and a share of the picture's side.
    """
    height, width = _shape(settings)
    side = max(height, width)
    # The share of the template that is kept.
    across, down = (1.0, 1.0) if settings.fit == "stretch" else (width / side, height / side)
    a, b = similarity(points)
    back = 1 / a
    start = -b / a
    theta_23 = [
        [back.real * across, -back.imag * down, start.real],
        [back.imag * across, back.real * down, start.imag],
    ]
    theta_123 = torch.tensor([theta_23], dtype=torch.float64)
    grid_1HW2 = functional.affine_grid(theta_123, [1, 1, height, width], align_corners=False)
    return grid_1HW2[0].float(), abs(back) / side


def _recolor(x_NCHW: Tensor, colors: str) -> Tensor:
    """Gray (N, 1, H, W) or RGB (N, 3, H, W) pictures in the channels that the model takes."""
    if colors == "auto" or (colors == "gray" and x_NCHW.shape[1] == 1):
        return x_NCHW
    if colors == "gray":
        red, green, blue = (weight * x_NCHW[:, i : i + 1] for i, weight in enumerate(LUMA))
        return red + green + blue
    if x_NCHW.shape[1] == 1:
        return x_NCHW.expand(-1, 3, -1, -1)
    return x_NCHW.flip(1) if colors == "bgr" else x_NCHW
