"""A DCGAN-type generator, trained with adaptive augmentation and minibatch discrimination.

Papers: Kotsuji et al. (2025), section 5.1 (the generator of the dummy recognizer); Radford et al.
(2016), DCGAN; Karras et al. (2020), adaptive augmentation; Salimans et al. (2016), minibatch
discrimination. The training stands in `gan_ada_learner.py`.
Inputs: latents (N, m) ~ N(0, I); pictures have H = W a multiple of 8 from 16 to 256.
Deviations: SiLU in place of ReLU, because attacks differentiate the generator; one 3x3 convolution
after the last doubling.
"""

from __future__ import annotations

from typing import Literal

from pydantic import Field
from torch import Tensor, nn

from inversionlab.generators.base import Generator, GeneratorSettings
from inversionlab.generators.blocks import ToMap, channels_at, plan, up
from inversionlab.learning import TrainingSettings


class GanAda(Generator):
    """The generator of the GAN."""

    class Settings(GeneratorSettings):
        """Sizes, losses, augmentation and training."""

        name: Literal["gan_ada"] = "gan_ada"
        latent_size: int = Field(default=64, ge=1, le=4096)
        """m, the length of the latent vector."""
        width: int = Field(default=24, ge=4, le=512)
        """The generator's channels at full resolution; each halving doubles them, up to 8 x."""
        discriminator_width: int = Field(default=24, ge=4, le=512)
        """The discriminator's channels at half resolution; each halving doubles them, up to 8 x."""
        minibatch_kernels: int = Field(default=16, ge=0, le=512)
        """Statistics of minibatch discrimination; 0 turns it off."""
        discriminator_rate: float = Field(default=4.0, gt=0, le=100)
        """Step size of the discriminator, as a multiple of the generator's (`training`)."""
        r1_weight: float = Field(default=0.02, ge=0, le=1000)
        """gamma, the weight of the gradient penalty."""
        ada_target: float = Field(default=0.6, ge=-1, le=1)
        """The mean sign of the discriminator on real pictures that p is steered to."""
        ada_pictures: int = Field(default=50_000, ge=1, le=1_000_000_000)
        """Pictures over which p could go from 0 to 1."""
        ada_limit: float = Field(default=0.8, ge=0, le=1)
        """The largest p; 0 turns the augmentation off."""
        average_pictures: float = Field(default=5_000.0, gt=0)
        """Half-life of the running average of the generator's weights, in pictures."""
        training: TrainingSettings = TrainingSettings(
            epochs=40, batch_size=32, learning_rate=5e-4, schedule="constant", weight_decay=0.0
        )
        """How it is trained. AdamW runs with betas (0.5, 0.99)."""

    def __init__(self, settings: Settings, *, channels: int, image_size: int) -> None:
        """Build for pictures of `channels` x `image_size` x `image_size`.

        Raises:
            ConfigError: the size is not a multiple of 8 from 16 to 256.
        """
        super().__init__()
        self.latent_size = settings.latent_size
        side, steps = plan(image_size)
        sizes = [channels_at(level, settings.width) for level in range(steps + 1)]
        self.layers = nn.Sequential(
            ToMap(self.latent_size, sizes[steps], side),
            nn.BatchNorm2d(sizes[steps]),
            nn.SiLU(),
            *(up(sizes[level + 1], sizes[level]) for level in range(steps - 1, -1, -1)),
            nn.Conv2d(sizes[0], channels, 3, padding=1),
            nn.Sigmoid(),
        )

    def forward(self, z_ND: Tensor) -> Tensor:
        """Pictures (N, C, H, W) in [0, 1] of latents (N, m)."""
        x_NCHW: Tensor = self.layers(z_ND)
        return x_NCHW
