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

import torch
from pydantic import Field
from torch import Tensor, nn

from inversionlab.core import seeds
from inversionlab.core.contracts import TrainingJob, as_scoring_model
from inversionlab.core.learner import GradientSync, Learner, Losses, TrainingSettings
from inversionlab.core.settings import Settings
from inversionlab.core.views import Scores, View
from inversionlab.defenses.base import (
    Defense,
    DefenseContext,
    DefenseSettings,
    Layer,
    ProtectedModel,
    VictimBlueprint,
)
from inversionlab.defenses.label_modifier import MARGIN, released
from inversionlab.generators.inversion_model import (
    InversionLearner,
    InversionModel,
    InversionModelSettings,
)


class NoiseSettings(Settings):
    """How the noise is computed."""

    budget: float = Field(default=2.4, ge=0, le=1e6)
    """Largest norm of the noise on the log-scores, in nats; 0: no noise."""
    norm: Literal[1, 2, "inf"] = "inf"
    """p of that norm."""
    step: float = Field(default=0.4, ge=0, le=1e4)
    """How far a log-score moves in an iteration, in nats."""
    iterations: int = Field(default=10, ge=0, le=1000)
    """Gradients of the inversion model that are computed a query."""

    @property
    def none(self) -> bool:
        """Whether there is no noise at all."""
        return 0 in (self.budget, self.step, self.iterations)


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
    training: TrainingSettings = TrainingSettings(
        epochs=10, batch_size=64, learning_rate=2e-3, schedule="one_cycle", weight_decay=0.0
    )
    """How it is trained."""


class DefenderLearner(Learner):
    """Trains the defender's inversion model, if asked on scores with noise."""

    def __init__(
        self, settings: AdversarialNoiseSettings, blueprint: VictimBlueprint, seed: int
    ) -> None:
        """Build the network and its optimizer; `seed` sets the initial weights."""
        self.plain = InversionLearner(
            settings.network, settings.training, **blueprint.shape.sizes, seed=seed
        )
        self.model, self.noise = self.plain.model, settings.adversarial_training
        self.modules, self.optimizers = self.plain.modules, self.plain.optimizers
        self.training, self.counters = settings.training, self.plain.counters

    def step(self, x_NCHW: Tensor, y_N: Tensor, rng: torch.Generator, sync: GradientSync) -> Losses:
        """Learn from one batch and its scores `y_N` (N, K), with the noise that the current weights find."""
        if self.noise is not None:
            self.model.eval()
            n_NK = find_noise(self.model, x_NCHW, y_N.log(), self.noise)
            y_N = released(y_N.log().double() + n_NK, y_N.argmax(1)).exp()
            self.model.train()
        return self.plain.step(x_NCHW, y_N, rng, sync)


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
        return TrainingJob(
            learner=DefenderLearner(self.settings, context.blueprint, seed),
            images_NCHW=context.public_NCHW,
            class_N=context.answers(context.public_NCHW).exp_(),
            training=self.settings.training,
            queries=len(context.public_NCHW),
        )

    def protect(self, victim: nn.Module, trained: nn.Module | None) -> ProtectedModel:
        """The model with noise on its scores."""
        return AdversariallyNoisy(victim, self.own(trained), self.settings.noise)


def find_noise(
    inversion: nn.Module, x_NCHW: Tensor, log_y_NK: Tensor, noise: NoiseSettings
) -> Tensor:
    """Algorithm 2: float64 noise (N, K), without gradients, for log-scores (N, K) of pictures (N, C, H, W).

    Its norm stays below the budget by twice the margin that `released` then needs.
    """
    x_NCHW, c0_NK = x_NCHW.detach(), log_y_NK.detach().double()
    n_NK = torch.zeros_like(c0_NK)
    for _ in range(noise.iterations):
        with torch.enable_grad():
            c_NK = (c0_NK + n_NK).float().requires_grad_(True)
            # The slope of y^a at 0 is infinite.
            y_NK = c_NK.softmax(1).clamp_min(torch.finfo(torch.float32).tiny)
            away_NCHW = inversion(y_NK) - x_NCHW
            # Summed over rows: no row's gradient depends on the others.
            error = away_NCHW.square().flatten(1).mean(1).sum()
            (grad_NK,) = torch.autograd.grad(error, c_NK)
        n_NK = bounded_noise(c0_NK, c0_NK + n_NK, grad_NK, noise)
    return n_NK


def bounded_noise(c0_NK: Tensor, c_NK: Tensor, grad_NK: Tensor, noise: NoiseSettings) -> Tensor:
    """Algorithm 1: the noise (N, K) after one more step from `c_NK`; `c0_NK` has no noise."""
    c_NK = c_NK + noise.step * grad_NK.sign()
    l_N1 = c0_NK.argmax(1, keepdim=True)
    c_NK = c_NK.scatter(1, l_N1, c_NK.amax(1, keepdim=True))
    # A score of 0 stays 0: the difference of two infinities is not a number.
    n_NK = torch.where(c0_NK.isneginf(), 0.0, c_NK - c0_NK)
    limit = noise.budget - 2 * MARGIN
    norm_N1: Tensor = torch.linalg.vector_norm(n_NK, ord=float(noise.norm), dim=1, keepdim=True)
    return n_NK * (limit / norm_N1.clamp_min(limit))
