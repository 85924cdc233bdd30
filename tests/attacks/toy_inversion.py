"""The toy world of `toys.py` for attacks that train an inversion model."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import torch

from inversionlab.attacks.base import Attack, AttackSettings, Knowledge, Sizes
from inversionlab.defenses.base import Protected
from inversionlab.inversion_model import InversionModel
from inversionlab.learning import TrainingSettings
from tests import toys

STEPS = 120


def quick(**network: Any) -> dict[str, Any]:
    """Settings that make an attack ready for the toy world in a third of a second."""
    return {
        "network": {"width": 32, **network},
        "training": TrainingSettings(learning_rate=3e-2, schedule="one_cycle", weight_decay=0.0),
        # Fewer than there are, so that repeats differ.
        "public_pictures": 16,
    }


def sizes(channels: int = 1) -> Sizes:
    return Sizes(toys.CLASSES, channels, toys.SIZE)


def trained(
    kind: type[Attack], settings: AttackSettings, teacher: Protected, channels: int = 1
) -> Knowledge:
    """The toy attacker with the attack's network, trained on its public pictures and the teacher's scores."""
    know = toys.knowledge(channels)
    x_NCHW = know.public_NCHW.float() / 255
    with torch.no_grad():
        y_NK = teacher.log_scores(x_NCHW).exp()
    top = kind.lesson_top(settings)
    if top is not None:
        value, index = y_NK.topk(top, dim=1)
        y_NK = torch.zeros_like(y_NK).scatter_(1, index, value)
    learner = kind.learner(settings, sizes(channels), seed=1)
    for step in range(STEPS):
        learner.schedule(step / STEPS)
        learner.step(x_NCHW, y_NK, torch.Generator(), lambda p: None)
    network = learner.product().eval().requires_grad_(False)
    assert isinstance(network, InversionModel)
    return replace(know, network=network)
