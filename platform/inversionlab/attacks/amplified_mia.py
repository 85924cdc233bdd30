"""Amplified-MIA (A12): an inversion model behind a non-linear amplification layer.

Paper:   Zhang et al. 2023, "Analysis and Utilization of Hidden Information in Model Inversion Attacks", IEEE TIFS
         (public code github.com/zhangzp9970/Amplified-MIA).
Access:  `Scores`: the score vector, whole or its `truncate` largest entries.
Solves:  A = argmin_A E |A(F(x)^a) - x|^2 over the attacker's own pictures; then x' = A(y^a), elementwise,
         a = 1/11. Scores that tell two pictures of one class apart are too small for A to see unamplified.
Inverts: `output` (the paper), or `class`: both in `inversion_model.py`.
Network: AMI's with ReLU in place of tanh, as in the public code.
Deviates: in the public code a is a parameter whose gradient is switched off; here it is a setting. The paper's
         attacker has other pictures of the same people, ours has pictures of other people. Class inversion is not
         the paper's. `vector: log` is Yang's stretching, for comparison.
"""

from typing import Literal

from inversionlab.attacks.base import Attack, AttackSettings
from inversionlab.attacks.inversion_model import (
    InversionSettings,
    inversion_learner,
    inversion_queries,
    invert,
)
from inversionlab.core.views import Scores
from inversionlab.generators.inversion_model import InversionModelSettings


class AmplifiedModelSettings(InversionModelSettings):
    """Structure of an inversion model with its amplification."""

    vector: Literal["log", "power", "plain"] = "power"
    """How the scores are amplified at the input."""
    activation: Literal["tanh", "relu"] = "relu"
    """The activation after every hidden layer."""


class AmplifiedMiaSettings(InversionSettings, AttackSettings):
    """Settings of Amplified-MIA."""

    name: Literal["amplified_mia"] = "amplified_mia"
    network: AmplifiedModelSettings = AmplifiedModelSettings()
    """Structure of the inversion model, amplification included."""
    taught_by: Literal["victim", "protected"] = "victim"
    """Whose answers the inversion model learns from."""


class AmplifiedMia(Attack):
    """An inversion model of amplified scores."""

    Settings = AmplifiedMiaSettings
    usual_seconds = 0.3
    view = Scores
    trains = True
    network_kind = "inversion_model"
    learner = staticmethod(inversion_learner)
    most_queries = staticmethod(inversion_queries)
    run = invert
