"""Adversarial noise (D5): noise on the scores misleads an inversion model and leaves the label unchanged.

Paper:    Wen, Yiu & Hui 2021, "Defending Against Model Inversion Attack by Adversarial Examples" (Ad-mi).
Trains:   the defender's own inversion model A on public pictures and the scores of the model below: the attackers'
          network (Yang 2019, `generators/inversion_model.py`) with two hidden layers fewer (§V-A.3).
Releases: y' = softmax(c) after `iterations` rounds of                              (algorithms 1 and 2)
              g <- gradient at c of |A(softmax(c)) - x|^2, x the queried picture
              c <- c + step sign(g);   c_l <- c_l + ReLU(max c - c_l), l = argmax c0 (eq. 2)
              n <- c - c0;  if |n|_p > budget: n <- budget n / |n|_p;   c <- c0 + n
          with c0 the log-scores: their softmax is the logits', and A and the noise see no other difference.
Promises: the label never changes, to the last bit of released log-scores and scores, and |n|_p <= budget, n the
          noise on log-scores before softmax and rounding to float32. On the paper's order of steps:
          - Scaling the noise after the label modifier is safe: c0 + s n = (1 - s) c0 + s c, and l is largest in
            both.
          - Ties are not: line 5 makes one, rounding makes others, and argmax takes the first of equals. So l is
            finally raised to win by 2^-18 (`label_modifier.py`), and that much of the budget is reserved.
          - Eq. 3 scales the noise up as well as down and adds it to c_t, not to c0. It keeps neither the label nor
            the budget and is not used.
Improved: `adversarial_training` ("Adv defense", Table II): A learns from scores with noise that A itself finds at
          that step. Its noise has its own settings, so changing `noise` trains nothing. `noise.step` = 1 is "High
          dist.".
Defaults: step 0.4 (faces; digits: 0.1), 10 iterations (§V-A.4). The paper names no budget and no p. With p = inf a
          budget means the same for any number of classes; 2.4 gives on LFW the paper's own distortion of face
          scores (Table I: 2.2352 a log-score). Step 1 ("High dist.") needs a larger budget.
Seen:     LFW, 158 people: an attacker's A of width 32 that learned from scores without noise errs by 0.034 a
          pixel, and by 0.067, 0.075 and 0.101 at 1.9, 2.2 and 3.7 nats a score; the mean picture errs by 0.040.
          But the noise depends on x and reveals something of it: an A of width 16, 4 epochs, errs by 0.037
          undefended, and by only 0.031 if it learned from scores with the default noise (`ami_adaptive`).
Protects: scores. Labels are those of the model below. An attacker who holds the weights removes it and is left
          with the model below.
Costs:    `iterations` forward and backward passes through A a query (`facts`).
Ranges:   budget, in nats: 0 is the model unchanged, otherwise at least 0.001. Scores of 0 stay 0. The noise is a
          constant in the gradient. A row's noise depends on no other row. float64 except A. Below -1e11 nats,
          which no float32 score tells from 0, rounding may exceed the budget.
Deviates: A is narrower than the attackers' (16 against 128), because every query pays for it. In "Adv defense" A
          learns from noisy scores alone; the paper does not say whether it also used clean ones.
"""

from typing import Any, ClassVar, Literal

from torch import Tensor, nn

from inversionlab.core import seeds
from inversionlab.core.contracts import TrainingJob, as_scoring_model
from inversionlab.core.views import Scores, View
from inversionlab.core.winner import released
from inversionlab.defenses.base import (
    Defense,
    DefenseContext,
    DefenseSettings,
    Layer,
    ProtectedModel,
    VictimBlueprint,
)
from inversionlab.generators.inversion_model import (
    InversionModel,
    InversionModelSettings,
    InversionTraining,
    holding_out,
)
from inversionlab.generators.inversion_noise import NoiseSettings, find_noise, noisy_learner


