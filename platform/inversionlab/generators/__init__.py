"""Generators: where an attacker searches, and where a defender takes synthetic faces from."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any, Union

from pydantic import Field

from inversionlab.core.learner import Learner
from inversionlab.generators.base import Generator, GeneratorSettings
from inversionlab.generators.cgan import Cgan, CganLearner
from inversionlab.generators.diffusion import Diffusion
from inversionlab.generators.diffusion_learner import DiffusionLearner
from inversionlab.generators.gan_ada import GanAda
from inversionlab.generators.gan_ada_learner import GanAdaLearner
from inversionlab.generators.infogan import InfoGan, InfoGanLearner
from inversionlab.generators.ked_gan import KedGan, KedGanLearner
from inversionlab.generators.style_gan import StyleGan
from inversionlab.generators.style_gan_learner import StyleGanLearner
from inversionlab.generators.vae import Vae, VaeLearner
from inversionlab.generators.wgan_gp import WganGp, WganGpLearner

# The value types are Any because each class takes its own settings.
GENERATORS: dict[str, Any] = {
    "diffusion": Diffusion,
    "cgan": Cgan,
    "gan_ada": GanAda,
    "infogan": InfoGan,
    "ked_gan": KedGan,
    "style_gan": StyleGan,
    "vae": Vae,
    "wgan_gp": WganGp,
}
LEARNERS: dict[str, Any] = {
    "diffusion": DiffusionLearner,
    "cgan": CganLearner,
    "gan_ada": GanAdaLearner,
    "infogan": InfoGanLearner,
    "ked_gan": KedGanLearner,
    "style_gan": StyleGanLearner,
    "vae": VaeLearner,
    "wgan_gp": WganGpLearner,
}

if TYPE_CHECKING:
    AnyGenerator = GeneratorSettings
else:
    AnyGenerator = Annotated[
        Union[tuple(entry.Settings for entry in GENERATORS.values())],  # noqa: UP007 (from the dict)
        Field(discriminator="name"),
    ]


def build(
    settings: GeneratorSettings, *, channels: int, image_size: int, classes: int = 0
) -> Generator:
    """The network that the settings name, with untrained weights; `classes` is for taught ones.

    Raises:
        ConfigError: it cannot make pictures of this size.
    """
    kind = GENERATORS[settings.name]
    extra = {"classes": classes} if kind.learns_from_target else {}
    generator: Generator = kind(settings, channels=channels, image_size=image_size, **extra)
    return generator


def learner(
    settings: GeneratorSettings, *, channels: int, image_size: int, seed: int, classes: int = 0
) -> Learner:
    """The learner of the network that the settings name; `seed` sets the initial weights.

    A taught one takes scores (N, K) as its labels, with K = `classes`.

    Raises:
        ConfigError: it cannot make pictures of this size.
    """
    extra = {"classes": classes} if GENERATORS[settings.name].learns_from_target else {}
    made: Learner = LEARNERS[settings.name](
        settings, channels=channels, image_size=image_size, seed=seed, **extra
    )
    return made


__all__ = [
    "GENERATORS",
    "LEARNERS",
    "AnyGenerator",
    "Generator",
    "GeneratorSettings",
    "build",
    "learner",
]
