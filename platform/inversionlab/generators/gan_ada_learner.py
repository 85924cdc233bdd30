"""How the GAN of `gan_ada.py` is trained: as `adaptive_learner.py` says."""

from __future__ import annotations

import torch

from inversionlab.generators.adaptive_learner import AdaptiveLearner
from inversionlab.generators.discriminator import Discriminator
from inversionlab.generators.gan_ada import GanAda


class GanAdaLearner(AdaptiveLearner):
    """Generator, discriminator and the generator's running average in training."""

    settings: GanAda.Settings
    average: GanAda
    discriminator: Discriminator

    def __init__(
        self, settings: GanAda.Settings, *, channels: int, image_size: int, seed: int
    ) -> None:
        """Build networks and optimizers; `seed` sets the initial weights."""
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            generator = GanAda(settings, channels=channels, image_size=image_size)
            discriminator = Discriminator(
                width=settings.discriminator_width,
                kernels=settings.minibatch_kernels,
                channels=channels,
                image_size=image_size,
            )
        super().__init__(
            settings,
            seed=seed,
            product=generator,
            average=generator,
            discriminator=discriminator,
        )
