"""Transfer learning (D12): only the later layers of the victim learn from private pictures.

Paper:    Ho, Hao, Chandrasegaran, Nguyen & Cheung 2024, "Model Inversion Robustness: Can Transfer Learning Help?"
          (TL-DMI), CVPR. By their Fisher information, inversion needs what the early layers hold, and recognition
          what the later ones hold.
Trains:   theta = (theta_E, theta_C). Both begin as those of a recognizer of public people, and the head is new:
              theta_C = argmin L(private pictures),  theta_E fixed.
          theta_E is the first `frozen` stages (`parts/stages.py` says where a backbone is cut), with their batch
          normalisation as constants and without dropout. L is the victim's own loss.
Start:    F_C, the victim's structure trained on the public people with two pictures or more (in the recipe of
          `Seen`: 4,840 pictures), with the victim's own number of epochs. These are the people of the attacker's
          public set. In the paper the defender's public data is another set than the attacker's. An attacker who
          trains F_C again has theta_E too, so nothing here depends on its secrecy. But the prior of the attack and
          the victim's early layers have seen the same faces here, which no figure of the paper covers.
Releases: the recognizer so trained, one network in the victim's place.
Defaults: frozen = 1, by measurement (`Seen`). The paper keeps the first layers of VGG-16 (in its public code's
          example those before layer 10); frozen = 2 is nearest to that. The training is the recognizers' own.
Protects: white box too, because nothing is wrapped that could be removed. It limits where private pictures are
          encoded, and promises no bound.
Ranges:   frozen from 0 (plain fine-tuning) to the number of the backbone's stages (the head alone is tuned).
Deviates: the paper counts single layers of VGG-16; a stage is a whole resolution. The victim's own label
          smoothing is not used.
Seen:     LFW, 32x32, 62 people (lfw_matrix.yaml's victim has 80.9 %), one training each: 83.4 % accuracy at
          frozen = 0, 82.4 at 1, 75.6 at 2, 68.9 at 3, 62.0 at 4. So few public pictures make a weak start. The
          first stage holds 0.4 % of the backbone's weights, so the default can hide little; more costs accuracy.
"""

from typing import Any, ClassVar, Literal

import torch
from pydantic import Field
from torch import Tensor, nn

from inversionlab.core.contracts import ModelShape, TrainingJob
from inversionlab.core.learner import GradientSync, Learner, Losses, TrainingSettings
from inversionlab.core.views import Labels, Scores, View, WhiteBox
from inversionlab.defenses.base import (
    Defense,
    DefenseContext,
    DefenseSettings,
    Layer,
    VictimBlueprint,
)
from inversionlab.defenses.parts.public_start import start_from_public
from inversionlab.defenses.parts.stages import stages


class TransferLearningSettings(DefenseSettings):
    """Settings of transfer learning."""

    name: Literal["transfer_learning"] = "transfer_learning"
    frozen: int = Field(default=1, ge=0, le=64)
    """Stages of the backbone, counted from the picture, that keep the weights learned from public people."""
    training: TrainingSettings = TrainingSettings(
        epochs=40, batch_size=64, learning_rate=2e-3, schedule="one_cycle", weight_decay=5e-2
    )
    """How the other stages and the head are tuned."""


def frozen_layers(network: nn.Module, shape: ModelShape, count: int) -> list[nn.Module]:
    """The layers of the first `count` stages; ValueError if there are fewer stages, or none to be found."""
    found = stages(network, shape, "transfer_learning:")
    if count > len(found):
        raise ValueError(
            f"frozen = {count}: the victim's backbone has {len(found)} stages; give at most {len(found)}"
        )
    return [layer for stage in found[:count] for layer in stage]


class TransferLearner(Learner):
    """Tunes the stages of a recognizer that are not frozen."""

    def __init__(self, settings: TransferLearningSettings, context: DefenseContext) -> None:
        """Build the recognizer, load its backbone and freeze it in part; ValueError without a classifier."""
        self.augment = context.augment
        # Any: defenses do not import the recognizers' classes.
        self.recognizer: Any = context.blueprint.new_network()
        start_from_public(self.recognizer, context.classifier, "transfer_learning:")
        shape = context.blueprint.shape
        self.frozen = frozen_layers(self.recognizer, shape, settings.frozen)
        for layer in self.frozen:
            layer.requires_grad_(False)
        super().__init__(settings.training, recognizer=self.recognizer)

    def step(self, x_NCHW: Tensor, y_N: Tensor, rng: torch.Generator, sync: GradientSync) -> Losses:
        """Learn from one batch; returns `loss`."""
        # The loop has just set every layer to training.
        for layer in self.frozen:
            layer.eval()
        with self.autocast(x_NCHW):
            feature_ND = self.recognizer.features(self.augment(x_NCHW, rng))
        loss: Tensor = self.recognizer.head.loss(feature_ND, y_N)
        self.descend("recognizer", loss, sync)
        return {"loss": loss.detach()}


class TransferLearning(Defense):
    """Trains the later layers of the victim on top of public ones."""

    Settings: ClassVar[type[DefenseSettings]] = TransferLearningSettings
    settings: TransferLearningSettings
    layer: ClassVar[Layer] = Layer.VICTIM
    trains: ClassVar[bool] = True
    needs: ClassVar[frozenset[str]] = frozenset({"classifier"})
    learns_private: ClassVar[bool] = True
    protects: ClassVar[frozenset[type[View]]] = frozenset({WhiteBox, Scores, Labels})

    def fits(self, blueprint: VictimBlueprint, pictures: int) -> None:
        """Raise ValueError if the victim's backbone has no stages, or fewer than are to be frozen."""
        frozen_layers(blueprint.new_network(), blueprint.shape, self.settings.frozen)

    def training_job(self, context: DefenseContext) -> TrainingJob:
        """Tune it on the victim's own pictures."""
        return TrainingJob(
            learner=TransferLearner(self.settings, context),
            images_NCHW=context.private_NCHW,
            class_N=context.private_class_N,
            training=self.settings.training,
        )
