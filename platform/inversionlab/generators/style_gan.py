"""A small StyleGAN: a mapping network, and a synthesis network whose layers a style modulates.

Papers: Karras et al. (2019), mapping network and styles; Karras et al. (2020, CVPR), modulated
convolutions and skip connections to the picture; An et al. (2022), Mirror, which attacks such a one.
The layers stand in `style_maker.py`, the training in `style_gan_learner.py`.
Equations:

    w = f(z / rms(z)),   f: dense layers, each followed by sqrt(2) leaky_relu(., 0.2), the last too
    layer:    s = A w + b,   y_o = silu(d_o conv(s_i x_i, W)_o + b_o),
              d_o = (sum over i, k of (s_i W_oik)^2 + eps)^-1/2   (demodulation)
    picture = sigmoid(sum over levels of the upsampled (conv1x1(s x) + b))

Inputs: latents (N, m) ~ N(0, I); styles w (N, W); pictures have H = W a multiple of 8 from 16 to 256.
P space (Mirror): leaky_relu(w, 5.0) undoes the last leaky ReLU, up to a factor.
Offers: `style`; `critic`, the discriminator it was trained against.
Deviations: no noise inputs, so that w alone decides the picture; SiLU in place of leaky ReLU in the
synthesis, because attacks differentiate it; doublings are learned 4x4 transposed convolutions, and a
second convolution a level only stands where maps are at most 16 wide; one w for all layers, no style
mixing; weights scaled at the start instead of at every step (but for the mapping network); the
discriminator is that of `gan_ada`, without minibatch statistics, so that it judges pictures one by one.
"""

from __future__ import annotations

from typing import ClassVar, Literal

from pydantic import Field
from torch import Tensor

from inversionlab.core.learner import TrainingSettings
from inversionlab.generators.adaptive_learner import AdaptiveSettings
from inversionlab.generators.base import Generator
from inversionlab.generators.discriminator import Discriminator
from inversionlab.generators.style_maker import Maker


class StyleGan(Generator):
    """Mapping, synthesis and discriminator."""

    offers: ClassVar[frozenset[str]] = frozenset({"style", "critic"})

    class Settings(AdaptiveSettings):
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
        training: TrainingSettings = TrainingSettings(
            epochs=20, batch_size=32, learning_rate=5e-4, schedule="constant", weight_decay=0.0
        )
        """How it is trained. AdamW runs with betas (0.0, 0.99)."""

    def __init__(self, settings: Settings, *, channels: int, image_size: int) -> None:
        """Build for pictures of `channels` x `image_size` x `image_size`.

        Raises:
            ConfigError: the size is not a multiple of 8 from 16 to 256.
        """
        super().__init__()
        self.latent_size = settings.latent_size
        self.maker = Maker(
            latent_size=settings.latent_size,
            style_size=settings.style_size,
            mapping_layers=settings.mapping_layers,
            width=settings.width,
            channels=channels,
            image_size=image_size,
        )
        self.discriminator = Discriminator(
            width=settings.discriminator_width,
            kernels=0,
            channels=channels,
            image_size=image_size,
        )

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
