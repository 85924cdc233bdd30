"""Negative label smoothing (D11): the victim is retrained against labels smoothed by a negative amount.

Paper:    Struppek, Hintersdorf & Kersting 2024, "Be Careful What You Smooth For: Label Smoothing Can Be a Privacy
          Shield but Also a Catalyst for Model Inversion Attacks", ICLR. Their label is
              y^LS = (1 - a) y + a / K 1,  a in (-inf, 1];
          a positive `a` makes an inversion easier, and a negative one harder.
Trains:   a network of the victim's structure, from scratch, on
              L = -(1 - a) log p_y - a / K sum_k log p_k,   mean over the batch,
          where the sum over k includes y. With a = -0.05 and K = 62 the right class weighs 1.05, and each class is
          counted with -0.0008. a is 0 over the first half of the training (`begins`) and then falls linearly to
          `smoothing`:
              a(t) = smoothing max(0, t - begins) / (1 - begins),  t from 0 to 1 over all steps.
Heads:    p is the softmax of the logits that the victim's own loss is taken of. With CosFace these are the margin
          logits s (cos_k - m [k = y]), so the smoothing applies to the cross-entropy with the margin. The slope of
          L in a wrong logit is p_k - a / K, which stays above 0 even where p_k is 0: training never stops pushing
          a picture away from the other people. CosFace's logits are bounded, so L is too. With `cross_entropy` L
          has no lower bound: logits grow until the training ends, and only weight decay holds them.
Releases: the recognizer so trained, one network in the victim's place.
Defaults: smoothing = -0.05, the paper's for face recognition; the training is the recognizers' own.
Protects: white box too, because nothing is wrapped that could be removed.
Ranges:   smoothing in [-1, 0]; 0 trains a second victim. `victim.label_smoothing` takes positive values.
Deviates: step sizes follow the recognizers' schedule, so they are small when the smoothing is strongest. The
          victim's own label smoothing is not used.
Seen:     LFW, 32x32, 62 people (lfw_matrix.yaml's victim has 80.9 % on 602 test pictures), one training each:
          80.1 % accuracy at -0.05, 81.1 % at -0.5.
"""

from typing import Any, ClassVar, Literal

import torch
from pydantic import Field
from torch import Tensor
from torch.nn import functional

from inversionlab.core.contracts import TrainingJob
from inversionlab.core.learner import GradientSync, Learner, Losses, TrainingSettings
from inversionlab.core.views import Labels, Scores, View, WhiteBox
from inversionlab.defenses.base import Defense, DefenseContext, DefenseSettings, Layer


class NegativeLabelSmoothingSettings(DefenseSettings):
    """Settings of negative label smoothing."""

    name: Literal["negative_label_smoothing"] = "negative_label_smoothing"
    smoothing: float = Field(default=-0.05, ge=-1, le=0)
    """The label smoothing at the end of the training; 0 is the plain loss."""
    begins: float = Field(default=0.5, ge=0, lt=1)
    """Share of the training after which the smoothing begins to fall from 0."""
    training: TrainingSettings = TrainingSettings(
        epochs=40, batch_size=64, learning_rate=2e-3, schedule="one_cycle", weight_decay=5e-2
    )
    """How the victim is retrained."""

    def smoothing_at(self, progress: float) -> float:
        """a at `progress` in [0, 1] of the training."""
        return self.smoothing * max(0.0, progress - self.begins) / (1 - self.begins)


def smoothed_cross_entropy(logit_NK: Tensor, y_N: Tensor, smoothing: float) -> Tensor:
    """L, a scalar, for logits (N, K), classes (N,) and any smoothing; PyTorch's refuses negative ones."""
    log_p_NK = functional.log_softmax(logit_NK, dim=1)
    right_N = log_p_NK.gather(1, y_N[:, None])[:, 0]
    return -((1 - smoothing) * right_N + smoothing * log_p_NK.mean(1)).mean()


class SmoothingLearner(Learner):
    """Trains a recognizer on smoothed labels."""

    def __init__(self, settings: NegativeLabelSmoothingSettings, context: DefenseContext) -> None:
        """Build the recognizer and its optimizer."""
        self.settings, self.augment = settings, context.augment
        # Any: defenses do not import the recognizers' classes.
        self.recognizer: Any = context.blueprint.new_network()
        self.smoothing = 0.0
        super().__init__(settings.training, recognizer=self.recognizer)

    def schedule(self, progress: float) -> None:
        """Set the step size and the smoothing for `progress` in [0, 1]."""
        super().schedule(progress)
        self.smoothing = self.settings.smoothing_at(progress)

    def step(self, x_NCHW: Tensor, y_N: Tensor, rng: torch.Generator, sync: GradientSync) -> Losses:
        """Learn from one batch; returns `loss`."""
        with self.autocast(x_NCHW):
            feature_ND = self.recognizer.features(self.augment(x_NCHW, rng))
        logit_NK = self.recognizer.head.training_logits(feature_ND, y_N)
        loss = smoothed_cross_entropy(logit_NK, y_N, self.smoothing)
        self.descend("recognizer", loss, sync)
        return {"loss": loss.detach()}


class NegativeLabelSmoothing(Defense):
    """Retrains the victim with negative label smoothing."""

    Settings: ClassVar[type[DefenseSettings]] = NegativeLabelSmoothingSettings
    settings: NegativeLabelSmoothingSettings
    layer: ClassVar[Layer] = Layer.VICTIM
    trains: ClassVar[bool] = True
    learns_private: ClassVar[bool] = True
    protects: ClassVar[frozenset[type[View]]] = frozenset({WhiteBox, Scores, Labels})

    def training_job(self, context: DefenseContext) -> TrainingJob:
        """Train it on the victim's own pictures."""
        return TrainingJob(
            learner=SmoothingLearner(self.settings, context),
            images_NCHW=context.private_NCHW,
            class_N=context.private_class_N,
            training=self.settings.training,
        )
