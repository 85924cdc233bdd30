"""The adaptive AMI learns from the defended model's answers."""

from __future__ import annotations

import pytest
import torch
from pydantic import ValidationError
from torch import Tensor

from inversionlab.attacks.ami import Ami, AmiSettings
from inversionlab.attacks.ami_adaptive import AmiAdaptive, AmiAdaptiveSettings
from inversionlab.attacks.base import Attack
from inversionlab.defenses.base import ProtectedModel
from tests import toys
from tests.attacks.toy_inversion import quick, trained


class Shuffled(ProtectedModel):
    """A defense that keeps the winning score and permutes the others; an attacker who knows it loses nothing."""

    classes = toys.CLASSES

    def log_scores(self, x_NCHW: Tensor) -> Tensor:
        log_NK = toys.victim().log_scores(x_NCHW)
        winner_N1 = log_NK.argmax(1, keepdim=True)
        best_N1 = log_NK.gather(1, winner_N1)
        least_N1 = log_NK.min(1, keepdim=True).values
        turned_NK = (least_N1 - log_NK).scatter(1, winner_N1, best_N1 + 1)
        return turned_NK.log_softmax(1)


def error(attack: Attack) -> float:
    """Mean squared error a pixel of inverted outputs of the defended model."""
    rng = torch.Generator().manual_seed(9)
    generator = toys.ToyGenerator()
    private = generator(torch.randn(40, toys.LATENT, generator=rng)).detach()
    view = attack.open(Shuffled(), len(private))
    view.observe_outputs(private)  # type: ignore[attr-defined]
    result = attack.run(view, toys.jobs([(0, r) for r in range(len(private))]))
    return float((result.images_NCHW - private).square().mean())


def test_it_learns_from_the_model_under_attack() -> None:
    assert AmiAdaptive.teacher(AmiAdaptiveSettings()) == "protected"
    with pytest.raises(ValidationError):
        AmiAdaptiveSettings(taught_by="victim")  # type: ignore[call-arg]


def test_it_undoes_a_defense_that_the_plain_attack_falls_for() -> None:
    plain, adaptive = (
        AmiSettings(invert="output", **quick()),
        AmiAdaptiveSettings(invert="output", **quick()),
    )
    fooled = error(Ami(plain, trained(Ami, plain, toys.victim())))
    knowing = error(AmiAdaptive(adaptive, trained(AmiAdaptive, adaptive, Shuffled())))
    assert knowing < 0.7 * fooled
