"""AMI (A5): a network that has learned to undo the model (Yang 2019).

Paper:   Yang et al. 2019, "Adversarial Neural Network Inversion via Auxiliary Knowledge Alignment" (also CCS 2019,
         "Neural Network Inversion in Adversarial Setting via Background Knowledge Alignment"); the attack of
         Wen et al. 2021 (§III-A, §V-A.3) and of Gong et al. 2023 (Table II).
Access:  `Scores`: the score vector, whole or its `truncate` largest entries (Yang's truncation).
Solves:  A = argmin_A E |A(F(x)) - x|^2 over the attacker's own public pictures x; then x' = A(y).
Inverts: `output`, the private picture behind an overheard answer y (Yang, Wen), or `class`, a class (Gong): both
         in `inversion_model.py`.
Teacher: `victim`: A learns from the undefended model's answers, of an attacker who knows of no defense or had the
         model before it was defended (Wen §V-C); `protected`: from those of the model under attack.
Ranges:  pictures in [0, 1]; vectors are probabilities.
Deviates: see the network's card, `inversionlab/generators/inversion_model.py`, and the class inversion's.
"""

from __future__ import annotations

from typing import Any, ClassVar, Literal

from inversionlab.attacks.base import AttackSettings
from inversionlab.attacks.inversion_model import InversionAttack, InversionAttackSettings


class AmiSettings(InversionAttackSettings):
    """Settings of AMI."""

    # Which model taught it is part of a network's key by itself.
    inference_only: ClassVar[frozenset[str]] = InversionAttackSettings.inference_only | {
        "taught_by"
    }

    name: Literal["ami"] = "ami"
    taught_by: Literal["victim", "protected"] = "victim"
    """Whose answers the inversion model learns from."""


class Ami(InversionAttack):
    """An inversion model, by default of the undefended model."""

    Settings: ClassVar[type[AttackSettings]] = AmiSettings

    @classmethod
    def teacher(cls, settings: Any) -> Literal["protected", "victim"]:
        """As the settings say."""
        taught_by: Literal["protected", "victim"] = settings.taught_by
        return taught_by
