"""The layers of `style_gan.py`, which holds their equations: mapping network and synthesis."""

from __future__ import annotations

import itertools
import math

import torch
from torch import Tensor, nn
from torch.nn import functional

from inversionlab.generators.blocks import channels_at, plan

# The mean square of silu(x), x ~ N(0, 1), is 0.3557. The styles that scale a map next also make up for it.
SILU_GAIN = 0.3557**-0.5


class Maker(nn.Module):
    """Mapping and synthesis: all that makes pictures."""

    def __init__(
        self,
        *,
        latent_size: int,
        style_size: int,
        mapping_layers: int,
        width: int,
        channels: int,
        image_size: int,
    ) -> None:
        """Build for pictures of `channels` x `image_size` x `image_size`.

        Raises:
            ConfigError: the size is not a multiple of 8 from 16 to 256.
        """
        super().__init__()
        side, steps = plan(image_size)
        self.mapping = Mapping(latent_size, style_size, mapping_layers)
        shape = [channels_at(level, width) for level in range(steps + 1)]
        self.start_CSS = nn.Parameter(torch.randn(shape[steps], side, side) / SILU_GAIN)
        self.levels = nn.ModuleList(
            Level(
                shape[min(level + 1, steps)],
                shape[level],
                style_size,
                channels,
                double=level < steps,
                refine=image_size // 2**level <= 16,
            )
            for level in range(steps, -1, -1)
        )

    def forward(self, z_ND: Tensor) -> Tensor:
        """Pictures (N, C, H, W) in [0, 1] of latents (N, m)."""
        return self.synthesize(self.mapping(z_ND))

    def synthesize(self, w_NW: Tensor) -> Tensor:
        """Pictures (N, C, H, W) in [0, 1] of style vectors (N, W)."""
        map_NCHW = self.start_CSS.expand(len(w_NW), -1, -1, -1)
        map_NCHW = map_NCHW.contiguous(memory_format=torch.channels_last)
        picture_NCHW: Tensor | None = None
        for level in self.levels:
            map_NCHW, part_NCHW = level(map_NCHW, w_NW)
            if picture_NCHW is not None:
                picture_NCHW = functional.interpolate(
                    picture_NCHW, scale_factor=2.0, mode="bilinear", align_corners=False
                )
            picture_NCHW = part_NCHW if picture_NCHW is None else picture_NCHW + part_NCHW
        assert picture_NCHW is not None
        return picture_NCHW.sigmoid()


class Mapping(nn.Module):
    """Latents to style vectors."""

    # The layers learn at this fraction of the step size (Karras: 0.01, over a far longer training).
    RATE = 0.1

    def __init__(self, latent_size: int, style_size: int, layers: int) -> None:
        """Build `layers` dense layers."""
        super().__init__()
        shape = [latent_size, *([style_size] * layers)]
        self.weights = nn.ParameterList(
            torch.randn(out, size) / (math.sqrt(size) * self.RATE)
            for size, out in itertools.pairwise(shape)
        )
        self.biases = nn.ParameterList(torch.zeros(out) for out in shape[1:])

    def forward(self, z_ND: Tensor) -> Tensor:
        """Style vectors (N, W) of latents (N, m)."""
        w_NW = z_ND * (z_ND.square().mean(dim=1, keepdim=True) + 1e-8).rsqrt()
        for weight, bias in zip(self.weights, self.biases, strict=True):
            w_NW = functional.linear(w_NW, weight * self.RATE, bias * self.RATE)
            w_NW = functional.leaky_relu(w_NW, 0.2) * math.sqrt(2)
        return w_NW.float()


class Level(nn.Module):
    """All layers at one resolution."""

    def __init__(
        self,
        size_in: int,
        size_out: int,
        style_size: int,
        channels: int,
        *,
        double: bool,
        refine: bool,
    ) -> None:
        """Build for maps of `size_in` channels; `double` the side; `refine` by a convolution."""
        super().__init__()
        layers: list[nn.Module] = []
        if double:
            layers.append(Modulated(size_in, size_out, style_size, double=True))
        if refine:
            layers.append(Modulated(size_out, size_out, style_size, double=False))
        self.layers = nn.ModuleList(layers)
        self.scale = nn.Linear(style_size, size_out)
        _start_as_one(self.scale)
        self.to_picture = nn.Linear(size_out, channels)

    def forward(self, map_NCHW: Tensor, w_NW: Tensor) -> tuple[Tensor, Tensor]:
        """The next map, and this level's part of the picture (N, channels, H, W) before the sigmoid."""
        for layer in self.layers:
            map_NCHW = layer(map_NCHW, w_NW)
        # Scaling the weights, not the map, spares a pass over the largest maps.
        weight_N1DC = (self.scale(w_NW) * SILU_GAIN)[:, None, None] * self.to_picture.weight
        part_NHWD = map_NCHW.permute(0, 2, 3, 1) @ weight_N1DC.transpose(2, 3)
        return map_NCHW, (part_NHWD + self.to_picture.bias).permute(0, 3, 1, 2).float()


class Modulated(nn.Module):
    """A convolution with modulation and demodulation, 3x3 or doubling the side."""

    def __init__(self, size_in: int, size_out: int, style_size: int, *, double: bool) -> None:
        """Build for maps of `size_in` to maps of `size_out` channels."""
        super().__init__()
        self.doubles = double
        shape = (size_in, size_out, 4, 4) if double else (size_out, size_in, 3, 3)
        self.weight = nn.Parameter(torch.randn(shape) / math.sqrt(size_in * (4 if double else 9)))
        self.bias = nn.Parameter(torch.zeros(size_out))
        self.scale = nn.Linear(style_size, size_in)
        _start_as_one(self.scale)

    def forward(self, map_NCHW: Tensor, w_NW: Tensor) -> Tensor:
        """The next map (N, C', H, W), or of twice the side."""
        s_NI = self.scale(w_NW).float()
        map_NCHW = map_NCHW * (s_NI * SILU_GAIN)[:, :, None, None]
        if self.doubles:
            map_NCHW = functional.conv_transpose2d(map_NCHW, self.weight, stride=2, padding=1)
            # A point of the doubled map is the sum over only 4 of the kernel's 16 entries.
            power_OI = torch.linalg.vector_norm(self.weight, dim=(2, 3)).square().t() / 4
        else:
            map_NCHW = functional.conv2d(map_NCHW, self.weight, padding=1)
            power_OI = torch.linalg.vector_norm(self.weight, dim=(2, 3)).square()
        # As a linear layer, which attacks can compute row by row exactly (`pipeline/batch_invariant.py`).
        d_NO = (functional.linear(s_NI.square(), power_OI.float()) + 1e-8).rsqrt()
        map_NCHW = torch.addcmul(self.bias[:, None, None], map_NCHW, d_NO[:, :, None, None])
        return functional.silu(map_NCHW)


def _start_as_one(scale: nn.Linear) -> None:
    """Styles that start around 1, and differ with w."""
    nn.init.normal_(scale.weight, std=scale.in_features**-0.5)
    nn.init.ones_(scale.bias)
