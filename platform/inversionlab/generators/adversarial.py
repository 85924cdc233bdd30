"""Two networks that learn against each other: what the learners of all GANs share.

A generator and a discriminator step in turns, each with its own optimizer and step size; what attackers
get is a running average of the generator (Karras et al. 2018; Yazici et al. 2019). The losses are the
subclass's. Half precision is used on CUDA only.
"""

from __future__ import annotations

import copy
from abc import abstractmethod
from typing import ClassVar

import torch
from pydantic import Field
from torch import Tensor, nn

from inversionlab.core.learner import GradientSync, Learner, make_optimizer, set_rate
from inversionlab.core.seeds import torch_stream
from inversionlab.generators.base import Generator, GeneratorSettings


class AdversarialSettings(GeneratorSettings):
    """What the settings of every GAN hold."""

    latent_size: int = Field(default=64, ge=1, le=4096)
    """m, the length of the latent vector."""
    width: int = Field(default=24, ge=4, le=512)
    """The generator's channels at full resolution; each halving doubles them, up to 8 x."""
    discriminator_width: int = Field(default=24, ge=4, le=512)
    """The discriminator's channels at half resolution; each halving doubles them, up to 8 x."""
    discriminator_rate: float = Field(default=4.0, gt=0, le=100)
    """Step size of the discriminator, as a multiple of the generator's (`training`)."""
    average_pictures: float = Field(default=5_000.0, gt=0)
    """Half-life of the running average of the generator's weights, in pictures."""


class AdversarialLearner(Learner):
    """Generator, its running average and a discriminator in training."""

    settings: AdversarialSettings
    betas: ClassVar[tuple[float, float]] = (0.5, 0.99)
    """Of AdamW, for both networks."""

    def __init__(
        self,
        settings: AdversarialSettings,
        *,
        seed: int,
        product: Generator,
        average: nn.Module,
        discriminator: nn.Module,
    ) -> None:
        """Take over untrained networks.

        `average` is the part of `product`, or all of it, that maps latents to pictures: a copy of it
        learns, and it follows. `discriminator` may be another part of `product`.
        """
        self.settings, self.seed = settings, seed
        self.average, self.discriminator = average, discriminator
        self.generator = copy.deepcopy(average)
        self._product = product
        average.requires_grad_(False)
        self.modules = {
            "generator": self.generator,
            "discriminator": self.discriminator,
            "average": self.average,
        }
        self.optimizers = {
            name: make_optimizer(self.modules[name].parameters(), settings.training)
            for name in ("generator", "discriminator")
        }
        for optimizer in self.optimizers.values():
            for group in optimizer.param_groups:
                if "betas" in group:
                    group["betas"] = self.betas
        self.schedule(0.0)
        self.counters: dict[str, float] = {"pictures": 0.0, "steps": 0.0}

    @abstractmethod
    def step(
        self, x_NCHW: Tensor, y_N: Tensor, rng: torch.Generator, sync: GradientSync
    ) -> dict[str, Tensor]:
        """Learn from one batch; see `Learner.step`."""

    def _latents(self, count: int, device: torch.device, rng: torch.Generator) -> Tensor:
        """Latents from the prior."""
        return self._product.draw(count, rng).to(device)

    def _half(self, x_NCHW: Tensor) -> torch.autocast:
        """Half precision where the tensor lies on a GPU."""
        return torch.autocast(x_NCHW.device.type, torch.bfloat16, enabled=x_NCHW.is_cuda)

    def _make(self, z_ND: Tensor) -> Tensor:
        """Pictures of the generator in training, in float32."""
        with self._half(z_ND):
            made_NCHW: Tensor = self.generator(z_ND)
        return made_NCHW.float()

    def _judge(self, x_NCHW: Tensor) -> Tensor:
        """Scores (N,) of the discriminator."""
        with self._half(x_NCHW):
            score_N: Tensor = self.discriminator(x_NCHW)
        return score_N

    def _descend(self, name: str, loss: Tensor, sync: GradientSync) -> None:
        """One step of the network `name` down the gradient of `loss`, averaged over the workers."""
        optimizer = self.optimizers[name]
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        sync(self.modules[name].parameters())
        optimizer.step()

    @torch.no_grad()
    def _follow(self, count: int) -> None:
        """Count a batch of `count` pictures over all workers, and let the running average follow.

        It follows faster early on, to forget the random start.
        """
        self.counters["pictures"] += count
        self.counters["steps"] += 1
        half_life = min(self.settings.average_pictures, 0.05 * self.counters["pictures"])
        keep = 0.5 ** (count / half_life)
        generator, average = self.generator, self.average
        for weight, new in zip(average.parameters(), generator.parameters(), strict=True):
            weight.lerp_(new, 1 - keep)
        for statistic, value in zip(average.buffers(), generator.buffers(), strict=True):
            statistic.copy_(value)

    def schedule(self, progress: float) -> None:
        """Follow the schedule of the settings."""
        for name, optimizer in self.optimizers.items():
            factor = self.settings.discriminator_rate if name == "discriminator" else 1.0
            set_rate(optimizer, self.settings.training, progress, factor)

    def product(self) -> Generator:
        """The running average of the generator, with the discriminator where attackers may use it."""
        return self._product

    @torch.no_grad()
    def samples(self, count: int) -> Tensor:
        """Pictures of the running average, of the same latents at every call."""
        self._product.eval()
        device = next(self.average.parameters()).device
        z_ND = self._latents(count, device, torch_stream(self.seed, "samples"))
        x_NCHW: Tensor = self._product(z_ND)
        return x_NCHW


def averaged(value: Tensor, sync: GradientSync) -> Tensor:
    """The mean of a detached tensor over the training workers, which `sync` takes for a gradient."""
    carrier = nn.Parameter(torch.zeros_like(value))
    carrier.grad = value.clone()
    sync([carrier])
    return carrier.grad
