"""The toy world of `toys.py` for attacks that train an inversion model."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from inversionlab.attacks.base import Attack, AttackSettings
from inversionlab.attacks.context import AttackerContext
from inversionlab.core.contracts import ModelShape
from inversionlab.core.learner import TrainingSettings
from inversionlab.defenses.base import ProtectedModel
from tests import toys


def quick(**network: Any) -> dict[str, Any]:
    """Settings with which an attack's network trains on the toy world in a third of a second."""
    return {
        "network": {"width": 32, **network},
        "training": TrainingSettings(
            epochs=120, batch_size=64, learning_rate=3e-2, schedule="one_cycle", weight_decay=0.0
        ),
        # Fewer than there are, so that repeats differ.
        "public_pictures": 16,
    }


def shape(channels: int = 1) -> ModelShape:
    return ModelShape(toys.CLASSES, channels, toys.SIZE)


def trained(
    kind: type[Attack], settings: AttackSettings, teacher: ProtectedModel, channels: int = 1
) -> AttackerContext:
    """The toy attacker with the attack's network, trained on its public pictures and the teacher's scores."""
    network = toys.learns_from_target(kind, settings, teacher, channels)
    return replace(toys.context(channels), network=network)
