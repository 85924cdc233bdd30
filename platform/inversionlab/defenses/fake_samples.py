"""What both defenses by fake samples are set by, and what they share but for where the samples come from."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar, Literal

import torch
from pydantic import Field, field_validator
from torch import nn

from inversionlab.core import seeds
from inversionlab.core.learner import TrainingSettings
from inversionlab.core.settings import ConfigError
from inversionlab.core.views import Labels, Scores, View, WhiteBox
from inversionlab.defenses.base import (
    Defense,
    DefenseContext,
    DefenseSettings,
    Layer,
    ProtectedModel,
    VictimBlueprint,
)
from inversionlab.defenses.none import Undefended


class FakeSampleSettings(DefenseSettings):
    """What both defenses by fake samples are set by."""

    protected: Literal["targets", "all"] | tuple[int, ...] = "targets"
    """Which labels l_t are protected: those under attack in the experiment, all, or these. What is reported of the
    target label is of those under attack, whoever is protected."""
    samples: int = Field(default=8, ge=1, le=10_000)
    """Fake samples of each kind for a protected label."""
    alpha: float = Field(default=1.0, ge=0, le=1e6)
    """alpha, the weight of L_pri; 0 leaves it out."""
    beta: float = Field(default=1.0, ge=0, le=1e6)
    """beta, the weight of L_pub; 0 leaves it out."""
    omega: float = Field(default=1.0, ge=0, le=1e6)
    """omega, the weight of L_CL; 0 leaves it out."""
    ewc_lambda: float = Field(default=1e8, ge=0, le=1e12)
    """lambda_3, how hard EWC holds the weights that matter for private pictures; what is much depends on F."""
    gamma: float = Field(default=2.0, ge=0, le=10)
    """g, how much samples that are already where they should be are spared; 0 is plain cross-entropy."""
    private_weight: float = Field(default=0.0, ge=0, le=1e6)
    """Weight of the victim's own loss on private pictures beside eq. 10. An extension; the paper's is 0."""
    fisher_pictures: int = Field(default=1000, ge=1, le=10_000_000)
    """Private pictures that the Fisher diagonal is estimated on, at most."""
    training: TrainingSettings = TrainingSettings(
        epochs=30, batch_size=32, learning_rate=1e-4, schedule="cosine", weight_decay=0.0
    )
    """How the victim is fine-tuned; an epoch is a pass over the fake samples. Weight decay would pull the
    weights to 0 while EWC pulls them to theta*."""

    @field_validator("protected")
    @classmethod
    def _some(cls, value: str | tuple[int, ...]) -> str | tuple[int, ...]:
        if not isinstance(value, str) and (not value or len(set(value)) < len(value)):
            raise ValueError("name at least one label, and each once")
        if not isinstance(value, str) and min(value) < 0:
            raise ValueError(f"{min(value)} is no label; they are numbered from 0")
        return value if isinstance(value, str) else tuple(sorted(value))


class FakeSampleDefense(Defense):
    """Base of the defenses by fake samples: the victim is fine-tuned, and stands in its own place."""

    settings: FakeSampleSettings
    layer: ClassVar[Layer] = Layer.VICTIM
    trains: ClassVar[bool] = True
    learns_private: ClassVar[bool] = True
    protects: ClassVar[frozenset[type[View]]] = frozenset({WhiteBox, Scores, Labels})

    @classmethod
    def check(cls, settings: FakeSampleSettings) -> None:
        """Refuse settings by which nothing is learned.

        Raises:
            ValueError: both weights are 0.
        """
        if settings.alpha == settings.beta == 0:
            raise ValueError(
                "alpha = beta = 0: nothing is learned from fake samples; raise one of them, or use "
                "defense `none`"
            )

    def build(self, blueprint: VictimBlueprint) -> nn.Module:
        """A recognizer of the victim's structure.

        Raises:
            ConfigError: a protected label is no class of the victim.
        """
        if not isinstance(self.settings.protected, str):
            _refuse_unknown(self.settings.title, self.settings.protected, blueprint.shape.classes)
        return blueprint.new_network()

    def aims(self) -> bool:
        """Whether the labels under attack are the protected ones."""
        return self.settings.protected == "targets"

    def protect(self, victim: nn.Module, trained: nn.Module | None) -> ProtectedModel:
        """The fine-tuned victim alone."""
        return Undefended(self.own(trained))


def protected_labels(settings: FakeSampleSettings, context: DefenseContext) -> tuple[int, ...]:
    """The labels that are protected, sorted.

    Raises:
        ConfigError: one of them is no class of the victim.
    """
    if settings.protected == "all":
        return tuple(range(context.classes))
    named = context.targets if isinstance(settings.protected, str) else settings.protected
    _refuse_unknown(settings.title, named, context.classes)
    return tuple(sorted(named))


def _refuse_unknown(title: str, labels: tuple[int, ...], classes: int) -> None:
    if max(labels) >= classes:
        raise ConfigError(
            f"{title}: protected: {max(labels)} is no label; the victim knows 0 to {classes - 1}"
        )


def public_labels(labels: Sequence[int], public_classes: int, seed: int) -> tuple[int, ...]:
    """A public label l_p for each protected one, drawn by the seed; each its own while there are enough."""
    stream = seeds.torch_stream(seed, "fake_samples", "public labels")
    order: list[int] = torch.randperm(public_classes, generator=stream).tolist()
    place_of: dict[int, int] = {}
    free = set(range(public_classes))
    for label in sorted(labels):
        place = label % public_classes
        while free and place not in free:
            place = (place + 1) % public_classes
        free.discard(place)
        place_of[label] = place
    return tuple(order[place_of[label]] for label in labels)
