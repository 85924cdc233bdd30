"""The conditional GAN of PLG-MI: a class of the target model in, faces that the model takes for that class out.

Paper: Yuan et al., "Pseudo Label-Guided Model Inversion Attack via Conditional Generative Adversarial Network",
AAAI 2023. Every class gets the `top` public pictures that the target model scores highest for it, as if they were
pictures of the class. A conditional GAN learns them, and its generator also descends

    L_inv = max_{j != y} o_j - o_y,  o the model's logits for an augmented G(z | y),

weighted by `inversion_weight` (the paper's alpha, 0.2). So it needs the model's gradients, and sends the model
each generated picture of the generator's steps.
Inputs: latents (N, m + K) ~ N(0, I): m entries of noise, and K whose largest names the class, so that a draw is a
random class's; pictures (N, C, H, W) in [0, 1], H = W a multiple of 8 from 16 to 256; class numbers (N,).
Offers: `conditional`, latents of given classes from `of_class`.
Deviations: the adversarial losses and the augmentation are those of `adaptive_training.py` (the paper: hinge
losses, and an augmentation for L_inv alone); D joins the class by an inner product of embeddings, as in the paper,
and G takes its embedding beside the noise (the paper: conditional batch normalisation); o are log-scores, whose
differences are those of the logits; the product is the generator's running average.
"""

from functools import partial
from typing import ClassVar, Literal

import torch
from pydantic import Field
from torch import Tensor, nn
from torch.nn import functional

from inversionlab.core.learner import Losses
from inversionlab.core.rows import Images, select
from inversionlab.core.views import WhiteBox
from inversionlab.generators.adaptive_training import PROBABILITY, AdaptiveSettings, adaptive_step
from inversionlab.generators.augment_ada import augment_ada
from inversionlab.generators.base import Generator, GeneratorSettings
from inversionlab.generators.blocks import dcgan
from inversionlab.generators.cgan import Cgan, ConditionalDiscriminator
from inversionlab.generators.gan_training import Batch, GanLearner, GanSettings

AUGMENTED = 0.5
"""The probability of each kind of change before the target model sees a generated picture."""
NAMED = 8.0
"""The entry of a class that is named; a draw from the prior is not as large."""


