"""No defense (D0): the victim itself, with which every defense is compared."""

from typing import ClassVar, Literal

from torch import nn

from inversionlab.core.views import View
from inversionlab.defenses.base import Defense, DefenseSettings, Layer, ProtectedModel, Undefended


class NoneSettings(DefenseSettings):
    """There is nothing to set."""

    name: Literal["none"] = "none"


class NoDefense(Defense):
    """Releases the victim unchanged."""

    Settings: ClassVar[type[DefenseSettings]] = NoneSettings
    settings: NoneSettings
    layer: ClassVar[Layer] = Layer.NOTHING
    protects: ClassVar[frozenset[type[View]]] = frozenset()

    def idle(self) -> bool:
        """Always true."""
        return True

    def protect(self, victim: nn.Module, trained: nn.Module | None) -> ProtectedModel:
        """The victim."""
        return Undefended(victim)
