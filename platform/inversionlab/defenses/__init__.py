"""The defenses by their registered names. A new defense is one file here and one line below."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Union

from pydantic import Field

from inversionlab.defenses.base import Defense, DefenseSettings, Lesson, Protected, Workbench
from inversionlab.defenses.dummy_recognizer import DummyRecognizer
from inversionlab.defenses.none import NoDefense

DEFENSES: dict[str, type[Defense]] = {
    "none": NoDefense,
    "dummy_recognizer": DummyRecognizer,
}

if TYPE_CHECKING:
    AnyDefense = DefenseSettings
else:
    AnyDefense = Annotated[
        Union[tuple(defense.Settings for defense in DEFENSES.values())],  # noqa: UP007
        Field(discriminator="name"),
    ]

__all__ = [
    "DEFENSES",
    "AnyDefense",
    "Defense",
    "DefenseSettings",
    "Lesson",
    "Protected",
    "Workbench",
]
