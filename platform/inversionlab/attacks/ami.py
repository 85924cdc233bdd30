"""AMI (A5): a network that has learned to undo the model (Yang 2019).

Paper:   Yang et al. 2019, "Adversarial Neural Network Inversion via Auxiliary Knowledge Alignment" (also CCS 2019,
         "Neural Network Inversion in Adversarial Setting via Background Knowledge Alignment"); the attack of
         Wen et al. 2021 (§III-A, §V-A.3) and of Gong et al. 2023 (Table II).
Access:  `Scores`: the score vector, whole or its `truncate` largest entries (Yang's truncation).
Solves:  A = argmin_A E |A(F(x)) - x|^2 over the attacker's own public pictures x; then x' = A(y).
Inverts: `output`, the private picture behind an observed answer y (Yang, Wen), or `class`, a class (Gong): both
         in `inversion_model.py`.
Teacher: `victim`: A learns from the undefended model's answers, for an attacker who knows of no defense or had the
         model before it was defended (Wen §V-C); `protected`: from those of the model under attack.
Ranges:  pictures in [0, 1]; vectors are probabilities.
Deviates: see the cards of the network, `inversionlab/generators/inversion_model.py`, and of the class inversion.
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


class AmiSettings(InversionSettings, AttackSettings):
    """Settings of AMI."""

    name: Literal["ami"] = "ami"
    taught_by: Literal["victim", "protected"] = "victim"
    """Whose answers the inversion model learns from."""


class Ami(Attack):
    """An inversion model, by default of the undefended model."""

    Settings = AmiSettings
    usual_seconds = 0.3
    view = Scores
    trains = True
    network_kind = "inversion_model"
    learner = staticmethod(inversion_learner)
    most_queries = staticmethod(inversion_queries)
    run = invert
