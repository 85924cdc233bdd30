"""The base of every generator."""

from abc import ABC, abstractmethod
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from inversionlab.core.learner import Learner
from inversionlab.core.rows import Images
from inversionlab.core.seeds import torch_stream
from inversionlab.core.settings import Settings


class GeneratorSettings(Settings):
    """Base of a generator's settings; each generator's own class adds a literal `name`, and `training` where it
    trains."""

    name: str
    latent_size: int = 32
    """m, the length of the latent vector."""


class Generator(nn.Module, ABC):
    """Maps latent vectors to pictures, differentiable in the latent.

    A constructor takes `(settings, *, channels, image_size)`, and `classes` where `learns_from_target`. It raises
    `ConfigError` where the size is not a multiple of 8 from 16 to 256. The names of attributes that hold weights
    are stored with every artifact, so they must not change.
    """

    latent_size: int
    """m, the length of the latent vector."""
    layers: nn.Module
    """Latents to pictures; a generator with other parts overrides `forward`."""
    offers: ClassVar[frozenset[str]] = frozenset()
    """What it has besides pictures: `encoder`, `critic`, `style`, `classes` (a critic that knows the classes),
    `conditional` (latents of a given class)."""
    learns_from_target: ClassVar[bool] = False
    """Whether it is trained on the scores that the target model gives to the training pictures. Its learner then
    takes these scores (N, K) in place of class numbers."""
    needs_gradients: ClassVar[bool] = False
    """Whether that training also differentiates through the target model, so that it is for white-box attackers
    alone. Its `learner` then takes a view of the model as `teacher`."""
    bf16_on_cpu: ClassVar[bool] = True
    """Whether bfloat16 pays on a CPU that has it, and leaves a row's bits independent of its batch."""
    trains: ClassVar[bool] = True
    """Whether it is trained here. One that is not comes with its weights."""

    @classmethod
    def offers_at(cls, settings: Any) -> frozenset[str]:
        """What it offers at these settings; most offer the same at all."""
        return cls.offers

    def forward(self, z_ND: Tensor) -> Tensor:
        """Pictures (N, C, H, W) in [0, 1] of latents (N, m) ~ N(0, I)."""
        x_NCHW: Tensor = self.layers(z_ND)
        return x_NCHW

    @abstractmethod
    def learner(self, settings: Any, seed: int) -> Learner:
        """The learner of this untrained network; `settings` are those that it was built with.

        `seed` is that of the latents of `Learner.samples`. A learner draws the weights of further networks from
        PyTorch's global stream, which the caller has seeded.
        """

    @classmethod
    def lessons(cls, settings: Any, x_NCHW: Images, score_NK: Tensor) -> tuple[Images, Tensor]:
        """What one that `learns_from_target` learns, of pictures and their scores; by default just these."""
        return x_NCHW, score_NK

    @classmethod
    def further_queries(cls, settings: Any, pictures: int) -> int:
        """Pictures that its training sends to the target model, in addition to the public ones once.

        `pictures` is the number of lessons.
        """
        return 0

    def of_class(self, z_ND: Tensor, class_N: Tensor) -> Tensor:
        """The latents (N, m), of these classes; where `conditional` is offered."""
        raise NotImplementedError(f"{type(self).__name__} knows no classes")

    def encode(self, x_NCHW: Tensor) -> Tensor | None:
        """Latents (N, m) of pictures in [0, 1], or None where the generator has no encoder."""
        return None

    def draw(self, count: int, rng: torch.Generator) -> Tensor:
        """`count` latents (count, m) from the prior N(0, I), drawn on the CPU from `rng`."""
        return torch.randn(count, self.latent_size, generator=rng)

    @torch.no_grad()
    def samples(self, count: int, seed: int) -> Tensor:
        """Pictures (count, C, H, W) in [0, 1] of latents from the prior that depend on `seed` alone."""
        was_training = self.training
        self.eval()
        device = next(self.parameters()).device
        x_NCHW: Tensor = self(self.draw(count, torch_stream(seed, "samples")).to(device))
        self.train(was_training)
        return x_NCHW

    def critic(self, x_NCHW: Tensor) -> Tensor:
        """How real pictures look, (N,), larger is more real, differentiable; where `critic` is offered."""
        raise NotImplementedError(f"{type(self).__name__} keeps no discriminator")

    def style(self, z_ND: Tensor) -> Tensor:
        """Style vectors w (N, W) of latents (N, m); where `style` is offered."""
        raise NotImplementedError(f"{type(self).__name__} has no style vectors")

    def synthesize(self, w_NW: Tensor) -> Tensor:
        """Pictures (N, C, H, W) in [0, 1] of style vectors (N, W); where `style` is offered."""
        raise NotImplementedError(f"{type(self).__name__} has no style vectors")
