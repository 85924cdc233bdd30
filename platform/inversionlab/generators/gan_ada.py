"""A DCGAN-type generator, trained with adaptive augmentation and minibatch discrimination.

Papers: Kotsuji et al. (2025), section 5.1 (the generator of the dummy recognizer); Radford et al. (2016), DCGAN;
Karras et al. (2020), adaptive augmentation; Salimans et al. (2016), minibatch discrimination. The training step
is that of `adaptive_training.py`.
Inputs: latents (N, m) ~ N(0, I); pictures have H = W a multiple of 8 from 16 to 256.
Deviations: SiLU in place of ReLU, because attacks differentiate the generator; one 3x3 convolution after the
last doubling; the product is the generator's running average.
"""

from functools import partial
from typing import Literal

from pydantic import Field

from inversionlab.core.learner import TrainingSettings
from inversionlab.generators.adaptive_training import PROBABILITY, AdaptiveSettings, adaptive_step
from inversionlab.generators.base import Generator, GeneratorSettings
from inversionlab.generators.blocks import dcgan
from inversionlab.generators.discriminator import Discriminator
from inversionlab.generators.gan_training import GanLearner, GanSettings, gan_training_settings


class GanAda(Generator):
    """The generator of the GAN."""

    class Settings(AdaptiveSettings, GanSettings, GeneratorSettings):
        """Sizes, losses, augmentation and training."""

        name: Literal["gan_ada"] = "gan_ada"
        width: int = Field(default=24, ge=4, le=512)
        """The generator's channels at full resolution; each halving doubles them, up to 8 x."""
        discriminator_width: int = Field(default=24, ge=4, le=512)
        """The discriminator's channels at half resolution; each halving doubles them, up to 8 x."""
        minibatch_kernels: int = Field(default=16, ge=0, le=512)
        """Number of statistics of minibatch discrimination; 0 turns it off."""
        training: TrainingSettings = gan_training_settings(epochs=40)
        """How the generator is trained; AdamW has betas (0.5, 0.99)."""

    def __init__(self, settings: Settings, *, channels: int, image_size: int) -> None:
        super().__init__()
        self.latent_size, self.shape = settings.latent_size, (channels, image_size)
        self.layers = dcgan(self.latent_size, settings.width, channels, image_size)

    def learner(self, settings: Settings, seed: int) -> GanLearner:
        """Trains this generator against a discriminator that is not kept."""
        discriminator = Discriminator(
            settings.discriminator_width, *self.shape, kernels=settings.minibatch_kernels
        )
        step = partial(adaptive_step, settings)
        return GanLearner(
            self, self, discriminator, settings, seed, step=step, counters=(PROBABILITY,)
        )
