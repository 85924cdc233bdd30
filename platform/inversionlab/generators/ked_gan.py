"""The inversion-specific GAN of KED-MI, which learns from the model under attack what tells its classes apart.

Papers: Chen et al., "Knowledge-Enriched Distributional Model Inversion Attacks", ICCV 2021, section 3.1;
Salimans et al. (2016), sections 3.1 and 5: a discriminator with K classes, "made" being class K + 1 with
logit 0, and feature matching.
Equations: l_k(x), k = 1..K, are the discriminator's logits, f(x) what stands before them, T(x) the scores
of the model under attack on a public picture, Z(x) = log sum_k exp l_k(x); then D(x) = sigmoid(Z(x)) is
the probability of "real", and p_k(x) = exp(l_k(x) - Z(x)) that of class k given "real".

    L_D = E_real[-sum_k T_k(x) log p_k(x)] + 1/2 (E_real[-log D(x)] + E_z[-log(1 - D(G(z)))])
    L_G = mean over features of |E_real f(x) - E_z f(G(z))| + lambda_h E_z[-sum_k p_k log p_k (G(z))]
          + lambda_a E_z[-log D(G(z))]

with -log D = softplus(Z) - Z and -log(1 - D) = softplus(Z).
Inputs: latents (N, m) ~ N(0, I); pictures (N, C, H, W) in [0, 1], H = W a multiple of 8 from 16 to 256;
scores (N, K), rows summing to 1, or to less where truncated (what was cut teaches nothing).
Offers: `critic`, Z(x); `classes`, the logits l_k(x) from `class_logits`.
Deviations: the last term of L_G is not in the paper (lambda_a = 0 leaves it out): matched features alone
did not come to faces within a short training; the feature distance is L1, as in the authors' code (the
paper writes L2, squared); no minibatch statistic in the discriminator, so that it judges pictures one by
one, and no norm at its first level; the pictures are mirrored at random; both networks step equally
often (code: one step of G for five of D); the product is the generator's running average.
"""

from __future__ import annotations

from typing import ClassVar, Literal

import torch
from pydantic import Field
from torch import Tensor, nn
from torch.nn import functional

from inversionlab.core.learner import GradientSync, TrainingSettings
from inversionlab.core.settings import ConfigError
from inversionlab.generators.adversarial import AdversarialLearner, AdversarialSettings
from inversionlab.generators.base import Generator
from inversionlab.generators.blocks import channels_at, dcgan, mirror, plan


class KedGan(Generator):
    """The generator and the discriminator with classes."""

    offers: ClassVar[frozenset[str]] = frozenset({"critic", "classes"})
    learns_from_target: ClassVar[bool] = True

    class Settings(AdversarialSettings):
        """Sizes, losses and training."""

        name: Literal["ked_gan"] = "ked_gan"
        width: int = Field(default=16, ge=4, le=512)
        """The generator's channels at full resolution; each halving doubles them, up to 8 x."""
        entropy_weight: float = Field(default=1e-4, ge=0, le=1000)
        """lambda_h, the weight of the entropy of the classes of made pictures (Chen: 1e-4)."""
        adversarial_weight: float = Field(default=1.0, ge=0, le=1000)
        """lambda_a, the weight of -log D on made pictures (Chen: 0)."""
        training: TrainingSettings = TrainingSettings(
            epochs=20, batch_size=32, learning_rate=5e-4, schedule="constant", weight_decay=0.0
        )
        """How it is trained. AdamW runs with betas (0.5, 0.99)."""

    def __init__(self, settings: Settings, *, channels: int, image_size: int, classes: int) -> None:
        """Build for pictures of `channels` x `image_size` x `image_size` and a model of `classes`.

        Raises:
            ConfigError: the size is not a multiple of 8 from 16 to 256, or there is no class.
        """
        super().__init__()
        self.latent_size = settings.latent_size
        self.layers = dcgan(
            self.latent_size, width=settings.width, channels=channels, image_size=image_size
        )
        self.discriminator = ClassDiscriminator(
            width=settings.discriminator_width,
            channels=channels,
            image_size=image_size,
            classes=classes,
        )

    def forward(self, z_ND: Tensor) -> Tensor:
        """Pictures (N, C, H, W) in [0, 1] of latents (N, m)."""
        x_NCHW: Tensor = self.layers(z_ND)
        return x_NCHW

    def critic(self, x_NCHW: Tensor) -> Tensor:
        """Z(x) (N,), the logit of "real": positive where pictures in [0, 1] look real."""
        return self.class_logits(x_NCHW).logsumexp(dim=1)

    def class_logits(self, x_NCHW: Tensor) -> Tensor:
        """The discriminator's own logits l_k(x) (N, K) of the classes of the model under attack."""
        logits_NK: Tensor = self.discriminator(x_NCHW)
        return logits_NK


