"""Purifier (D8): an autoencoder of the score vector, trained against an inversion model.

Paper:    Yang et al. 2020, "Defending Model Inversion and Membership Inference Attacks via Prediction
          Purification" (PPF), arXiv 2005.03915; the PPF of Wen et al. 2021 (Table I).
Releases: y' = G(y), y = F(x), with G an autoencoder of score vectors.
Trains:   on pictures x that F has not learned from, with H an inversion model, in alternating steps:
              H:  min  E |H(G(y)) - x|^2                                   (the attack)
              G:  min  E [ |G(y) - y|^2 + l CE(G(y), argmax y) - m |H(G(y)) - x|^2 ].
          The first term and the narrow middle of G keep what most vectors share, so scores of one class come
          together; the second term keeps the label; the third is the adversarial one. Errors of pictures are means
          over pixels; |G(y) - y|^2 is summed over classes.
Defaults: l = 1, m = 1, as in a public reproduction for faces (which takes the mean distance of logits over
          classes, and an H that no longer learns). The papers give neither.
Protects: scores and labels. An attacker who holds the weights removes G. Accuracy is not promised; the label
          modifier on top promises it.
Ranges:   l, m >= 0; m = 0 is the general purifier, which knows of no attack.
Deviates: the paper learns from pictures of the victim's own people kept out of its training. The defender here has
          none to spare and takes public pictures of strangers, so G learns nothing private and can be put on a
          victim that promises differential privacy. G reads log-scores above e^-50 without their mean,
          batch-normalised (of scores themselves almost all entries are 0), and has one hidden layer on each side.
          AdamW for both networks. H is Yang's inversion model at a quarter of its width.
Seen:     LFW, victim of 88.7 %, H at 16x16 to save time, 10 epochs: accuracy 82.8 to 84.0 % at every m from 0 to
          1000 (learned from private scores, at half the size of G: 82.6 %, from public ones 82.9 %). Error of an
          attacker trained on the undefended victim's scores (mean picture: 0.0360): 0.032 undefended, 0.041 to
          0.046. Trained on purified scores: 0.0325 at m = 0, 0.0327 at 1, 0.0336 at 30, 0.0342 at 1000. So G
          evades the attacker that it meets more than it forgets, and at m = 1 all the protection is the
          autoencoder's.
"""

from typing import ClassVar, Literal

import torch
from pydantic import Field
from torch import Tensor, nn
from torch.nn import functional

from inversionlab.core import seeds
from inversionlab.core.contracts import TrainingJob, as_scoring_model
from inversionlab.core.learner import GradientSync, Learner, Losses, TrainingSettings
from inversionlab.core.views import Labels, Scores, View
from inversionlab.defenses.base import (
    Defense,
    DefenseContext,
    DefenseSettings,
    Layer,
    ProtectedModel,
    VictimBlueprint,
)
from inversionlab.generators.inversion_model import InversionModel, InversionModelSettings

FLOOR = -50.0
"""Log-scores below this are read as this."""


class PurifierSettings(DefenseSettings):
    """Settings of the purifier."""

    name: Literal["purifier"] = "purifier"
    label_weight: float = Field(default=1.0, ge=0, le=1000)
    """l, the weight of keeping the label."""
    adversarial_weight: float = Field(default=1.0, ge=0, le=1e6)
    """m, the weight of the inversion model's error."""
    hidden_size: int = Field(default=512, ge=1, le=8192)
    """Units of the hidden layer on each side of the middle."""
    code_size: int = Field(default=64, ge=1, le=8192)
    """Units of the middle layer. Little information is dropped unless there are fewer units than classes."""
    inversion: InversionModelSettings = InversionModelSettings(width=32)
    """Structure of the inversion model H that G learns to resist."""
    training: TrainingSettings = TrainingSettings(
        epochs=10, batch_size=64, learning_rate=2e-3, schedule="one_cycle", weight_decay=0.0
    )
    """How both networks are trained."""


