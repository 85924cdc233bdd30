"""What every defense is: how it is trained, and what it releases in the victim's place."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, ClassVar, Protocol

import torch
from torch import Tensor, nn

from inversionlab.config import Settings
from inversionlab.learning import Learner, TrainingSettings


class DefenseSettings(Settings):
    """Base of a defense's settings; each defense's own class adds a literal `name`."""

    name: str


class Scorer(Protocol):
    """A recognizer as a defense uses it."""

    classes: int

    def log_scores(self, x_NCHW: Tensor) -> Tensor:
        """Log-probabilities (N, K) of pictures (N, C, H, W) in [0, 1]."""
        ...


class Protected(nn.Module, ABC):
    """The model that is released: what users query and attackers attack."""

    classes: int

    @abstractmethod
    def log_scores(self, x_NCHW: Tensor) -> Tensor:
        """Log-probabilities (N, K) of pictures (N, C, H, W) in [0, 1], differentiable in the picture."""


@dataclass(frozen=True)
class Workbench:
    """What the defender has in hand when a network of the defense is trained."""

    classes: int
    generator: Callable[[Tensor], Tensor] | None
    """The defender's own generator, trained on the private set, frozen; where the defense asks for it."""
    latent_size: int
    new_recognizer: Callable[[TrainingSettings], Learner]
    """A learner of an untrained network of the victim's structure and loss, without augmentation."""
    seed: int
    device: torch.device


@dataclass(frozen=True)
class Lesson:
    """A training: who learns, from what, for how long."""

    learner: Learner
    images_NCHW: Tensor
    """uint8 (N, C, H, W)."""
    class_N: Tensor
    """Class numbers (N,), or the scores (N, K) that a model gave to the pictures."""
    training: TrainingSettings
    queries: int = 0
    """Pictures sent to that model for them."""


class Defense(ABC):
    """One way to make a victim give less away."""

    Settings: ClassVar[type[DefenseSettings]]
    trains: ClassVar[bool]
    """Whether it trains a network of its own (`lesson`)."""
    needs_generator: ClassVar[bool]
    """Whether that training needs a generator trained on the private set."""

    @abstractmethod
    def __init__(self, settings: Any) -> None:
        """Take the class's own `Settings`."""

    def idle(self) -> bool:
        """Whether, at these settings, the released model is the victim unchanged."""
        return False

    def lesson(self, bench: Workbench) -> Lesson:
        """The training of the defense's own network.

        Raises:
            NotImplementedError: the defense trains nothing.
        """
        raise NotImplementedError(f"{type(self).__name__} trains nothing")

    @abstractmethod
    def protect(self, victim: nn.Module, trained: nn.Module | None) -> Protected:
        """The released model.

        Args:
            victim: the recognizer R_T, with `classes` and `log_scores`.
            trained: what `lesson` made, where the defense trains.
        """

    def decoys(self, bench: Workbench) -> Tensor | None:
        """Pictures (K, C, H, W) in [0, 1] that attacks are led to, one a class; None if there are none."""
        return None


def scorer(module: nn.Module | None) -> Scorer:
    """`module` as a scorer.

    Raises:
        TypeError: it has no `classes` or no `log_scores`.
    """
    if not (hasattr(module, "classes") and hasattr(module, "log_scores")):
        raise TypeError(
            f"{type(module).__name__} is no recognizer: it needs classes and log_scores"
        )
    return module  # type: ignore[return-value]
