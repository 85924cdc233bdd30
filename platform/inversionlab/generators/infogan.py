"""InfoGAN: a part of the latent vector, the code, must be readable from the picture.

Paper: Chen et al., "InfoGAN: Interpretable Representation Learning by Information Maximizing Generative
Adversarial Nets", 2016, equations 5 and 6: both networks' losses gain lambda times
-L_I = -E[log Q(c | G(z, c))] - H(c). Q is a second head on the discriminator's features. Gaussian codes: Q gives
mean and log sigma; a categorical code: Q gives logits.
Used by: Gong et al. (2023), section VI, as the defender's substitute for an unknown attacker's generator.
Inputs: latents (N, m + g + c) ~ N(0, I): m entries of noise, g Gaussian codes, and c entries u whose
softmax(2 u) is the categorical code; pictures (N, C, H, W) in [0, 1], H = W a multiple of 8 from 16 to 256.
Offers: `critic`, the logit of "real".
Deviations: continuous codes are Gaussian, not uniform, and the categorical code is a soft one, so that every
latent ~ N(0, I) is a draw and has a gradient; the step is that of `adaptive_training.py` (adaptive augmentation
and R1 in place of batch normalisation in the discriminator); Q reads augmented pictures; the product is the
generator's running average, with the discriminator.
"""

import math
from functools import partial
from typing import ClassVar, Literal

import torch
from pydantic import Field
from torch import Tensor, nn

from inversionlab.core.learner import Losses
from inversionlab.generators.adaptive_training import PROBABILITY, AdaptiveSettings, adaptive_step
from inversionlab.generators.base import Generator, GeneratorSettings
from inversionlab.generators.blocks import dcgan
from inversionlab.generators.discriminator import Discriminator
from inversionlab.generators.gan_training import Batch, GanLearner, GanSettings


class InfoGan(Generator):
    """The generator, and the discriminator with the head that reads the code."""

    offers: ClassVar[frozenset[str]] = frozenset({"critic"})

    class Settings(AdaptiveSettings, GanSettings, GeneratorSettings):
        """Sizes, losses, augmentation and training."""

        name: Literal["infogan"] = "infogan"
        latent_size: int = Field(default=64, ge=1, le=4096)
        """m, the number of noise entries. The latent vector is longer by the codes."""
        gaussian_codes: int = Field(default=6, ge=0, le=512)
        """g, the number of continuous codes."""
        categories: int = Field(default=10, ge=2, le=512)
        """c, the number of values of the categorical code."""
        information_weight: float = Field(default=0.1, ge=0, le=1000)
        """lambda, the weight of the mutual information, in nats (Chen: 1 for a categorical code)."""

    def __init__(self, settings: Settings, *, channels: int, image_size: int) -> None:
        super().__init__()
        self.maker = CodeGenerator(settings, channels=channels, image_size=image_size)
        self.latent_size = self.maker.latent_size
        self.discriminator = CodeReader(settings, channels=channels, image_size=image_size)

    def forward(self, z_ND: Tensor) -> Tensor:
        """Pictures (N, C, H, W) in [0, 1] of latents (N, m + g + c)."""
        x_NCHW: Tensor = self.maker(z_ND)
        return x_NCHW

    def critic(self, x_NCHW: Tensor) -> Tensor:
        """The logit of "real" (N,) of pictures in [0, 1]."""
        out_NP: Tensor = self.discriminator(x_NCHW)
        return out_NP[:, 0]

    def learner(self, settings: Settings, seed: int) -> GanLearner:
        """Trains both networks; a step also returns `beside`, -lambda L_I."""
        step = partial(_step, self, settings)
        return GanLearner(
            self, self.maker, self.discriminator, settings, seed, step=step, counters=(PROBABILITY,)
        )


class CodeGenerator(nn.Module):
    """Latents to pictures."""

    def __init__(self, settings: InfoGan.Settings, *, channels: int, image_size: int) -> None:
        super().__init__()
        self.parts = [settings.latent_size, settings.gaussian_codes, settings.categories]
        self.latent_size = sum(self.parts)
        self.layers = dcgan(self.latent_size, settings.width, channels, image_size)

    def forward(self, z_ND: Tensor) -> Tensor:
        """Pictures (N, C, H, W) in [0, 1] of latents (N, m + g + c)."""
        noise_NM, _, _ = z_ND.split(self.parts, dim=1)
        x_NCHW: Tensor = self.layers(torch.cat([noise_NM, *self.codes(z_ND)], dim=1))
        return x_NCHW

    def codes(self, z_ND: Tensor) -> tuple[Tensor, Tensor]:
        """The Gaussian codes (N, g) and the categorical one (N, c), its rows summing to 1."""
        _, gaussian_NG, choice_NC = z_ND.split(self.parts, dim=1)
        return gaussian_NG, (2 * choice_NC).softmax(dim=1)


class CodeReader(nn.Module):
    """The discriminator with the head Q: pictures to the score of "real" and an estimate of the code."""

    def __init__(self, settings: InfoGan.Settings, *, channels: int, image_size: int) -> None:
        super().__init__()
        self.parts = [1, settings.gaussian_codes, settings.gaussian_codes, settings.categories]
        self.trunk = Discriminator(settings.discriminator_width, channels, image_size)
        last = nn.Linear(128, sum(self.parts) - 1)
        # Q starts with the prior's own values: wild guesses would drown the other losses.
        nn.init.zeros_(last.weight)
        nn.init.zeros_(last.bias)
        self.reader = nn.Sequential(
            nn.LayerNorm(self.trunk.feature_size),
            nn.Linear(self.trunk.feature_size, 128),
            nn.LeakyReLU(0.2),
            last,
        )

    def forward(self, x_NCHW: Tensor) -> Tensor:
        """The score, means and log sigmas of the Gaussian codes, logits: (N, 1 + 2 g + c)."""
        feature_NF = self.trunk.features(x_NCHW)
        return torch.cat([self.trunk.score(feature_NF), self.reader(feature_NF)], dim=1).float()

    def surprise(self, out_NP: Tensor, gaussian_NG: Tensor, choice_NC: Tensor) -> Tensor:
        """-L_I in nats, a scalar, from the output of `forward` for pictures of these codes.

        0 where Q is no better than the prior; at least -log c for the categorical code.
        """
        _, mean_NG, log_sigma_NG, logits_NC = out_NP.split(self.parts, dim=1)
        # A sigma near 0 would let a single code outweigh everything else.
        log_sigma_NG = log_sigma_NG.clamp(-2, 2)
        error_NG = (gaussian_NG - mean_NG) / log_sigma_NG.exp()
        # The entropy of N(0, 1) takes the constant of its density away and leaves 1/2.
        gaussian_N = (0.5 * error_NG.square() + log_sigma_NG - 0.5).sum(dim=1)
        choice_N = -(choice_NC * logits_NC.log_softmax(dim=1)).sum(dim=1) - math.log(self.parts[3])
        surprise: Tensor = (gaussian_N + choice_N).mean()
        return surprise


def _step(net: InfoGan, settings: InfoGan.Settings, gan: GanLearner, batch: Batch) -> Losses:
    """An `adaptive_step` whose further loss is -lambda L_I."""

    def score_fake(fake_NCHW: Tensor, z_ND: Tensor) -> tuple[Tensor, Tensor]:
        out_NP: Tensor = net.discriminator(fake_NCHW)
        surprise = net.discriminator.surprise(out_NP, *net.maker.codes(z_ND))
        return out_NP[:, 0], settings.information_weight * surprise

    return adaptive_step(settings, gan, batch, score_real=net.critic, score_fake=score_fake)
