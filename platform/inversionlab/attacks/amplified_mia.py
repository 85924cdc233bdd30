"""Amplified-MIA (A12): an inversion model behind a non-linear amplification layer.

Paper:   Zhang et al. 2023, "Analysis and Utilization of Hidden Information in Model Inversion Attacks", IEEE TIFS
         (public code github.com/zhangzp9970/Amplified-MIA).
Access:  `Scores`: the score vector, whole or its `truncate` largest entries.
Solves:  A = argmin_A E |A(F(x)^a) - x|^2 over the attacker's own pictures; then x' = A(y^a), elementwise,
         a = 1/11: what tells two pictures of one class apart is in scores so small that A would not
         see them otherwise.
Inverts: `output` (the paper), or `class`: both in `inversion_model.py`.
Network: AMI's with ReLU in place of tanh, as in the public code.
Deviates: in the public code a is a parameter whose gradient is switched off, so it is a setting here; its attacker
         has other pictures of the same people, ours has pictures of other people; class inversion
         is not the paper's. `vector: log` is Yang's stretching, for comparison.
"""

from __future__ import annotations

from typing import Any, ClassVar, Literal

from inversionlab.attacks.base import AttackSettings
from inversionlab.attacks.inversion_model import InversionAttack, InversionAttackSettings
from inversionlab.generators.inversion_model import InversionModelSettings


class AmplifiedModelSettings(InversionModelSettings):
    """Structure of an inversion model with its amplification."""

    vector: Literal["log", "power", "plain"] = "power"
    """How the scores are amplified before they go in."""
    activation: Literal["tanh", "relu"] = "relu"
    """What follows every hidden layer."""


class AmplifiedMiaSettings(InversionAttackSettings):
    """Settings of Amplified-MIA."""

    # Which model taught it is part of a network's key by itself.
    inference_only: ClassVar[frozenset[str]] = InversionAttackSettings.inference_only | {
        "taught_by"
    }

    name: Literal["amplified_mia"] = "amplified_mia"
    network: AmplifiedModelSettings = AmplifiedModelSettings()
    """Structure of the inversion model, amplification included."""
    taught_by: Literal["victim", "protected"] = "victim"
    """Whose answers the inversion model learns from."""


class AmplifiedMia(InversionAttack):
    """An inversion model of amplified scores."""

    Settings: ClassVar[type[AttackSettings]] = AmplifiedMiaSettings

    @classmethod
    def teacher(cls, settings: Any) -> Literal["protected", "victim"]:
        """As the settings say."""
        taught_by: Literal["protected", "victim"] = settings.taught_by
        return taught_by
