"""AMI on the defended model (A9): the inversion model learns from the defense's own answers.

Paper:   none; stronger than the attacker of Wen et al. 2021, §V-D (`ami_adversarial`): an attacker who may ask the
         defended model trains the inversion model on public pictures and the perturbed answers to them.
Access:  `Scores` of the model under attack.
Solves:  A = argmin_A E |A(F'(x)) - x|^2, F' the defended model; then x' = A(y'). All else is AMI's (`ami.py`).
Seen as: A learns from the defended answers alone from the start. On an undefended model this is AMI.
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


class AmiAdaptiveSettings(InversionSettings, AttackSettings):
    """Settings of the adaptive AMI."""

    name: Literal["ami_adaptive"] = "ami_adaptive"


class AmiAdaptive(Attack):
    """An inversion model of the model under attack."""

    Settings = AmiAdaptiveSettings
    usual_seconds = 0.3
    view = Scores
    knows_defense = True
    trains = True
    network_kind = "inversion_model"
    learner = staticmethod(inversion_learner)
    most_queries = staticmethod(inversion_queries)
    run = invert
