"""What every generator network is, whatever its structure."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import ClassVar

import torch
from torch import Tensor, nn

from inversionlab.core.learner import TrainingSettings
from inversionlab.core.settings import Settings


class GeneratorSettings(Settings):
    """Base of the settings of a generator; each one's own class adds a literal `name`."""

    name: str
    latent_size: int = 32
    """m, the length of the latent vector."""
    training: TrainingSettings = TrainingSettings()
    """How it is trained."""


class Generator(nn.Module, ABC):
    """Latent vectors to pictures, differentiable in the latent."""

    latent_size: int
    """m, the length of the latent vector."""
    offers: ClassVar[frozenset[str]] = frozenset()
    """What it has beside pictures: `encoder`, `critic`, `style`, `classes` (a critic that knows the classes)."""
    learns_from_target: ClassVar[bool] = False
    """Whether it learns from the scores that the model under attack gives to the training pictures. Its
    learner is then handed these scores (N, K) in place of class numbers, and its constructor `classes`."""

    @abstractmethod
    def forward(self, z_ND: Tensor) -> Tensor:
        """Pictures (N, C, H, W) in [0, 1] of latents (N, m) ~ N(0, I)."""

    def encode(self, x_NCHW: Tensor) -> Tensor | None:
        """Latents (N, m) of pictures in [0, 1], or None where the generator has no encoder."""
        return None

    def draw(self, count: int, rng: torch.Generator) -> Tensor:
        """`count` latents (count, m) from the prior N(0, I), drawn on the CPU from `rng`."""
        return torch.randn(count, self.latent_size, generator=rng)

    def critic(self, x_NCHW: Tensor) -> Tensor:
        """How real pictures look, (N,), the more the larger, differentiable; where `critic` is offered."""
        raise NotImplementedError(f"{type(self).__name__} keeps no discriminator")

    def style(self, z_ND: Tensor) -> Tensor:
        """Style vectors w (N, W) of latents (N, m); where `style` is offered."""
        raise NotImplementedError(f"{type(self).__name__} has no style vectors")

    def synthesize(self, w_NW: Tensor) -> Tensor:
        """Pictures (N, C, H, W) in [0, 1] of style vectors (N, W); where `style` is offered."""
        raise NotImplementedError(f"{type(self).__name__} has no style vectors")
