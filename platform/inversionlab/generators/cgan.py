"""A conditional GAN: pictures made for a distribution over the classes of the model under attack.

Paper: Mirza and Osindero, "Conditional Generative Adversarial Nets", 2014, equation 2:
min_G max_D E[log D(x | y)] + E[log(1 - D(G(z | y) | y))], y being a given label's vector. Here y is the
vector of scores (N, K) that the model under attack gives to the picture x.
Used by: Gong et al. (2023), section VI, as the defender's substitute of an unknown attacker's generator.
Latents (N, m + K) ~ N(0, I): m entries of noise and K entries u that stand for the condition
softmax(log pi + s u), where pi is the mean of the scores seen in training and the sharpness s is steered
to where such draws are as pure (sum of squares) as the scores. So a draw is a plausible condition, each
condition has its latent, and a search over latents moves the condition too.
Inputs: pictures (N, C, H, W) in [0, 1], H = W a multiple of 8 from 16 to 256; scores (N, K), rows summing
to 1, or to less where truncated (a cut row is scaled up to 1).
Offers: `critic`, the logit of "real" under the condition pi.
Deviations: D joins y by an inner product of embeddings (Miyato & Koyama 2018), not by concatenation; half
of the made pictures have the scores of the batch as conditions, half have drawn ones; training as in
`adaptive_learner.py`; scores belong to the pictures before augmentation.
"""

from __future__ import annotations

from typing import ClassVar, Literal

import torch
from pydantic import Field
from torch import Tensor, nn

from inversionlab.core.learner import GradientSync, TrainingSettings
from inversionlab.core.settings import ConfigError
from inversionlab.generators.adaptive_learner import AdaptiveLearner, AdaptiveSettings
from inversionlab.generators.adversarial import averaged
from inversionlab.generators.base import Generator
from inversionlab.generators.blocks import dcgan
from inversionlab.generators.discriminator import Discriminator

SPREAD = 0.1
"""The share of pi that is spread evenly, so that the softmax reaches a class that no picture showed."""


class Cgan(Generator):
    """The generator and the discriminator, both of which take a condition."""

    offers: ClassVar[frozenset[str]] = frozenset({"critic"})
    learns_from_target: ClassVar[bool] = True

    class Settings(AdaptiveSettings):
        """Sizes, losses, augmentation and training."""

        name: Literal["cgan"] = "cgan"
        latent_size: int = Field(default=64, ge=1, le=4096)
        """m, the entries of noise; the latent vector is longer by one entry for each class."""
        embedding: int = Field(default=32, ge=1, le=4096)
        """Numbers that either network makes of a condition."""
        width: int = Field(default=16, ge=4, le=512)
        """The generator's channels at full resolution; each halving doubles them, up to 8 x."""
        discriminator_width: int = Field(default=16, ge=4, le=512)
        """The discriminator's channels at half resolution; each halving doubles them, up to 8 x."""
        training: TrainingSettings = TrainingSettings(
            epochs=24, batch_size=32, learning_rate=5e-4, schedule="constant", weight_decay=0.0
        )
        """How it is trained. AdamW runs with betas (0.5, 0.99)."""

    def __init__(self, settings: Settings, *, channels: int, image_size: int, classes: int) -> None:
        """Build for pictures of `channels` x `image_size` x `image_size` and a model of `classes`.

        Raises:
            ConfigError: the size is not a multiple of 8 from 16 to 256, or there is no class.
        """
        if classes < 1:
            raise ConfigError(
                f"cgan learns from the scores of a model: classes = {classes}, needs 1 or more"
            )
        super().__init__()
        shape = {"channels": channels, "image_size": image_size, "classes": classes}
        self.maker = ConditionalMaker(settings, **shape)
        self.latent_size = self.maker.latent_size
        self.discriminator = ConditionalJudge(settings, **shape)

    def forward(self, z_ND: Tensor) -> Tensor:
        """Pictures (N, C, H, W) in [0, 1] of latents (N, m + K)."""
        x_NCHW: Tensor = self.maker(z_ND)
        return x_NCHW

    def critic(self, x_NCHW: Tensor) -> Tensor:
        """The logit of "real" (N,) of pictures in [0, 1], under the mean condition."""
        share_NK = self.maker.share_K.expand(len(x_NCHW), -1)
        score_N: Tensor = self.discriminator(x_NCHW, share_NK)
        return score_N