class Purifier(nn.Module):
    """G: log-scores to log-scores."""

    def __init__(self, classes: int, settings: PurifierSettings, seed: int = 0) -> None:
        """Build for vectors of `classes` scores, with weights that depend on `seed` alone."""
        super().__init__()
        wide, narrow = settings.hidden_size, settings.code_size
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            self.layers = nn.Sequential(
                nn.BatchNorm1d(classes),
                nn.Linear(classes, wide),
                nn.ReLU(),
                nn.Linear(wide, narrow),
                nn.Linear(narrow, wide),
                nn.ReLU(),
                nn.Linear(wide, classes),
            )

    def forward(self, log_y_NK: Tensor) -> Tensor:
        """Purified log-probabilities (N, K) of log-probabilities (N, K)."""
        seen_NK = log_y_NK.clamp_min(FLOOR)
        out_NK: Tensor = self.layers(seen_NK - seen_NK.mean(1, keepdim=True))
        return out_NK.log_softmax(1)


class PurifierLearner(Learner):
    """Trains G and H in alternating steps, on pictures and the log-scores that a model gave them."""

    def __init__(self, settings: PurifierSettings, context: DefenseContext) -> None:
        """Build both networks and their optimizers."""
        self.settings, blueprint = settings, context.blueprint
        seed = seeds.derive(context.seed, "weights", "purifier")
        self.purifier = Purifier(blueprint.shape.classes, settings, seed)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seeds.derive(context.seed, "weights", "purifier", "inversion"))
            self.inversion = InversionModel(settings.inversion, **blueprint.shape.sizes)
        super().__init__(settings.training, purifier=self.purifier, inversion=self.inversion)

    def step(self, x_NCHW: Tensor, y_N: Tensor, rng: torch.Generator, sync: GradientSync) -> Losses:
        """Take a step of H, then one of G; `y_N` are log-scores (N, K). At m = 0 H is not used and does not learn.

        Returns:
            means over rows: `distortion` |G(y) - y|^2, `label`, the cross-entropy, and H's `error` a pixel.
        """
        log_out_NK, weight = self.purifier(y_N), self.settings.adversarial_weight
        losses = {
            "distortion": (log_out_NK.exp() - y_N.exp()).square().sum(1).mean(),
            "label": functional.nll_loss(log_out_NK, y_N.argmax(1)),
        }
        loss = losses["distortion"] + self.settings.label_weight * losses["label"]
        if weight:
            losses["error"] = functional.mse_loss(self.inversion(log_out_NK.detach().exp()), x_NCHW)
            self.descend("inversion", losses["error"], sync)
            loss = loss - weight * functional.mse_loss(self.inversion(log_out_NK.exp()), x_NCHW)
        # G is the product; H is only its opponent, and its own step clears the gradients left here.
        self.descend("purifier", loss, sync)
        return {name: value.detach() for name, value in losses.items()}


class Purified(ProtectedModel):
    """A model whose scores are purified."""

    def __init__(self, victim: nn.Module, purifier: nn.Module) -> None:
        super().__init__()
        self.victim, self.purifier = victim, purifier
        self.classes = as_scoring_model(victim).classes

    def log_scores(self, x_NCHW: Tensor) -> Tensor:
        """Purified log-probabilities (N, K), differentiable in the pictures."""
        log_y_NK: Tensor = self.purifier(as_scoring_model(self.victim).log_scores(x_NCHW))
        return log_y_NK


class PurifierDefense(Defense):
    """Removes from the scores what the label does not need."""

    Settings: ClassVar[type[DefenseSettings]] = PurifierSettings
    settings: PurifierSettings
    layer: ClassVar[Layer] = Layer.OUTPUT
    trains: ClassVar[bool] = True
    needs: ClassVar[frozenset[str]] = frozenset({"model"})
    aware_attack: ClassVar[str] = "ami_adaptive"
    protects: ClassVar[frozenset[type[View]]] = frozenset({Scores, Labels})

    def build(self, blueprint: VictimBlueprint) -> nn.Module:
        """G, untrained; ConfigError if H, which only training needs, does not fit the pictures."""
        InversionModel(self.settings.inversion, **blueprint.shape.sizes)
        return Purifier(blueprint.shape.classes, self.settings)

    def training_job(self, context: DefenseContext) -> TrainingJob:
        """Train G against H on public pictures and the log-scores that the model gives them."""
        return TrainingJob(
            learner=PurifierLearner(self.settings, context),
            images_NCHW=context.public_NCHW,
            class_N=context.answers(context.public_NCHW),
            training=self.settings.training,
            queries=len(context.public_NCHW),
        )

    def protect(self, victim: nn.Module, trained: nn.Module | None) -> ProtectedModel:
        """The model with purified scores."""
        return Purified(victim, self.own(trained))