class PlgGan(Generator):
    """The generator of classes."""

    offers: ClassVar[frozenset[str]] = frozenset({"conditional"})
    learns_from_target: ClassVar[bool] = True
    needs_gradients: ClassVar[bool] = True

    class Settings(AdaptiveSettings, GanSettings, GeneratorSettings):
        """Sizes, losses, augmentation and training."""

        name: Literal["plg_gan"] = "plg_gan"
        latent_size: int = Field(default=64, ge=1, le=4096)
        """m, the number of noise entries. The latent vector is longer by one entry for each class."""
        embedding: int = Field(default=32, ge=1, le=4096)
        """Length of each network's embedding of a class."""
        top: int = Field(default=30, ge=1, le=100_000)
        """Number of public pictures that are taken for each class, at most all of them."""
        inversion_weight: float = Field(default=0.2, ge=0, le=1000)
        """alpha, the weight of L_inv."""

    def __init__(self, settings: Settings, *, channels: int, image_size: int, classes: int) -> None:
        super().__init__()
        self.maker = ClassGenerator(settings, channels, image_size, classes)
        self.latent_size, self.noise_size = settings.latent_size + classes, settings.latent_size
        # What a discriminator needs of settings is the same as in `cgan`.
        sizes = Cgan.Settings(
            discriminator_width=settings.discriminator_width, embedding=settings.embedding
        )
        self.discriminator = ConditionalDiscriminator(
            sizes, channels=channels, image_size=image_size, classes=classes
        )

    def forward(self, z_ND: Tensor) -> Tensor:
        """Pictures (N, C, H, W) in [0, 1] of latents (N, m + K)."""
        x_NCHW: Tensor = self.maker(z_ND)
        return x_NCHW

    def of_class(self, z_ND: Tensor, class_N: Tensor) -> Tensor:
        """The latents with their noise as it is, of these classes."""
        named_NK = torch.zeros_like(z_ND[:, self.noise_size :]).scatter(1, class_N[:, None], NAMED)
        return torch.cat([z_ND[:, : self.noise_size], named_NK], dim=1)

    @classmethod
    def lessons(cls, settings: Settings, x_NCHW: Images, score_NK: Tensor) -> tuple[Images, Tensor]:
        """Of every class the `top` pictures of highest score, with the class's number."""
        count = min(settings.top, len(score_NK))
        best_KT = score_NK.topk(count, dim=0).indices.T
        class_N = torch.arange(len(best_KT)).repeat_interleave(count)
        return select(x_NCHW, best_KT.flatten()), class_N

    @classmethod
    def further_queries(cls, settings: Settings, pictures: int) -> int:
        """One for each generated picture of the generator's steps."""
        if settings.inversion_weight == 0:
            return 0
        size = min(settings.training.batch_size, pictures)
        return settings.training.epochs * (pictures // size) * size

    def learner(self, settings: Settings, seed: int, teacher: WhiteBox | None = None) -> GanLearner:
        """Trains both networks; the labels of a batch are class numbers. Without a teacher L_inv is left out."""
        step = partial(_step, self, settings, teacher)
        return GanLearner(
            self, self.maker, self.discriminator, settings, seed, step=step, counters=(PROBABILITY,)
        )


class ClassGenerator(nn.Module):
    """Latents to pictures."""

    def __init__(
        self, settings: PlgGan.Settings, channels: int, image_size: int, classes: int
    ) -> None:
        super().__init__()
        self.noise_size = settings.latent_size
        # Normal weights, as the noise is.
        self.embed = nn.Embedding(classes, settings.embedding)
        size = settings.latent_size + settings.embedding
        self.layers = dcgan(size, settings.width, channels, image_size)

    def forward(self, z_ND: Tensor) -> Tensor:
        """Pictures (N, C, H, W) in [0, 1] of latents (N, m + K)."""
        noise_NM, class_NK = z_ND[:, : self.noise_size], z_ND[:, self.noise_size :]
        class_NE = self.embed(class_NK.argmax(1))
        x_NCHW: Tensor = self.layers(torch.cat([noise_NM, class_NE], dim=1))
        return x_NCHW


def _step(
    net: PlgGan, settings: PlgGan.Settings, teacher: WhiteBox | None, gan: GanLearner, batch: Batch
) -> Losses:
    """An `adaptive_step` of classes whose further loss is the weighted L_inv; the batch's `y_N` are classes."""
    x_NCHW, y_N, rng, _ = batch
    classes = net.latent_size - net.noise_size
    y_NK = functional.one_hot(y_N, classes).float()

    def draw() -> Tensor:
        return net.of_class(gan.latents(x_NCHW, rng), y_N)

    def score_fake(fake_NCHW: Tensor, z_ND: Tensor) -> tuple[Tensor, Tensor | None]:
        score_N = gan.discriminator(fake_NCHW, y_NK)
        # Only the generator's step has a use for the model's gradients.
        if teacher is None or settings.inversion_weight == 0 or not fake_NCHW.requires_grad:
            return score_N, None
        seen_NCHW = augment_ada(fake_NCHW, AUGMENTED, rng).clamp(0, 1)
        with torch.autocast(seen_NCHW.device.type, enabled=False):
            margin_N = margin(teacher.log_scores(seen_NCHW.float()), y_N)
        return score_N, -settings.inversion_weight * margin_N.mean()

    return adaptive_step(
        settings,
        gan,
        batch,
        draw=draw,
        score_real=lambda real_NCHW: gan.discriminator(real_NCHW, y_NK),
        score_fake=score_fake,
    )


def margin(log_y_NK: Tensor, class_N: Tensor) -> Tensor:
    """o_y - max_{j != y} o_j (N,) of log-scores (N, K) or logits; K must be 2 or more."""
    own_N1 = class_N[:, None]
    rest_NK = log_y_NK.scatter(1, own_N1, -torch.inf)
    margin_N: Tensor = log_y_NK.gather(1, own_N1)[:, 0] - rest_NK.amax(1)
    return margin_N
