"""AMI on the defended model (A9): the inversion model learns from the defense's own answers.

Paper:   Wen et al. 2021, §V-D, "Adaptive attack with adversarial learning" (Table II): an attacker who knows of
         the defense trains the inversion model on public pictures and the perturbed answers to them.
Access:  `Scores` of the model under attack.
Solves:  A = argmin_A E |A(F'(x)) - x|^2, F' the defended model; then x' = A(y'). All else is AMI's (`ami.py`).
Deviates: trained from the start on the defended answers alone; Wen, who refers to adversarial training, does not
         say whether undefended ones are among them. On an undefended model it is AMI.
"""

from __future__ import annotations

from typing import ClassVar, Literal

from inversionlab.attacks.base import AttackSettings
from inversionlab.attacks.inversion_model import InversionAttack, InversionAttackSettings


class AmiAdaptiveSettings(InversionAttackSettings):
    """Settings of the adaptive AMI."""

    name: Literal["ami_adaptive"] = "ami_adaptive"


class AmiAdaptive(InversionAttack):
    """An inversion model of the model under attack."""

    knows_defense: ClassVar[bool] = True
    Settings: ClassVar[type[AttackSettings]] = AmiAdaptiveSettings
