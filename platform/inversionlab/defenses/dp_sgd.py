"""DP-SGD (D9): the victim's structure, trained with differential privacy.

Paper:    Abadi et al. 2016, "Deep Learning with Differential Privacy", algorithm 1; Yousefpour et al. 2021,
          "Opacus". Gong et al. 2023 compare with it at epsilon = 8.
Releases: the recognizer so trained, in the victim's place; the victim itself is not used.
Trains:   in each step every private picture is drawn with probability q = B / N (Poisson sampling); with
          g_i the gradient of picture i's loss over all trained weights and B the expected batch size, the
          optimizer is handed
              g = ( sum_i g_i min(1, C / |g_i|) + N(0, (sigma C)^2 I) ) / B.
          sigma is the smallest that Opacus' accountant allows for (epsilon, delta, q, steps); the epsilon
          really spent is computed from the steps really taken, and stored in the artifact (`facts`).
          The loss is the cross-entropy of the scores that are released.
Start:    `public` (default): the weights of a recognizer of public people, which cost no privacy, and a new
          head. Its batch normalisation keeps the public statistics as constants. `train` = head trains the
          head alone, all every weight but those of the normalisation. `scratch`: random weights, batch
          normalisation replaced by group normalisation (`batch_norms.py`).
Defaults: epsilon = 8 (Gong §V-A2); delta = min(1e-5, 1 / (10 N)); C = 3, whole-batch steps and Adam: found on
          LFW (158 people, 3,463 pictures), where they name 52 % of the test pictures rightly, 103 CPU seconds.
Protects: in every view: what is made from the released weights is as private as they are. The promise is for one
          picture: data sets that differ by one picture are told apart with odds of e^epsilon at most, but for
          delta. Over a person with 20 pictures it is far weaker, and model inversion looks for what a
          person's pictures share: a large epsilon promises nothing against it.
          It holds for one released model; those of a sweep or a search add up, though each has noise of its own.
          Not counted: choosing settings by the private accuracy, and the training loss in the log.
Deviates: no margin in the loss (CosFace's is left out in training; on LFW that cost nothing). The per-sample
          gradients are `torch.func`'s, not Opacus' hooks: those fail at in-place activations and do not know
          our heads. A test holds that both give the same.
Warning:  the noise comes from the training's seeded generator, so that a run can be repeated. Who knows the seed
          can take the noise off: a model that leaves the laboratory needs a secret seed and a secure source.
Ranges:   epsilon in [0.5, 1000]; one training worker only.
"""

from __future__ import annotations

from typing import Any, ClassVar, Literal

import torch
from pydantic import Field
from torch import Tensor, nn

from inversionlab.core.contracts import TrainingJob
from inversionlab.core.images import to_bytes
from inversionlab.core.learner import TrainingSettings
from inversionlab.core.views import Labels, Scores, View, WhiteBox
from inversionlab.defenses.base import (
    Defense,
    DefenseContext,
    DefenseSettings,
    Layer,
    ProtectedModel,
    VictimBlueprint,
)
from inversionlab.defenses.batch_norms import without_batch_norm
from inversionlab.defenses.private_learner import (
    Augment,
    Budget,
    PrivateLearner,
    PrivateRecognizer,
)

NOISE_FORMAT = 2
"""Raise it when equal settings would train with other noise; other defenses' networks keep their names."""


class DpSgdSettings(DefenseSettings):
    """Settings of DP-SGD."""

    name: Literal["dp_sgd"] = "dp_sgd"
    epsilon: float = Field(default=8.0, ge=0.5, le=1000)
    """The privacy budget of the whole training; the smaller, the more noise."""
    delta: float | None = Field(default=None, gt=0, lt=1e-2)
    """Probability with which the promise may fail, below 1 / N; null: 1e-5, or 1 / (10 N) where that is less."""
    clip: float = Field(default=3.0, gt=0, le=1e4)
    """C, the largest norm of one picture's gradient."""
    start: Literal["public", "scratch"] = "public"
    """Weights to begin with: of a recognizer of public people, or random ones."""
    train: Literal["head", "all"] = "head"
    """Which weights are trained; from scratch it must be all."""
    augment: bool = False
    """Whether the pictures are changed at random as in the victim's training."""
    accountant: Literal["rdp", "prv"] = "rdp"
    """How the budget is counted: by Renyi divergence, or tighter (some 6 % less noise) and slower."""
    training: TrainingSettings = TrainingSettings(
        epochs=20, batch_size=4096, learning_rate=3e-2, schedule="constant", weight_decay=0.0
    )
    """How it is trained; `batch_size` is the size that is expected, the whole set where that is smaller."""

    def trained_part(self) -> dict[str, Any]:
        """The settings, and which way of drawing the noise they were trained with."""
        return {**super().trained_part(), "noise": NOISE_FORMAT}


