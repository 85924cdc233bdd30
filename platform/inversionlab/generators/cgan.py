"""A conditional GAN: pictures for a distribution over the classes of the target model.

Paper: Mirza and Osindero, "Conditional Generative Adversarial Nets", 2014, equation 2:
min_G max_D E[log D(x | y)] + E[log(1 - D(G(z | y) | y))], y being a given label's vector. Here y is the vector
of scores (N, K) that the target model gives to the picture x.
Used by: Gong et al. (2023), section VI, as the defender's substitute for an unknown attacker's generator.
Latents (N, m + K) ~ N(0, I): m entries of noise, and K entries u that stand for the condition
softmax(log pi + s u). pi is the mean of the scores seen in training; the sharpness s is steered to where such
draws are as pure (sum of squares) as the scores. So a draw is a plausible condition, each condition has its
latent, and a search over latents moves the condition too.
Inputs: pictures (N, C, H, W) in [0, 1], H = W a multiple of 8 from 16 to 256; scores (N, K), rows summing to 1,
or to less where truncated (a truncated row is scaled up to 1).
Offers: `critic`, the logit of "real" under the condition pi.
Deviations: D joins y by an inner product of embeddings (Miyato & Koyama 2018), not by concatenation; half of the
generated pictures have the scores of the batch as conditions, half have drawn ones; the step is that of
`adaptive_training.py`; scores belong to the pictures before augmentation; the product is the generator's running
average, with the discriminator.
"""

from functools import partial
from typing import ClassVar, Literal, cast

import torch
from pydantic import Field
from torch import Tensor, nn

from inversionlab.core.learner import GradientSync, Losses
from inversionlab.generators.adaptive_training import PROBABILITY, AdaptiveSettings, adaptive_step
from inversionlab.generators.base import Generator, GeneratorSettings
from inversionlab.generators.blocks import averaged, dcgan
from inversionlab.generators.discriminator import Discriminator
from inversionlab.generators.gan_training import Batch, GanLearner, GanSettings

SPREAD = 0.1
"""The share of pi that is spread evenly, so that the softmax reaches a class that no picture showed."""


class Cgan(Generator):
    """The generator and the discriminator, both of which take a condition."""

    offers: ClassVar[frozenset[str]] = frozenset({"critic"})
    learns_from_target: ClassVar[bool] = True

    class Settings(AdaptiveSettings, GanSettings, GeneratorSettings):
        """Sizes, losses, augmentation and training."""

        name: Literal["cgan"] = "cgan"
        latent_size: int = Field(default=64, ge=1, le=4096)
        """m, the number of noise entries. The latent vector is longer by one entry for each class."""
        embedding: int = Field(default=32, ge=1, le=4096)
        """Length of each network's embedding of a condition."""

    def __init__(self, settings: Settings, *, channels: int, image_size: int, classes: int) -> None:
        super().__init__()
        shape = {"channels": channels, "image_size": image_size, "classes": classes}
        self.maker = ConditionalGenerator(settings, **shape)
        self.latent_size = self.maker.latent_size
        self.discriminator = ConditionalDiscriminator(settings, **shape)

    def forward(self, z_ND: Tensor) -> Tensor:
        """Pictures (N, C, H, W) in [0, 1] of latents (N, m + K)."""
        x_NCHW: Tensor = self.maker(z_ND)
        return x_NCHW

    def critic(self, x_NCHW: Tensor) -> Tensor:
        """The logit of "real" (N,) of pictures in [0, 1], under the mean condition."""
        share_NK = self.maker.share_K.expand(len(x_NCHW), -1)
        score_N: Tensor = self.discriminator(x_NCHW, share_NK)
        return score_N

    def learner(self, settings: Settings, seed: int) -> GanLearner:
        """Trains both networks; the labels of a batch are scores (N, K)."""
        step = partial(_step, settings)
        return GanLearner(
            self, self.maker, self.discriminator, settings, seed, step=step, counters=(PROBABILITY,)
        )


