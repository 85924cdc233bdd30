"""WGAN-GP: a generator and a critic that estimates the Wasserstein distance.

Paper: Gulrajani et al., "Improved Training of Wasserstein GANs", 2017, algorithm 1. The critic D learns by
E[D(G(z))] - E[D(x)] + lambda E[(|grad D(u)| - 1)^2], where u = e x + (1 - e) G(z), e ~ U(0, 1) for each picture.
After `critic_steps` steps of the critic, the generator takes one by -E[D(G(z))].
Used by: GMI (Zhang et al. 2020), whose prior loss is -D(G(z)); Gong et al. (2023), section IV, as the
defender's substitute for an unknown attacker's generator.
Inputs: latents (N, m) ~ N(0, I); pictures (N, C, H, W) in [0, 1], H = W a multiple of 8 from 16 to 256.
Offers: `critic`, D(x).
Deviations: by default the critic takes one step, 3 x as large, for each of the generator's (Heusel et al. 2017)
in place of 5 equal ones: as good for less time; both use the same G(z); SiLU in the generator, no normalisation
in the critic; the pictures are mirrored at random; the product is the generator's running average, with the
critic.
"""

from collections.abc import Callable
from functools import partial
from typing import ClassVar, Literal

import torch
from pydantic import Field
from torch import Tensor

from inversionlab.core.learner import Losses, TrainingSettings
from inversionlab.generators.base import Generator, GeneratorSettings
from inversionlab.generators.blocks import dcgan, mirror
from inversionlab.generators.discriminator import Discriminator
from inversionlab.generators.gan_training import (
    Batch,
    GanLearner,
    GanSettings,
    gan_training_settings,
)


class WganGp(Generator):
    """The generator and its critic."""

    offers: ClassVar[frozenset[str]] = frozenset({"critic"})

    class Settings(GanSettings, GeneratorSettings):
        """Sizes, losses and training; the critic is the discriminator."""

        name: Literal["wgan_gp"] = "wgan_gp"
        discriminator_rate: float = Field(default=3.0, gt=0, le=100)
        """Step size of the critic, as a multiple of the generator's (`training`)."""
        critic_steps: int = Field(default=1, ge=1, le=100)
        """Steps of the critic for each step of the generator. Each of them has a batch of its own."""
        penalty_weight: float = Field(default=10.0, ge=0, le=1000)
        """lambda, the weight of the gradient penalty."""
        training: TrainingSettings = gan_training_settings(epochs=24, rate=3e-4)
        """How the generator is trained; AdamW has betas (0.5, 0.9)."""

    def __init__(self, settings: Settings, *, channels: int, image_size: int) -> None:
        super().__init__()
        self.latent_size = settings.latent_size
        self.layers = dcgan(self.latent_size, settings.width, channels, image_size)
        self.discriminator = Discriminator(settings.discriminator_width, channels, image_size)

    def critic(self, x_NCHW: Tensor) -> Tensor:
        """D(x) (N,) of pictures in [0, 1]: only differences between pictures have a meaning."""
        score_N: Tensor = self.discriminator(x_NCHW)
        return score_N

    def learner(self, settings: Settings, seed: int) -> GanLearner:
        """Trains generator and critic."""
        step = partial(_step, settings)
        return GanLearner(
            self, self.layers, self.discriminator, settings, seed, step=step, betas=(0.5, 0.9)
        )


def _step(settings: WganGp.Settings, gan: GanLearner, batch: Batch) -> Losses:
    """Learn from one batch; returns `distance` (the estimate) and `penalty` (unweighted)."""
    x_NCHW, _, rng, sync = batch
    generator_learns = gan.counters["steps"] % settings.critic_steps == 0
    real_NCHW = mirror(x_NCHW, rng)
    with torch.set_grad_enabled(generator_learns):
        fake_NCHW = gan.generate(gan.latents(x_NCHW, rng))
    fixed_NCHW = fake_NCHW.detach()
    with gan.autocast(x_NCHW):
        real_N, fake_N = gan.discriminator(torch.cat([real_NCHW, fixed_NCHW])).chunk(2)
    distance = real_N.mean() - fake_N.mean()
    mix_N = torch.rand(len(x_NCHW), generator=rng).to(x_NCHW.device)
    penalty = gradient_penalty(gan.discriminator, real_NCHW, fixed_NCHW, mix_N)
    gan.descend("discriminator", settings.penalty_weight * penalty - distance, sync)
    if generator_learns:
        # Only the generator learns here: spare the gradients of the critic's weights.
        gan.discriminator.requires_grad_(False)
        with gan.autocast(x_NCHW):
            score_N = gan.discriminator(fake_NCHW)
        gan.descend("generator", -score_N.mean(), sync)
        gan.discriminator.requires_grad_(True)
    return {"distance": distance.detach(), "penalty": penalty.detach()}


def gradient_penalty(
    critic: Callable[[Tensor], Tensor], real_NCHW: Tensor, fake_NCHW: Tensor, mix_N: Tensor
) -> Tensor:
    """Mean of (|grad D(u)| - 1)^2, u = mix x + (1 - mix) G(z), in float32."""
    between_NCHW = fake_NCHW + mix_N[:, None, None, None] * (real_NCHW - fake_NCHW)
    between_NCHW = between_NCHW.detach().requires_grad_(True)
    (slope_NCHW,) = torch.autograd.grad(critic(between_NCHW).sum(), between_NCHW, create_graph=True)
    # The small constant keeps the root's own gradient finite where the slope vanishes.
    length_N = (slope_NCHW.square().sum(dim=(1, 2, 3)) + 1e-12).sqrt()
    return (length_N - 1).square().mean()
