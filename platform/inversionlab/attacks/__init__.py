"""The attacks by their registered names. A new attack is one file here and one line below."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Union

from pydantic import Field

from inversionlab.attacks.base import (
    Attack,
    AttackError,
    AttackSettings,
    Found,
    Jobs,
    Knowledge,
)
from inversionlab.attacks.latent_white_box import LatentWhiteBox
from inversionlab.attacks.pixel_gray_box import PixelGrayBox
from inversionlab.attacks.random_latent import RandomLatent
from inversionlab.attacks.random_public import RandomPublic

ATTACKS: dict[str, type[Attack]] = {
    "random_latent": RandomLatent,
    "random_public": RandomPublic,
    "pixel_gray_box": PixelGrayBox,
    "latent_white_box": LatentWhiteBox,
}

if TYPE_CHECKING:
    AnyAttack = AttackSettings
else:
    AnyAttack = Annotated[
        Union[tuple(attack.Settings for attack in ATTACKS.values())],  # noqa: UP007
        Field(discriminator="name"),
    ]

__all__ = [
    "ATTACKS",
    "AnyAttack",
    "Attack",
    "AttackError",
    "AttackSettings",
    "Found",
    "Jobs",
    "Knowledge",
]
