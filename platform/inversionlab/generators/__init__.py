"""Generators: where an attacker searches, and where a defender takes synthetic faces from."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any, Union

from pydantic import Field

from inversionlab.generators.base import Generator, GeneratorSettings
from inversionlab.generators.gan_ada import GanAda
from inversionlab.generators.gan_ada_learner import GanAdaLearner
from inversionlab.generators.vae import Vae, VaeLearner
from inversionlab.learning import Learner

# The value types are Any because each class takes its own settings.
GENERATORS: dict[str, Any] = {"gan_ada": GanAda, "vae": Vae}
LEARNERS: dict[str, Any] = {"gan_ada": GanAdaLearner, "vae": VaeLearner}

if TYPE_CHECKING:
    AnyGenerator = GeneratorSettings
else:
    AnyGenerator = Annotated[
        Union[tuple(entry.Settings for entry in GENERATORS.values())],  # noqa: UP007 (from the dict)
        Field(discriminator="name"),
    ]


def build(settings: GeneratorSettings, *, channels: int, image_size: int) -> Generator:
    """The network that the settings name, with untrained weights.

    Raises:
        ConfigError: it cannot make pictures of this size.
    """
    generator: Generator = GENERATORS[settings.name](
        settings, channels=channels, image_size=image_size
    )
    return generator


def learner(settings: GeneratorSettings, *, channels: int, image_size: int, seed: int) -> Learner:
    """The learner of the network that the settings name; `seed` sets the initial weights.

    Raises:
        ConfigError: it cannot make pictures of this size.
    """
    made: Learner = LEARNERS[settings.name](
        settings, channels=channels, image_size=image_size, seed=seed
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
