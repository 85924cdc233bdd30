"""No defense (D0): the victim itself, with which every defense is compared."""

from typing import ClassVar, Literal

from torch import Tensor, nn

from inversionlab.core.contracts import as_scoring_model
from inversionlab.core.views import View
from inversionlab.defenses.base import Defense, DefenseSettings, Layer, ProtectedModel


class NoneSettings(DefenseSettings):
    """There is nothing to set."""

    name: Literal["none"] = "none"


class Undefended(ProtectedModel):
    """A recognizer as it is."""

    def __init__(self, victim: nn.Module) -> None:
        super().__init__()
        self.victim = victim
        self.classes = as_scoring_model(victim).classes

    def log_scores(self, x_NCHW: Tensor) -> Tensor:
        """The recognizer's log-probabilities."""
        return as_scoring_model(self.victim).log_scores(x_NCHW)


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