class ConditionalMaker(nn.Module):
    """Latents to pictures."""

    share_K: Tensor
    sharpness: Tensor

    def __init__(
        self, settings: Cgan.Settings, *, channels: int, image_size: int, classes: int
    ) -> None:
        """Build for pictures of `channels` x `image_size` x `image_size` and a model of `classes`."""
        super().__init__()
        self.parts = [settings.latent_size, classes]
        self.latent_size = sum(self.parts)
        self.register_buffer("share_K", torch.full((classes,), 1 / classes))
        self.register_buffer("sharpness", torch.ones(()))
        # Normal weights: a sure condition is embedded with entries of the size of the noise's.
        self.embed = nn.Linear(classes, settings.embedding, bias=False)
        nn.init.normal_(self.embed.weight)
        self.layers = dcgan(
            settings.latent_size + settings.embedding,
            width=settings.width,
            channels=channels,
            image_size=image_size,
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
        # The softmax does not see a constant; without one the latents stay near 0.
        u_NK = (log_NK - log_NK.mean(dim=1, keepdim=True)) / self.sharpness
        return torch.cat([noise_NM, u_NK], dim=1)


class ConditionalJudge(nn.Module):
    """Pictures and conditions to one score for each pair."""

    def __init__(
        self, settings: Cgan.Settings, *, channels: int, image_size: int, classes: int
    ) -> None:
        """Build for pictures of `channels` x `image_size` x `image_size` and a model of `classes`."""
        super().__init__()
        self.trunk = Discriminator(
            width=settings.discriminator_width,
            kernels=0,  # A minibatch statistic would make a score depend on the other pictures.
            channels=channels,
            image_size=image_size,
        )
        self.project = nn.Linear(self.trunk.feature_size, settings.embedding)
        self.embed = nn.Linear(classes, settings.embedding, bias=False)
        nn.init.normal_(self.embed.weight, std=settings.embedding**-0.5)

    def forward(self, x_NCHW: Tensor, y_NK: Tensor) -> Tensor:
        """Scores (N,) of pictures (N, C, H, W) under the conditions (N, K)."""
        feature_NF = self.trunk.features(x_NCHW)
        match_NE = self.project(feature_NF) * self.embed(y_NK)
        score_N: Tensor = self.trunk.score(feature_NF)[:, 0].float() + match_NE.float().sum(dim=1)
        return score_N


class CganLearner(AdaptiveLearner):
    """Generator and discriminator in training; the labels of a batch are scores (N, K)."""

    settings: Cgan.Settings
    generator: ConditionalMaker

    def __init__(
        self, settings: Cgan.Settings, *, channels: int, image_size: int, seed: int, classes: int
    ) -> None:
        """Build networks and optimizers; `seed` sets the initial weights."""
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            net = Cgan(settings, channels=channels, image_size=image_size, classes=classes)
        super().__init__(
            settings, seed=seed, product=net, average=net.maker, discriminator=net.discriminator
        )

    def step(
        self, x_NCHW: Tensor, y_N: Tensor, rng: torch.Generator, sync: GradientSync
    ) -> dict[str, Tensor]:
        """Learn from one batch, see `AdaptiveLearner.step`; `y_N` are scores (N, K)."""
        y_NK = y_N.float() / y_N.float().sum(dim=1, keepdim=True).clamp_min(1e-6)
        self._fit_prior(y_NK, rng, sync)
        return super().step(x_NCHW, y_NK, rng, sync)

    @torch.no_grad()
    def _fit_prior(self, y_NK: Tensor, rng: torch.Generator, sync: GradientSync) -> None:
        """Let drawn conditions follow the scores: their mean and their purity."""
        maker = self.generator
        drawn_NK = maker.condition(self._latents(len(y_NK), y_NK.device, rng))
        purity_2 = torch.stack([p_NK.square().sum(dim=1).mean() for p_NK in (y_NK, drawn_NK)])
        seen = averaged(torch.cat([purity_2, y_NK.mean(dim=0)]), sync)
        target = (1 - SPREAD) * seen[2:] + SPREAD / len(maker.share_K)
        maker.share_K.lerp_(target, max(0.01, 1 / (1 + self.counters["steps"])))
        maker.sharpness.mul_((0.1 * (seen[0] / seen[1]).log().clamp(-1, 1)).exp())

    def _sources(self, x_NCHW: Tensor, y_N: Tensor, rng: torch.Generator) -> Tensor:
        z_ND = super()._sources(x_NCHW, y_N, rng)
        as_seen_N1 = (torch.rand(len(z_ND), 1, generator=rng) < 0.5).to(z_ND.device)
        return torch.where(as_seen_N1, self.generator.conditioned(z_ND, y_N), z_ND)

    def _score_real(self, x_NCHW: Tensor, y_N: Tensor) -> Tensor:
        score_N: Tensor = self.discriminator(x_NCHW, y_N)
        return score_N

    def _score_made(self, x_NCHW: Tensor, z_ND: Tensor) -> tuple[Tensor, None]:
        with torch.no_grad():
            y_NK = self.generator.condition(z_ND)
        score_N: Tensor = self.discriminator(x_NCHW, y_NK)
        return score_N, None