class AdversarialNoiseSettings(DefenseSettings):
    """Settings of the adversarial noise."""

    name: Literal["adversarial_noise"] = "adversarial_noise"
    inference_only: ClassVar[frozenset[str]] = frozenset({"noise"})
    noise: NoiseSettings = NoiseSettings()
    """The noise on released scores; used at inference only, so changing it trains nothing."""
    network: InversionModelSettings = InversionModelSettings(width=16, layers_fewer=2)
    """The defender's inversion model."""
    adversarial_training: NoiseSettings | None = None
    """The noise on the scores that it learns from; null: it learns from scores without noise."""
    training: InversionTraining = InversionTraining(
        epochs=10, batch_size=64, learning_rate=2e-3, schedule="one_cycle", weight_decay=0.0
    )
    """How it is trained."""


class AdversariallyNoisy(ProtectedModel):
    """A model whose scores mislead an inversion model."""

    def __init__(self, victim: nn.Module, inversion: nn.Module, noise: NoiseSettings) -> None:
        super().__init__()
        self.victim, self.inversion, self.noise = victim, inversion, noise
        self.classes = as_scoring_model(victim).classes

    def log_scores(self, x_NCHW: Tensor) -> Tensor:
        """The model's log-probabilities (N, K) with noise."""
        c0_NK = as_scoring_model(self.victim).log_scores(x_NCHW)
        if self.noise.none:
            return c0_NK
        n_NK = find_noise(self.inversion, x_NCHW, c0_NK, self.noise)
        return released(c0_NK.double() + n_NK, c0_NK.argmax(1))

    def facts(self) -> dict[str, float]:
        """The model's own facts, and `inversion_passes`: forward and backward passes through A a query."""
        passes = 0 if self.noise.none else self.noise.iterations
        return {**super().facts(), "inversion_passes": float(passes)}


class AdversarialNoise(Defense):
    """Misleads inversion models by noise on the scores."""

    Settings: ClassVar[type[DefenseSettings]] = AdversarialNoiseSettings
    settings: AdversarialNoiseSettings
    layer: ClassVar[Layer] = Layer.OUTPUT
    trains: ClassVar[bool] = True
    needs: ClassVar[frozenset[str]] = frozenset({"model"})
    keeps_labels: ClassVar[bool] = True
    aware_attack: ClassVar[str] = "ami_adaptive"
    protects: ClassVar[frozenset[type[View]]] = frozenset({Scores})

    @classmethod
    def check(cls, settings: Any) -> None:
        """Raise ValueError if rounding would swallow a budget, or adversarial training has no noise."""
        adversarial = settings.adversarial_training
        if adversarial is not None and adversarial.none:
            raise ValueError("adversarial_training without noise; leave it out, or raise what is 0")
        for noise in (settings.noise, adversarial):
            if noise is not None and 0 < noise.budget < 1e-3:
                raise ValueError(f"budget = {noise.budget:g}: must be 0 or at least 0.001")

    def idle(self) -> bool:
        """Whether the budget, the step or the number of iterations is 0."""
        return self.settings.noise.none

    def build(self, blueprint: VictimBlueprint) -> InversionModel:
        """The defender's inversion model, untrained."""
        return InversionModel(self.settings.network, **blueprint.shape.sizes)

    def training_job(self, context: DefenseContext) -> TrainingJob:
        """Train it on public pictures and the scores that the model gives them."""
        seed = seeds.derive(context.seed, "weights", "adversarial_noise")
        job = TrainingJob(
            learner=noisy_learner(
                self.settings.network,
                self.settings.training,
                self.settings.adversarial_training,
                seed=seed,
                **context.blueprint.shape.sizes,
            ),
            images_NCHW=context.public_NCHW,
            class_N=context.answers(context.public_NCHW).exp_(),
            training=self.settings.training,
            queries=len(context.public_NCHW),
        )
        return holding_out(job, context.seed)

    def protect(self, victim: nn.Module, trained: nn.Module | None) -> ProtectedModel:
        """The model with noise on its scores."""
        return AdversariallyNoisy(victim, self.own(trained), self.settings.noise)
