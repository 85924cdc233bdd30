"""AMI with adversarial training: the inversion model learns from answers with noise of its own making (Wen §V-D).

Paper:   Wen et al. 2021, §V-D, "Adaptive attack with adversarial learning", Table II: an attacker who knows how
         the noise is made trains his own inversion model as Madry et al. 2018 train classifiers.
Access:  `Scores`, as `ami`. The attacker asks no more than `ami` does: he makes the noise himself.
Solves:  A = argmin_A E |A(y + e_A(x, y)) - x|^2 over public pictures x and the answers y to them, with e_A the
         noise of algorithms 1 and 2 that A's present weights find (`generators/inversion_noise.py`); then
         x' = A(y').
Inverts: `output` or `class`, as `ami`.
Teacher: `victim`: the answers are the undefended model's; `protected`: those of the model under attack, on which
         the attacker then puts his noise too.
Defaults: the noise is the paper's for faces ("with knowledge of our defense and related parameters"): step 0.4,
         10 iterations, and the budget of the defense's default. For digits the step is 0.1.
Differs: from `ami_adaptive`, which learns from the defended model's own answers and so meets the defender's noise
         itself. That attacker knows more; the paper's is this one.
Deviates: A learns from noisy answers alone; the paper does not say whether it saw clean ones too.
"""

from typing import Literal

from pydantic import field_validator

from inversionlab.attacks.base import Attack, AttackSettings
from inversionlab.attacks.inversion_model import (
    InversionSettings,
    inversion_learner,
    inversion_queries,
    invert,
)
from inversionlab.core.contracts import ModelShape
from inversionlab.core.learner import Learner
from inversionlab.core.views import Scores
from inversionlab.generators.inversion_noise import NoiseSettings, NoisyInversionLearner


class AmiAdversarialSettings(InversionSettings, AttackSettings):
    """Settings of AMI with adversarial training."""

    name: Literal["ami_adversarial"] = "ami_adversarial"
    taught_by: Literal["victim", "protected"] = "victim"
    """Whose answers the inversion model learns from."""
    noise: NoiseSettings = NoiseSettings()
    """The noise that the inversion model learns to withstand."""

    @field_validator("noise")
    @classmethod
    def _is_some(cls, noise: NoiseSettings) -> NoiseSettings:
        if noise.none:
            raise ValueError("makes no noise; raise what is 0, or use `ami`")
        if noise.budget < 1e-3:
            raise ValueError(f"budget = {noise.budget:g}: must be at least 0.001")
        return noise


class AmiAdversarial(Attack):
    """An inversion model that has met noise on its answers."""

    Settings = AmiAdversarialSettings
    view = Scores
    knows_defense = True
    trains = True
    network_kind = "adversarial_inversion_model"
    most_queries = staticmethod(inversion_queries)
    run = invert

    @classmethod
    def learner(cls, settings: AmiAdversarialSettings, shape: ModelShape, seed: int) -> Learner:
        """The inversion model in training, on scores with the noise that it finds itself; raises as `ami`'s."""
        return NoisyInversionLearner(inversion_learner(settings, shape, seed), settings.noise)
