"""WGAN-GP: a generator and a critic that estimates the Wasserstein distance.

Paper: Gulrajani et al., "Improved Training of Wasserstein GANs", 2017, algorithm 1. The critic D learns
by E[D(G(z))] - E[D(x)] + lambda E[(|grad D(u)| - 1)^2], where u = e x + (1 - e) G(z), e ~ U(0, 1) for
each picture; after `critic_steps` steps of it the generator takes one by -E[D(G(z))].
Used by: GMI (Zhang et al. 2020), whose prior loss is -D(G(z)); Gong et al. (2023), section IV, as the
defender's substitute of an unknown attacker's generator.
Inputs: latents (N, m) ~ N(0, I); pictures (N, C, H, W) in [0, 1], H = W a multiple of 8 from 16 to 256.
Deviations: by default one step of the critic, 3 x as large, for each of the generator (Heusel et al.
2017) in place of 5 equal ones: as good for less time; both use the same G(z); SiLU in the generator,
no normalisation in the critic; the pictures are mirrored at random; the product is a running average.
"""

from __future__ import annotations

from typing import ClassVar, Literal

import torch
from pydantic import Field
from torch import Tensor

from inversionlab.core.learner import GradientSync, TrainingSettings
from inversionlab.generators.adversarial import AdversarialLearner, AdversarialSettings
from inversionlab.generators.base import Generator
from inversionlab.generators.blocks import dcgan, mirror
from inversionlab.generators.discriminator import Discriminator


class WganGp(Generator):
    """The generator and its critic."""

    offers: ClassVar[frozenset[str]] = frozenset({"critic"})

    class Settings(AdversarialSettings):
        """Sizes, losses and training."""

        name: Literal["wgan_gp"] = "wgan_gp"
        width: int = Field(default=16, ge=4, le=512)
        """The generator's channels at full resolution; each halving doubles them, up to 8 x."""
        discriminator_width: int = Field(default=16, ge=4, le=512)
        """The critic's channels at half resolution; each halving doubles them, up to 8 x."""
        discriminator_rate: float = Field(default=3.0, gt=0, le=100)
        """Step size of the critic, as a multiple of the generator's (`training`)."""
        critic_steps: int = Field(default=1, ge=1, le=100)
        """Steps of the critic, each on a batch of its own, for one of the generator."""
        penalty_weight: float = Field(default=10.0, ge=0, le=1000)
        """lambda, the weight of the gradient penalty."""
        training: TrainingSettings = TrainingSettings(
            epochs=24, batch_size=32, learning_rate=3e-4, schedule="constant", weight_decay=0.0
        )
        """How it is trained. AdamW runs with betas (0.5, 0.9)."""

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
        self.discriminator = Discriminator(
            width=settings.discriminator_width,
            kernels=0,  # A minibatch statistic would make a score depend on the other pictures.
            channels=channels,
            image_size=image_size,
        )

    def forward(self, z_ND: Tensor) -> Tensor:
        """Pictures (N, C, H, W) in [0, 1] of latents (N, m)."""
        x_NCHW: Tensor = self.layers(z_ND)
        return x_NCHW

    def critic(self, x_NCHW: Tensor) -> Tensor:
        """D(x) (N,) of pictures in [0, 1]: only differences between pictures have a meaning."""
        score_N: Tensor = self.discriminator(x_NCHW)
        return score_N


class WganGpLearner(AdversarialLearner):
    """Generator and critic in training."""

    settings: WganGp.Settings
    betas: ClassVar[tuple[float, float]] = (0.5, 0.9)

    def __init__(
        self, settings: WganGp.Settings, *, channels: int, image_size: int, seed: int
    ) -> None:
        """Build networks and optimizers; `seed` sets the initial weights."""
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            net = WganGp(settings, channels=channels, image_size=image_size)
        super().__init__(
            settings, seed=seed, product=net, average=net.layers, discriminator=net.discriminator
        )

    def step(
        self, x_NCHW: Tensor, y_N: Tensor, rng: torch.Generator, sync: GradientSync
    ) -> dict[str, Tensor]:
        """Learn from one batch; returns `distance` (the estimate) and `penalty` (unweighted)."""
        count, device = len(x_NCHW), x_NCHW.device
        makers_turn = self.counters["steps"] % self.settings.critic_steps == 0
        real_NCHW = mirror(x_NCHW, rng)
        with torch.set_grad_enabled(makers_turn):
            made_NCHW = self._make(self._latents(count, device, rng))
        fixed_NCHW = made_NCHW.detach()
        real_N, made_N = self._judge(torch.cat([real_NCHW, fixed_NCHW])).chunk(2)
        distance = real_N.mean() - made_N.mean()
        penalty = self._penalty(real_NCHW, fixed_NCHW, torch.rand(count, generator=rng).to(device))
        self._descend("discriminator", self.settings.penalty_weight * penalty - distance, sync)
        if makers_turn:
            # Only the generator learns here: spare the gradients of the critic's weights.
            self.discriminator.requires_grad_(False)
            self._descend("generator", -self._judge(made_NCHW).mean(), sync)
            self.discriminator.requires_grad_(True)
        self._follow(count * self.workers)
        return {"distance": distance.detach(), "penalty": penalty.detach()}

    def _penalty(self, real_NCHW: Tensor, made_NCHW: Tensor, mix_N: Tensor) -> Tensor:
        """Mean squared distance of the slope from 1, on the lines between pictures, in float32."""
        between_NCHW = made_NCHW + mix_N[:, None, None, None] * (real_NCHW - made_NCHW)
        between_NCHW = between_NCHW.detach().requires_grad_(True)
        (slope_NCHW,) = torch.autograd.grad(
            self.discriminator(between_NCHW).sum(), between_NCHW, create_graph=True
        )
        # The small constant keeps the root's own gradient finite where the slope vanishes.
        length_N = (slope_NCHW.square().sum(dim=(1, 2, 3)) + 1e-12).sqrt()
        return (length_N - 1).square().mean()