class ConditionalGenerator(nn.Module):
    """Latents to pictures."""

    share_K: Tensor
    sharpness: Tensor

    def __init__(
        self, settings: Cgan.Settings, *, channels: int, image_size: int, classes: int
    ) -> None:
        super().__init__()
        self.parts = [settings.latent_size, classes]
        self.latent_size = sum(self.parts)
        self.register_buffer("share_K", torch.full((classes,), 1 / classes))
        self.register_buffer("sharpness", torch.ones(()))
        # Normal weights: the embedding of a one-hot condition has entries of the size of the noise's.
        self.embed = nn.Linear(classes, settings.embedding, bias=False)
        nn.init.normal_(self.embed.weight)
        self.layers = dcgan(
            settings.latent_size + settings.embedding, settings.width, channels, image_size
        )

    def forward(self, z_ND: Tensor) -> Tensor:
        """Pictures (N, C, H, W) in [0, 1] of latents (N, m + K)."""
        noise_NM, _ = z_ND.split(self.parts, dim=1)
        x_NCHW: Tensor = self.layers(torch.cat([noise_NM, self.embed(self.condition(z_ND))], dim=1))
        return x_NCHW

    def condition(self, z_ND: Tensor) -> Tensor:
        """The conditions (N, K) of latents (N, m + K); rows sum to 1."""
        _, u_NK = z_ND.split(self.parts, dim=1)
        condition_NK: Tensor = (self.share_K.log() + self.sharpness * u_NK).softmax(dim=1)
        return condition_NK

    def conditioned(self, z_ND: Tensor, y_NK: Tensor) -> Tensor:
        """The latents with their conditions replaced by `y_NK` (N, K), scaled up to sum to 1."""
        noise_NM, _ = z_ND.split(self.parts, dim=1)
        log_NK = y_NK.clamp_min(1e-6).log() - self.share_K.log()
        # The softmax ignores a constant; without one the latents stay near 0.
        u_NK = (log_NK - log_NK.mean(dim=1, keepdim=True)) / self.sharpness
        return torch.cat([noise_NM, u_NK], dim=1)

    @torch.no_grad()
    def fit_prior(self, y_NK: Tensor, z_ND: Tensor, steps: float, sync: GradientSync) -> None:
        """Move the mean and the purity of drawn conditions toward those of the scores.

        Args:
            y_NK: scores of a batch; rows sum to 1.
            z_ND: as many latents from the prior.
            steps: batches seen before; the first ones move the mean faster.
            sync: averages over the training workers.
        """
        purity_2 = torch.stack(
            [p_NK.square().sum(dim=1).mean() for p_NK in (y_NK, self.condition(z_ND))]
        )
        seen = averaged(torch.cat([purity_2, y_NK.mean(dim=0)]), sync)
        target = (1 - SPREAD) * seen[2:] + SPREAD / len(self.share_K)
        self.share_K.lerp_(target, max(0.01, 1 / (1 + steps)))
        self.sharpness.mul_((0.1 * (seen[0] / seen[1]).log().clamp(-1, 1)).exp())


class ConditionalDiscriminator(nn.Module):
    """Pictures and conditions to one score for each pair."""

    def __init__(
        self, settings: Cgan.Settings, *, channels: int, image_size: int, classes: int
    ) -> None:
        super().__init__()
        self.trunk = Discriminator(settings.discriminator_width, channels, image_size)
        self.project = nn.Linear(self.trunk.feature_size, settings.embedding)
        self.embed = nn.Linear(classes, settings.embedding, bias=False)
        nn.init.normal_(self.embed.weight, std=settings.embedding**-0.5)

    def forward(self, x_NCHW: Tensor, y_NK: Tensor) -> Tensor:
        """Scores (N,) of pictures (N, C, H, W) under the conditions (N, K)."""
        feature_NF = self.trunk.features(x_NCHW)
        match_NE = self.project(feature_NF) * self.embed(y_NK)
        score_N: Tensor = self.trunk.score(feature_NF)[:, 0].float() + match_NE.float().sum(dim=1)
        return score_N


def _step(settings: Cgan.Settings, gan: GanLearner, batch: Batch) -> Losses:
    """Fit the prior of the conditions, then take an `adaptive_step`; the batch's `y_N` are scores (N, K)."""
    x_NCHW, y_N, rng, sync = batch
    generator = cast(ConditionalGenerator, gan.generator)
    y_NK = y_N.float() / y_N.float().sum(dim=1, keepdim=True).clamp_min(1e-6)
    generator.fit_prior(y_NK, gan.latents(x_NCHW, rng), gan.counters["steps"], sync)

    def draw() -> Tensor:
        z_ND = gan.latents(x_NCHW, rng)
        from_batch_N1 = (torch.rand(len(z_ND), 1, generator=rng) < 0.5).to(z_ND.device)
        return torch.where(from_batch_N1, generator.conditioned(z_ND, y_NK), z_ND)

    def score_fake(fake_NCHW: Tensor, z_ND: Tensor) -> tuple[Tensor, None]:
        with torch.no_grad():
            condition_NK = generator.condition(z_ND)
        return gan.discriminator(fake_NCHW, condition_NK), None

    return adaptive_step(
        settings,
        gan,
        batch,
        draw=draw,
        score_real=lambda real_NCHW: gan.discriminator(real_NCHW, y_NK),
        score_fake=score_fake,
    )
