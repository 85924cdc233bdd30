"""The training that all GANs share: a generator and a discriminator learn against each other.

Each GAN brings its own step, which holds its losses. Both networks have an optimizer and a step size of their
own. The product is a running average of the generator (Karras et al. 2018; Yazici et al. 2019). On CUDA the
networks run in bfloat16; losses and penalties are computed in float32.
"""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import NamedTuple

import torch
from pydantic import Field
from torch import Tensor, nn

from inversionlab.core.learner import GradientSync, Learner, Losses, TrainingSettings, set_rate
from inversionlab.core.settings import Settings
from inversionlab.generators.base import Generator


def gan_training_settings(*, epochs: int, rate: float = 5e-4) -> TrainingSettings:
    """Batches of 32 pictures, a constant step size `rate`, and no weight decay."""
    return TrainingSettings(
        epochs=epochs, batch_size=32, learning_rate=rate, schedule="constant", weight_decay=0.0
    )


class GanSettings(Settings):
    """The settings that every GAN has."""

    latent_size: int = Field(default=64, ge=1, le=4096)
    """m, the length of the latent vector."""
    width: int = Field(default=16, ge=4, le=512)
    """The generator's channels at full resolution; each halving doubles them, up to 8 x."""
    discriminator_width: int = Field(default=16, ge=4, le=512)
    """The discriminator's channels at half resolution; each halving doubles them, up to 8 x."""
    discriminator_rate: float = Field(default=4.0, gt=0, le=100)
    """Step size of the discriminator, as a multiple of the generator's (`training`)."""
    average_pictures: float = Field(default=5_000.0, gt=0)
    """Half-life of the running average of the generator's weights, in pictures."""
    training: TrainingSettings = gan_training_settings(epochs=24)
    """How the generator is trained; AdamW has betas (0.5, 0.99)."""


class Batch(NamedTuple):
    """The arguments of `Learner.step`."""

    x_NCHW: Tensor
    y_N: Tensor
    rng: torch.Generator
    sync: GradientSync


class GanLearner(Learner):
    """A GAN in training: the generator, its running average and the discriminator."""

    def __init__(
        self,
        product: Generator,
        average: nn.Module,
        discriminator: nn.Module,
        settings: GanSettings,
        seed: int,
        *,
        step: GanStep,
        betas: tuple[float, float] = (0.5, 0.99),
        counters: tuple[str, ...] = (),
    ) -> None:
        """Take over untrained networks.

        Args:
            product: the generator that the training makes.
            average: the part of `product`, or all of it, that maps latents to pictures. A copy of it
                learns, and it follows as the running average.
            discriminator: a network of its own, or another part of `product`.
            settings: step sizes, and the half-life of the running average.
            seed: of the latents of `samples`.
            step: the losses; see `GanStep`.
            betas: of AdamW, for both networks.
            counters: names of further numbers that `step` keeps in `counters`; they start at 0.
        """
        self.settings, self.seed = settings, seed
        self.average, self.discriminator = average, discriminator
        self.generator = copy.deepcopy(average)
        self._product, self._step = product, step
        average.requires_grad_(False)
        learning = {"generator": self.generator, "discriminator": discriminator}
        super().__init__(settings.training, **learning)
        self.modules = {**learning, "average": average}
        for optimizer in self.optimizers.values():
            for group in optimizer.param_groups:
                if "betas" in group:
                    group["betas"] = betas
        self.schedule(0.0)
        self.counters = dict.fromkeys(("pictures", "steps", *counters), 0.0)

    def step(self, x_NCHW: Tensor, y_N: Tensor, rng: torch.Generator, sync: GradientSync) -> Losses:
        """Learn from one batch by the GAN's own step, then let the running average follow.

        The average moves faster early on, to forget the random start.
        """
        losses = self._step(self, Batch(x_NCHW, y_N, rng, sync))
        count = len(x_NCHW) * self.workers
        self.counters["pictures"] += count
        self.counters["steps"] += 1
        half_life = min(self.settings.average_pictures, 0.05 * self.counters["pictures"])
        keep = 0.5 ** (count / half_life)
        with torch.no_grad():
            learned = self.generator.parameters()
            for weight, new in zip(self.average.parameters(), learned, strict=True):
                weight.lerp_(new, 1 - keep)
            for statistic, value in zip(
                self.average.buffers(), self.generator.buffers(), strict=True
            ):
                statistic.copy_(value)
        return losses

    def latents(self, x_NCHW: Tensor, rng: torch.Generator) -> Tensor:
        """Latents (N, m) from the prior, as many as there are pictures, on the pictures' device."""
        return self._product.draw(len(x_NCHW), rng).to(x_NCHW.device)

    def generate(self, z_ND: Tensor) -> Tensor:
        """Pictures (N, C, H, W) by the generator in training, in float32."""
        with self.autocast(z_ND):
            fake_NCHW: Tensor = self.generator(z_ND)
        return fake_NCHW.float()

    def schedule(self, progress: float) -> None:
        """Follow the schedule of the settings."""
        for name, optimizer in self.optimizers.items():
            factor = self.settings.discriminator_rate if name == "discriminator" else 1.0
            set_rate(optimizer, self.settings.training, progress, factor)

    def product(self) -> Generator:
        """The running average of the generator, with the discriminator where attackers may use it."""
        return self._product

    def samples(self, count: int) -> Tensor:
        """Pictures of the running average, of the same latents at every call."""
        return self._product.samples(count, self.seed)


GanStep = Callable[[GanLearner, Batch], Losses]
"""What `Learner.step` does for one GAN: it computes the losses and takes one step of each network."""
