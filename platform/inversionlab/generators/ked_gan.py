"""The inversion-specific GAN of KED-MI, which learns from the target model what tells its classes apart.

Papers: Chen et al., "Knowledge-Enriched Distributional Model Inversion Attacks", ICCV 2021, section 3.1;
Salimans et al. (2016), sections 3.1 and 5: a discriminator with K classes, "fake" being class K + 1 with
logit 0, and feature matching.
Equations: l_k(x), k = 1..K, are the discriminator's logits, f(x) the features before them, T(x) the scores that
the target model gives to a public picture, Z(x) = log sum_k exp l_k(x); then D(x) = sigmoid(Z(x)) is the
probability of "real", and p_k(x) = exp(l_k(x) - Z(x)) that of class k given "real".

    L_D = E_real[-sum_k T_k(x) log p_k(x)] + 1/2 (E_real[-log D(x)] + E_z[-log(1 - D(G(z)))])
    L_G = mean over features of |E_real f(x) - E_z f(G(z))| + lambda_h E_z[-sum_k p_k log p_k (G(z))]
          + lambda_a E_z[-log D(G(z))]

with -log D = softplus(Z) - Z and -log(1 - D) = softplus(Z).
Inputs: latents (N, m) ~ N(0, I); pictures (N, C, H, W) in [0, 1], H = W a multiple of 8 from 16 to 256;
scores (N, K), rows summing to 1, or to less where truncated (nothing is learned from what was cut).
Offers: `critic`, Z(x); `classes`, the logits l_k(x) from `class_logits`.
Deviations: the last term of L_G is not in the paper (lambda_a = 0 leaves it out): matched features alone did not
come to faces within a short training; the feature distance is L1, as in the authors' code (the paper writes L2,
squared); the discriminator has no minibatch statistic, so it scores pictures one by one, and no norm at its
first level; the pictures are mirrored at random; both networks step equally often (code: one step of G for five
of D); the product is the generator's running average, with the discriminator.
"""

from functools import partial
from typing import ClassVar, Literal

import torch
from pydantic import Field
from torch import Tensor, nn
from torch.nn import functional

from inversionlab.core.learner import Losses, TrainingSettings
from inversionlab.generators.base import Generator, GeneratorSettings
from inversionlab.generators.blocks import channels_at, dcgan, mirror, pyramid
from inversionlab.generators.gan_training import (
    Batch,
    GanLearner,
    GanSettings,
    gan_training_settings,
)


class KedGan(Generator):
    """The generator and the discriminator with classes."""

    offers: ClassVar[frozenset[str]] = frozenset({"critic", "classes"})
    learns_from_target: ClassVar[bool] = True

    class Settings(GanSettings, GeneratorSettings):
        """Sizes, losses and training."""

        name: Literal["ked_gan"] = "ked_gan"
        discriminator_width: int = Field(default=24, ge=4, le=512)
        """The discriminator's channels at half resolution; each halving doubles them, up to 8 x."""
        entropy_weight: float = Field(default=1e-4, ge=0, le=1000)
        """lambda_h, the weight of the entropy of the classes of generated pictures (Chen: 1e-4)."""
        adversarial_weight: float = Field(default=1.0, ge=0, le=1000)
        """lambda_a, the weight of -log D on generated pictures (Chen: 0)."""
        training: TrainingSettings = gan_training_settings(epochs=20)
        """How the generator is trained; AdamW has betas (0.5, 0.99)."""

    def __init__(self, settings: Settings, *, channels: int, image_size: int, classes: int) -> None:
        super().__init__()
        self.latent_size = settings.latent_size
        self.layers = dcgan(self.latent_size, settings.width, channels, image_size)
        self.discriminator = ClassDiscriminator(
            settings.discriminator_width, channels, image_size, classes
        )

    def critic(self, x_NCHW: Tensor) -> Tensor:
        """Z(x) (N,), the logit of "real": positive where pictures in [0, 1] look real."""
        return self.class_logits(x_NCHW).logsumexp(dim=1)

    def class_logits(self, x_NCHW: Tensor) -> Tensor:
        """The discriminator's own logits l_k(x) (N, K) of the target model's classes."""
        logits_NK: Tensor = self.discriminator(x_NCHW)
        return logits_NK

    def learner(self, settings: Settings, seed: int) -> GanLearner:
        """Trains both networks; the labels of a batch are scores (N, K)."""
        step = partial(_step, self.discriminator, settings)
        return GanLearner(self, self.layers, self.discriminator, settings, seed, step=step)


