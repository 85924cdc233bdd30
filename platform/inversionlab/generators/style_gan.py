"""A small StyleGAN: a mapping network, and a synthesis network whose layers are modulated by a style.

Papers: Karras et al. (2019), mapping network and styles; Karras et al. (2020, CVPR), modulated convolutions and
skip connections to the picture; An et al. (2022), Mirror, which attacks through such a generator. The training
step is that of `adaptive_training.py`.
Equations:

    w = f(z / rms(z)),   f: dense layers, each followed by sqrt(2) leaky_relu(., 0.2), the last too
    layer:    s = A w + b,   y_o = silu(d_o conv(s_i x_i, W)_o + b_o),
              d_o = (sum over i, k of (s_i W_oik)^2 + eps)^-1/2   (demodulation)
    picture = sigmoid(sum over levels of the upsampled (conv1x1(s x) + b))

Inputs: latents (N, m) ~ N(0, I); styles w (N, W); pictures have H = W a multiple of 8 from 16 to 256.
P space (Mirror): leaky_relu(w, 5.0) undoes the last leaky ReLU, up to a factor.
Offers: `style`; `critic`, the discriminator that it was trained against.
Deviations: there are no noise inputs, so w alone decides the picture; SiLU replaces leaky ReLU in the synthesis,
because attacks differentiate it; doublings are learned 4x4 transposed convolutions, and only maps of at most 16
pixels have a second convolution per level; all layers share one w, without style mixing; weights are scaled at the
start instead of at every step (except in the mapping network); the discriminator is that of `gan_ada` without
minibatch statistics, so it scores pictures one by one; there is no path length regularisation (Karras et al.
leave it and style mixing out on small pictures too); the product is the running average of mapping and
synthesis, with the discriminator.
"""

import itertools
import math
from functools import partial
from typing import ClassVar, Literal

import torch
from pydantic import Field
from torch import Tensor, nn
from torch.nn import functional

from inversionlab.core.learner import TrainingSettings
from inversionlab.generators.adaptive_training import PROBABILITY, AdaptiveSettings, adaptive_step
from inversionlab.generators.base import Generator, GeneratorSettings
from inversionlab.generators.blocks import channels_at, pyramid
from inversionlab.generators.discriminator import Discriminator
from inversionlab.generators.gan_training import GanLearner, GanSettings, gan_training_settings

# The mean square of silu(x), x ~ N(0, 1), is 0.3557. The styles that scale a map next also make up for it.
SILU_GAIN = 0.3557**-0.5


class StyleGan(Generator):
    """Mapping, synthesis and discriminator."""

    offers: ClassVar[frozenset[str]] = frozenset({"style", "critic"})
    # Much of it is modulation in float32: 1.2 x faster for 64 rows, slower for 2.
    bf16_on_cpu: ClassVar[bool] = False

    class Settings(AdaptiveSettings, GanSettings, GeneratorSettings):
        """Sizes, losses, augmentation and training."""

        name: Literal["style_gan"] = "style_gan"
        width: int = Field(default=12, ge=4, le=512)
        """The synthesis' channels at full resolution; each halving doubles them, up to 8 x."""
        style_size: int = Field(default=64, ge=1, le=4096)
        """W, the length of the style vector."""
        mapping_layers: int = Field(default=4, ge=1, le=16)
        """Dense layers of the mapping network (Karras: 8)."""
        discriminator_width: int = Field(default=24, ge=4, le=512)
        """The discriminator's channels at half resolution; each halving doubles them, up to 8 x."""
        training: TrainingSettings = gan_training_settings(epochs=20)
        """How the generator is trained; AdamW has betas (0.0, 0.99)."""

    def __init__(self, settings: Settings, *, channels: int, image_size: int) -> None:
        super().__init__()
        self.latent_size = settings.latent_size
        self.maker = MappingAndSynthesis(settings, channels=channels, image_size=image_size)
        self.discriminator = Discriminator(settings.discriminator_width, channels, image_size)

    def forward(self, z_ND: Tensor) -> Tensor:
        """Pictures (N, C, H, W) in [0, 1] of latents (N, m)."""
        x_NCHW: Tensor = self.maker(z_ND)
        return x_NCHW

    def style(self, z_ND: Tensor) -> Tensor:
        """Style vectors w (N, W), after the last leaky ReLU, of latents (N, m)."""
        w_NW: Tensor = self.maker.mapping(z_ND)
        return w_NW

    def synthesize(self, w_NW: Tensor) -> Tensor:
        """Pictures (N, C, H, W) in [0, 1] of style vectors (N, W)."""
        return self.maker.synthesize(w_NW)

    def critic(self, x_NCHW: Tensor) -> Tensor:
        """The discriminator's logits (N,): positive where pictures in [0, 1] look real."""
        score_N: Tensor = self.discriminator(x_NCHW)
        return score_N

    def learner(self, settings: Settings, seed: int) -> GanLearner:
        """Trains mapping and synthesis against the discriminator."""
        step = partial(adaptive_step, settings)
        return GanLearner(
            self,
            self.maker,
            self.discriminator,
            settings,
            seed,
            step=step,
            betas=(0.0, 0.99),
            counters=(PROBABILITY,),
        )


class MappingAndSynthesis(nn.Module):
    """Latents to pictures, by way of the style."""

    def __init__(self, settings: StyleGan.Settings, *, channels: int, image_size: int) -> None:
        super().__init__()
        side, steps = pyramid(image_size)
        style_size = settings.style_size
        self.mapping = Mapping(settings.latent_size, style_size, settings.mapping_layers)
        shape = [channels_at(level, settings.width) for level in range(steps + 1)]
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
    """Latents to style vectors, by `layers` dense layers."""

    # The layers learn at this fraction of the step size (Karras: 0.01, over a far longer training).
    RATE = 0.1

    def __init__(self, latent_size: int, style_size: int, layers: int) -> None:
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
    """All layers at one resolution: `double` the side, then `refine` by a convolution."""

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
        super().__init__()
        layers: list[nn.Module] = []
        if double:
            layers.append(Modulated(size_in, size_out, style_size, double=True))
        if refine:
            layers.append(Modulated(size_out, size_out, style_size, double=False))
        self.layers = nn.ModuleList(layers)
        self.scale = _scale(style_size, size_out)
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
    """A 3x3 convolution, or one that doubles the side, with modulation and demodulation."""

    def __init__(self, size_in: int, size_out: int, style_size: int, *, double: bool) -> None:
        super().__init__()
        self.doubles = double
        shape = (size_in, size_out, 4, 4) if double else (size_out, size_in, 3, 3)
        self.weight = nn.Parameter(torch.randn(shape) / math.sqrt(size_in * (4 if double else 9)))
        self.bias = nn.Parameter(torch.zeros(size_out))
        self.scale = _scale(style_size, size_in)

    def forward(self, map_NCHW: Tensor, w_NW: Tensor) -> Tensor:
        """The next map (N, C', H, W), or (N, C', 2 H, 2 W) where it doubles."""
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


def _scale(style_size: int, size: int) -> nn.Linear:
    """The layer from a style to the scales of `size` channels: around 1 at the start, and different for each w."""
    scale = nn.Linear(style_size, size)
    nn.init.normal_(scale.weight, std=style_size**-0.5)
    nn.init.ones_(scale.bias)
    return scale
