"""Generators: attackers search in their latent space, and defenders take synthetic faces from them."""

from typing import TYPE_CHECKING, Any

import torch

from inversionlab.core.learner import Learner
from inversionlab.core.settings import ConfigError, any_of
from inversionlab.core.views import WhiteBox
from inversionlab.generators.base import Generator, GeneratorSettings
from inversionlab.generators.cgan import Cgan
from inversionlab.generators.diffusion import Diffusion
from inversionlab.generators.gan_ada import GanAda
from inversionlab.generators.given import Given
from inversionlab.generators.infogan import InfoGan
from inversionlab.generators.ked_gan import KedGan
from inversionlab.generators.plg_gan import PlgGan
from inversionlab.generators.style_gan import StyleGan
from inversionlab.generators.vae import Vae
from inversionlab.generators.wgan_gp import WganGp

GENERATORS: dict[str, Any] = {
    "diffusion": Diffusion,
    "cgan": Cgan,
    "gan_ada": GanAda,
    "given": Given,
    "infogan": InfoGan,
    "ked_gan": KedGan,
    "plg_gan": PlgGan,
    "style_gan": StyleGan,
    "vae": Vae,
    "wgan_gp": WganGp,
}

if TYPE_CHECKING:
    AnyGenerator = GeneratorSettings
else:
    AnyGenerator = any_of(GENERATORS)


def build(
    settings: GeneratorSettings, *, channels: int, image_size: int, classes: int = 0
) -> Generator:
    """The network that the settings name, untrained, for pictures (`channels`, `image_size`, `image_size`).

    `classes` is K of the target model, for a generator that learns from its scores.

    Raises:
        ConfigError: the size does not suit the generator, or it needs classes and gets none.
    """
    kind = GENERATORS[settings.name]
    if kind.learns_from_target and classes < 1:
        raise ConfigError(
            f"{settings.name} learns from the scores of a model: classes = {classes}, needs 1 or more"
        )
    extra = {"classes": classes} if kind.learns_from_target else {}
    generator: Generator = kind(settings, channels=channels, image_size=image_size, **extra)
    return generator


def learner(
    settings: GeneratorSettings,
    *,
    channels: int,
    image_size: int,
    seed: int,
    classes: int = 0,
    teacher: WhiteBox | None = None,
) -> Learner:
    """The network that the settings name, ready to be trained; `seed` sets its initial weights.

    `teacher` is a view of the target model, for a generator that `needs_gradients`. The other arguments and the
    errors are those of `build`.
    """
    extra = {"teacher": teacher} if GENERATORS[settings.name].needs_gradients else {}
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        net = build(settings, channels=channels, image_size=image_size, classes=classes)
        return net.learner(settings, seed, **extra)


__all__ = ["GENERATORS", "AnyGenerator", "Generator", "GeneratorSettings", "build", "learner"]