class ClassDiscriminator(nn.Module):
    """Pictures to one logit for each class; "fake" has the logit 0."""

    def __init__(self, width: int, channels: int, image_size: int, classes: int) -> None:
        super().__init__()
        side, steps = pyramid(image_size)
        layers: list[nn.Module] = []
        size_in = channels
        for level in range(steps):
            size_out = channels_at(level, width)
            layers.append(nn.Conv2d(size_in, size_out, 4, 2, 1))
            # Not at the first level, where it would hide the colours.
            if level > 0:
                layers.append(nn.InstanceNorm2d(size_out, affine=True))
            layers.append(nn.LeakyReLU(0.2))
            size_in = size_out
        self.layers = nn.Sequential(*layers, nn.Flatten())
        self.classes = nn.Linear(size_in * side**2, classes)

    def forward(self, x_NCHW: Tensor) -> Tensor:
        """Logits (N, K) of pictures (N, C, H, W) in [0, 1]."""
        return self.features_and_logits(x_NCHW)[1]

    def features_and_logits(self, x_NCHW: Tensor) -> tuple[Tensor, Tensor]:
        """Features f(x) (N, F) and logits (N, K) of pictures in [0, 1], in float32."""
        x_NCHW = x_NCHW.contiguous(memory_format=torch.channels_last)
        feature_NF: Tensor = self.layers(x_NCHW * 2 - 1)
        logits_NK: Tensor = self.classes(feature_NF)
        return feature_NF.float(), logits_NK.float()


def _step(
    discriminator: ClassDiscriminator,
    settings: KedGan.Settings,
    gan: GanLearner,
    batch: Batch,
) -> Losses:
    """Learn from one batch; its `y_N` are scores (N, K).

    Returns:
        `classes`, `reality` (the two parts of L_D), `feature_distance`, `entropy` and `realism`
        (those of L_G, unweighted).
    """
    x_NCHW, y_N, rng, sync = batch
    count = len(x_NCHW)
    real_NCHW = mirror(x_NCHW, rng)
    with torch.no_grad():
        fake_NCHW = gan.generate(gan.latents(x_NCHW, rng))
    with gan.autocast(x_NCHW):
        logits_NK = discriminator(torch.cat([real_NCHW, fake_NCHW]))
    classes = soft_cross_entropy(logits_NK[:count], y_N)
    reality = reality_loss(logits_NK[:count], logits_NK[count:])
    gan.descend("discriminator", classes + reality, sync)

    # Only the generator learns here: spare the gradients of the discriminator's weights.
    discriminator.requires_grad_(False)
    fake_NCHW = gan.generate(gan.latents(x_NCHW, rng))
    with gan.autocast(x_NCHW):
        fake_NF, fake_NK = discriminator.features_and_logits(fake_NCHW)
        with torch.no_grad():
            real_NF = discriminator.features_and_logits(real_NCHW)[0]
    realism = functional.softplus(-fake_NK.logsumexp(dim=1)).mean()
    distance = (real_NF.mean(dim=0) - fake_NF.mean(dim=0)).abs().mean()
    spread = entropy(fake_NK)
    weighted = settings.entropy_weight * spread + settings.adversarial_weight * realism
    gan.descend("generator", distance + weighted, sync)
    discriminator.requires_grad_(True)
    return {
        "classes": classes.detach(),
        "reality": reality.detach(),
        "feature_distance": distance.detach(),
        "entropy": spread.detach(),
        "realism": realism.detach(),
    }


def soft_cross_entropy(logits_NK: Tensor, score_NK: Tensor) -> Tensor:
    """Mean over rows of -sum_k T_k log p_k."""
    return -(score_NK * functional.log_softmax(logits_NK, dim=1)).sum(dim=1).mean()


def reality_loss(real_NK: Tensor, fake_NK: Tensor) -> Tensor:
    """Half of E[-log D] on real plus E[-log(1 - D)] on fake pictures, of their class logits."""
    real_N, fake_N = real_NK.logsumexp(dim=1), fake_NK.logsumexp(dim=1)
    return 0.5 * (functional.softplus(-real_N).mean() + functional.softplus(fake_N).mean())


def entropy(logits_NK: Tensor) -> Tensor:
    """Mean entropy over rows, in nats."""
    log_NK = functional.log_softmax(logits_NK, dim=1)
    return -(log_NK.exp() * log_NK).sum(dim=1).mean()