class DpSgd(Defense):
    """Trains with differential privacy."""

    Settings: ClassVar[type[DefenseSettings]] = DpSgdSettings
    settings: DpSgdSettings
    layer: ClassVar[Layer] = Layer.VICTIM
    trains: ClassVar[bool] = True
    needs: ClassVar[frozenset[str]] = frozenset({"classifier"})
    learns_private: ClassVar[bool] = True
    differential_privacy: ClassVar[bool] = True
    protects: ClassVar[frozenset[type[View]]] = frozenset({WhiteBox, Scores, Labels})

    def needed(self) -> frozenset[str]:
        """From scratch, no recognizer of public people."""
        return frozenset() if self.settings.start == "scratch" else self.needs

    @classmethod
    def check(cls, settings: DpSgdSettings) -> None:
        """Random weights under a trained head would tell nobody apart.

        Raises:
            ValueError: `start` is scratch and `train` is not all.
        """
        if settings.start == "scratch" and settings.train != "all":
            raise ValueError(
                f"train = {settings.train}: with start = scratch nothing but the head would ever be trained; "
                "set train = all"
            )

    def build(self, blueprint: VictimBlueprint) -> nn.Module:
        """The recognizer that is trained, without batch normalisation where it begins from scratch."""
        network = blueprint.new_network()
        if self.settings.start == "scratch":
            without_batch_norm(network)
        return PrivateRecognizer(network, blueprint.shape.classes)

    def fits(self, blueprint: VictimBlueprint, pictures: int) -> None:
        """Find the noise that keeps the promise, and take the gradient of one picture.

        Raises:
            ValueError: no noise keeps it, or the victim's structure gives no gradients of single pictures.
        """
        model, budget = self.build(blueprint), self._budget(pictures)
        gray_NCHW = torch.zeros(
            1, blueprint.shape.channels, blueprint.shape.image_size, blueprint.shape.image_size
        )
        trial = (to_bytes(gray_NCHW), torch.zeros(1, dtype=torch.long))
        try:
            self._learner(model, budget, trial).probe()
        except Exception as error:  # what vmap raises has no class of its own
            why = str(error).strip().partition("\n")[0]
            raise ValueError(
                f"train = {self.settings.train}: the victim's network gives no gradients of single pictures "
                f"({why}); set train = head, or choose another victim.network"
            ) from error

    def training_job(self, context: DefenseContext) -> TrainingJob:
        """Train within the budget on the private pictures."""
        if not context.name:
            raise ValueError("dp_sgd: a network without a name has no noise of its own")
        model = self.build(context.blueprint)
        if self.settings.start == "public":
            _backbone(model).load_state_dict(_backbone(context.classifier).state_dict())
        pictures = context.private_NCHW, context.private_class_N
        augment = context.augment if self.settings.augment else None
        budget = self._budget(len(context.private_NCHW))
        learner = self._learner(model, budget, pictures, augment, context.name)
        return TrainingJob(learner, *pictures, self.settings.training)

    def _learner(
        self,
        model: nn.Module,
        budget: Budget,
        pictures: tuple[Tensor, Tensor],
        augment: Augment | None = None,
        stream: str = "",
    ) -> PrivateLearner:
        assert isinstance(model, PrivateRecognizer)
        settings = self.settings
        return PrivateLearner(
            model,
            budget,
            settings.training,
            pictures=pictures,
            head_only=settings.train == "head",
            clip=settings.clip,
            augment=augment,
            stream=stream,
        )

    def _budget(self, pictures: int) -> Budget:
        settings = self.settings
        if settings.delta is not None and settings.delta >= 1 / pictures:
            raise ValueError(
                f"delta = {settings.delta:g}: a promise that may fail for one of {pictures} pictures is none; "
                f"give less than {1 / pictures:.2g}"
            )
        return Budget.plan(
            epsilon=settings.epsilon,
            delta=settings.delta or min(1e-5, 1 / (10 * pictures)),
            expected=min(settings.training.batch_size, pictures),
            count=pictures,
            epochs=settings.training.epochs,
            accountant=settings.accountant,
        )

    def protect(self, victim: nn.Module, trained: nn.Module | None) -> ProtectedModel:
        """The recognizer that was trained with privacy, alone."""
        private = self.own(trained)
        assert isinstance(private, PrivateRecognizer)
        return private


def _backbone(recognizer: nn.Module | None) -> nn.Module:
    """The part of a recognizer below its head."""
    if recognizer is None:
        raise ValueError("dp_sgd: start = public needs a recognizer of public people")
    inner: Any = recognizer.victim if isinstance(recognizer, PrivateRecognizer) else recognizer
    backbone: nn.Module = inner.backbone
    return backbone
