"""A student: the attacker's own recognizer, which has learned a model's answers to public pictures."""

from functools import partial
from typing import Literal

from torch import Tensor

from inversionlab.core.contracts import ModelShape
from inversionlab.core.learner import TrainingSettings
from inversionlab.recognizers import RecognizerLearner, RecognizerSettings
from inversionlab.recognizers.losses import Head
from inversionlab.recognizers.small_resnet import SmallResnet

Answers = Literal["labels", "scores"]
STUDENT = RecognizerSettings(
    network=SmallResnet.Settings(width=24),
    training=TrainingSettings(
        epochs=20, batch_size=64, learning_rate=2e-3, schedule="one_cycle", weight_decay=5e-2
    ),
)
"""Structure and training of a student, where an attack says nothing else."""


def student_learner(
    student: RecognizerSettings, answers: Answers, shape: ModelShape, seed: int
) -> RecognizerLearner:
    """A student in training; ConfigError if it does not fit the pictures."""
    learner = RecognizerLearner(student, seed=seed, **shape.sizes)
    learner.loss = partial(student_loss, answers)
    return learner


def student_loss(answers: Answers, head: Head, feature_ND: Tensor, score_NK: Tensor) -> Tensor:
    """The head's own loss on the winning classes, or its cross-entropy with the scores."""
    if answers == "labels":
        return head.loss(feature_ND, score_NK.argmax(1))
    loss: Tensor = -(score_NK * head(feature_ND).log_softmax(1)).sum(1).mean()
    return loss
