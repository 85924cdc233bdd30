"""What several generators share: layers, the sizes of their maps, and helpers of their training.

A picture has the side S = s * 2^n: s, the side of the smallest map, is 3 or 4 where S allows it (a larger odd
number otherwise), and n steps double or halve it. Level i counts from the picture (level 0) down to the smallest
map (level n).
"""

import torch
from torch import Tensor, nn

from inversionlab.core.learner import GradientSync
from inversionlab.core.settings import ConfigError


def pyramid(image_size: int, smallest: int = 16) -> tuple[int, int]:
    """The side s of the smallest map and the number n of doublings up to `image_size`.

    Raises:
        ConfigError: the size is not a multiple of 8 from `smallest` to 256.
    """
    if image_size % 8 or not smallest <= image_size <= 256:
        raise ConfigError(
            f"image_size = {image_size}: this network needs a multiple of 8 from {smallest} to 256"
        )
    side, steps = image_size, 0
    while side % 2 == 0 and side > 4:
        side, steps = side // 2, steps + 1
    return side, steps


def channels_at(level: int, width: int) -> int:
    """Channels of the maps at `level`: doubled at each level, at most 8 x `width`."""
    return width << min(level, 3)


def up(size_in: int, size_out: int) -> nn.Sequential:
    """Double the side of a map."""
    return nn.Sequential(
        nn.ConvTranspose2d(size_in, size_out, 4, 2, 1, bias=False),
        nn.BatchNorm2d(size_out),
        nn.SiLU(),
    )


def down(size_in: int, size_out: int) -> nn.Sequential:
    """Halve the side of a map."""
    return nn.Sequential(
        nn.Conv2d(size_in, size_out, 4, 2, 1, bias=False), nn.BatchNorm2d(size_out), nn.SiLU()
    )


class ToMap(nn.Module):
    """A dense layer from latents (N, m) to the smallest map (N, `channels`, `side`, `side`)."""

    def __init__(self, latent_size: int, channels: int, side: int) -> None:
        super().__init__()
        self.dense = nn.Linear(latent_size, channels * side**2)
        self.channels, self.side = channels, side

    def forward(self, z_ND: Tensor) -> Tensor:
        """The map, laid out channels-last: the layers that follow are up to twice as fast on it."""
        x_NCHW: Tensor = self.dense(z_ND).view(-1, self.channels, self.side, self.side)
        return x_NCHW.contiguous(memory_format=torch.channels_last)


class Residual(nn.Module):
    """A 3x3 convolution with a shortcut; the map keeps its `size` channels and its side."""

    def __init__(self, size: int) -> None:
        super().__init__()
        self.body = nn.Sequential(
            nn.Conv2d(size, size, 3, padding=1, bias=False), nn.BatchNorm2d(size), nn.SiLU()
        )

    def forward(self, x_NCHW: Tensor) -> Tensor:
        """A map of the same shape."""
        summed: Tensor = x_NCHW + self.body(x_NCHW)
        return summed


def dcgan(latent_size: int, width: int, channels: int, image_size: int) -> nn.Sequential:
    """Latents (N, m) to pictures (N, C, H, W) in [0, 1]: doublings, then one 3x3 convolution.

    Raises:
        ConfigError: the size is not a multiple of 8 from 16 to 256.
    """
    side, steps = pyramid(image_size)
    shape = [channels_at(level, width) for level in range(steps + 1)]
    return nn.Sequential(
        ToMap(latent_size, shape[steps], side),
        nn.BatchNorm2d(shape[steps]),
        nn.SiLU(),
        *(up(shape[level + 1], shape[level]) for level in range(steps - 1, -1, -1)),
        nn.Conv2d(shape[0], channels, 3, padding=1),
        nn.Sigmoid(),
    )


def mirror(x_NCHW: Tensor, rng: torch.Generator) -> Tensor:
    """The pictures, about half of them mirrored: faces are as likely one way as the other."""
    mirrored_N = torch.rand(len(x_NCHW), generator=rng) < 0.5
    return torch.where(mirrored_N[:, None, None, None].to(x_NCHW.device), x_NCHW.flip(3), x_NCHW)


def averaged(value: Tensor, sync: GradientSync) -> Tensor:
    """The mean of a detached tensor over the training workers; `sync` averages it as a gradient."""
    carrier = nn.Parameter(torch.zeros_like(value))
    carrier.grad = value.clone()
    sync([carrier])
    return carrier.grad
