"""No defense (D0): the victim as it is. The row that every other row is compared with."""

from __future__ import annotations

from typing import ClassVar, Literal

from torch import Tensor, nn

from inversionlab.defenses.base import Defense, DefenseSettings, Protected, scorer


class NoneSettings(DefenseSettings):
    """Nothing to set."""

    name: Literal["none"] = "none"


class Undefended(Protected):
    """The victim alone."""

    def __init__(self, victim: nn.Module) -> None:
        super().__init__()
        self.victim = victim
        self.classes = scorer(victim).classes

    def log_scores(self, x_NCHW: Tensor) -> Tensor:
        """The victim's own."""
        return scorer(self.victim).log_scores(x_NCHW)


class NoDefense(Defense):
    """Releases the victim unchanged."""

    Settings: ClassVar[type[DefenseSettings]] = NoneSettings
    trains: ClassVar[bool] = False
    needs_generator: ClassVar[bool] = False

    def __init__(self, settings: NoneSettings) -> None:
        self.settings = settings

    def idle(self) -> bool:
        """Always."""
        return True

    def protect(self, victim: nn.Module, trained: nn.Module | None) -> Protected:
        """The victim."""
        return Undefended(victim)
