"""How the GAN of `style_gan.py` is trained: as `adaptive_learner.py` says.

Deviations: no path length regularisation and no style mixing (Karras et al. leave both out on small
pictures too). The product is the running average of mapping and synthesis, with the discriminator.
"""

from __future__ import annotations

from typing import ClassVar

import torch

from inversionlab.generators.adaptive_learner import AdaptiveLearner
from inversionlab.generators.style_gan import StyleGan
from inversionlab.generators.style_maker import Maker


class StyleGanLearner(AdaptiveLearner):
    """Mapping and synthesis, their running average and the discriminator in training."""

    settings: StyleGan.Settings
    average: Maker
    betas: ClassVar[tuple[float, float]] = (0.0, 0.99)

    def __init__(
        self, settings: StyleGan.Settings, *, channels: int, image_size: int, seed: int
    ) -> None:
        """Build networks and optimizers; `seed` sets the initial weights."""
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            net = StyleGan(settings, channels=channels, image_size=image_size)
        super().__init__(
            settings, seed=seed, product=net, average=net.maker, discriminator=net.discriminator
        )