class ClassDiscriminator(nn.Module):
    """Pictures to one logit for each class; "made" has the logit 0."""

    def __init__(self, *, width: int, channels: int, image_size: int, classes: int) -> None:
        """Build for pictures of `channels` x `image_size` x `image_size`.

        Raises:
            ConfigError: there is no class.
        """
        super().__init__()
        if classes < 1:
            raise ConfigError(
                f"ked_gan learns from the scores of a model: classes = {classes}, needs 1 or more"
            )
        side, steps = plan(image_size)
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
        return self.evaluator(x_NCHW)[1]

    def evaluator(self, x_NCHW: Tensor) -> tuple[Tensor, Tensor]:
        """Features f(x) (N, F) and logits (N, K) of pictures in [0, 1], in float32."""
        x_NCHW = x_NCHW.contiguous(memory_format=torch.channels_last)
        feature_NF: Tensor = self.layers(x_NCHW * 2 - 1)
        logits_NK: Tensor = self.classes(feature_NF)
        return feature_NF.float(), logits_NK.float()


class KedGanLearner(AdversarialLearner):
    """Generator and discriminator in training; the labels of a batch are scores (N, K)."""

    settings: KedGan.Settings
    discriminator: ClassDiscriminator

    def __init__(
        self, settings: KedGan.Settings, *, channels: int, image_size: int, seed: int, classes: int
    ) -> None:
        """Build networks and optimizers; `seed` sets the initial weights."""
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            net = KedGan(settings, channels=channels, image_size=image_size, classes=classes)
        super().__init__(
            settings, seed=seed, product=net, average=net.layers, discriminator=net.discriminator
        )

    def step(
        self, x_NCHW: Tensor, y_N: Tensor, rng: torch.Generator, sync: GradientSync
    ) -> dict[str, Tensor]:
        """Learn from one batch; `y_N` are scores (N, K).

        Returns:
            `classes`, `reality` (the two parts of L_D), `feature_distance`, `entropy` and `realism`
            (those of L_G, unweighted).
        """
        count, device = len(x_NCHW), x_NCHW.device
        real_NCHW = mirror(x_NCHW, rng)
        with torch.no_grad():
            made_NCHW = self._make(self._latents(count, device, rng))
        logits_NK = self._features(torch.cat([real_NCHW, made_NCHW]))[1]
        classes = soft_cross_entropy(logits_NK[:count], y_N)
        reality = reality_loss(logits_NK[:count], logits_NK[count:])
        self._descend("discriminator", classes + reality, sync)
        # Only the generator learns here: spare the gradients of the discriminator's weights.
        self.discriminator.requires_grad_(False)
        made_NCHW = self._make(self._latents(count, device, rng))
        made_NF, made_NK = self._features(made_NCHW)
        realism = functional.softplus(-made_NK.logsumexp(dim=1)).mean()
        with torch.no_grad():
            real_NF = self._features(real_NCHW)[0]
        distance = (real_NF.mean(dim=0) - made_NF.mean(dim=0)).abs().mean()
        spread = entropy(made_NK)
        weighted = (
            self.settings.entropy_weight * spread + self.settings.adversarial_weight * realism
        )
        self._descend("generator", distance + weighted, sync)
        self.discriminator.requires_grad_(True)
        self._follow(count * self.workers)
        return {
            "classes": classes.detach(),
            "reality": reality.detach(),
            "feature_distance": distance.detach(),
            "entropy": spread.detach(),
            "realism": realism.detach(),
        }

    def _features(self, x_NCHW: Tensor) -> tuple[Tensor, Tensor]:
        with self._half(x_NCHW):
            return self.discriminator.evaluator(x_NCHW)


def soft_cross_entropy(logits_NK: Tensor, score_NK: Tensor) -> Tensor:
    """Mean over rows of -sum_k T_k log p_k."""
    return -(score_NK * functional.log_softmax(logits_NK, dim=1)).sum(dim=1).mean()


def reality_loss(real_NK: Tensor, made_NK: Tensor) -> Tensor:
    """Half of E[-log D] on real plus E[-log(1 - D)] on made pictures, of their class logits."""
    real_N, made_N = real_NK.logsumexp(dim=1), made_NK.logsumexp(dim=1)
    return 0.5 * (functional.softplus(-real_N).mean() + functional.softplus(made_N).mean())


def entropy(logits_NK: Tensor) -> Tensor:
    """Mean entropy over rows, in nats."""
    log_NK = functional.log_softmax(logits_NK, dim=1)
    return -(log_NK.exp() * log_NK).sum(dim=1).mean()
