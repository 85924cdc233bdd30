"""A DCGAN-type generator, trained with adaptive augmentation and minibatch discrimination.

Papers: Kotsuji et al. (2025), section 5.1 (the generator of the dummy recognizer); Radford et al.
(2016), DCGAN; Karras et al. (2020), adaptive augmentation; Salimans et al. (2016), minibatch
discrimination. The training stands in `adaptive_learner.py`.
Inputs: latents (N, m) ~ N(0, I); pictures have H = W a multiple of 8 from 16 to 256.
Deviations: SiLU in place of ReLU, because attacks differentiate the generator; one 3x3 convolution
after the last doubling.
"""

from __future__ import annotations

from typing import Literal

from pydantic import Field
from torch import Tensor

from inversionlab.core.learner import TrainingSettings
from inversionlab.generators.adaptive_learner import AdaptiveSettings
from inversionlab.generators.base import Generator
from inversionlab.generators.blocks import dcgan


class GanAda(Generator):
    """The generator of the GAN."""

    class Settings(AdaptiveSettings):
        """Sizes, losses, augmentation and training."""

        name: Literal["gan_ada"] = "gan_ada"
        minibatch_kernels: int = Field(default=16, ge=0, le=512)
        """Statistics of minibatch discrimination; 0 turns it off."""
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
        self.layers = dcgan(
            self.latent_size, width=settings.width, channels=channels, image_size=image_size
        )

    def forward(self, z_ND: Tensor) -> Tensor:
        """Pictures (N, C, H, W) in [0, 1] of latents (N, m)."""
        x_NCHW: Tensor = self.layers(z_ND)
        return x_NCHW
