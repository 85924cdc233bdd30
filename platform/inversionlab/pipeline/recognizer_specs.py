"""The recognizers that an experiment trains: the victim, the evaluators, and the defender's classifier."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

from inversionlab.core.contracts import TrainingJob
from inversionlab.data.splits import Labelled, Splits
from inversionlab.experiment import EvaluatorSettings
from inversionlab.pipeline.evaluator_data import (
    PROTOCOLS,
    EvaluatorData,
    EvaluatorProtocol,
    outsiders,
)
from inversionlab.pipeline.network_spec import BuildContext, NetworkSpec
from inversionlab.recognizers import (
    Recognizer,
    RecognizerLearner,
    RecognizerSettings,
    recognizer_inputs,
)


@dataclass(frozen=True)
class VictimSpec(NetworkSpec):
    """R_T, the recognizer under attack."""

    settings: RecognizerSettings
    role = "victim"

    def own_inputs(self) -> dict[str, Any]:
        """The recognizer's settings."""
        return {"recognizer": recognizer_inputs(self.settings)}

    def build(self, context: BuildContext) -> Recognizer:
        """A recognizer of the private people."""
        return _recognizer(self.settings, context.splits.train, context)

    def training_job(self, context: BuildContext) -> TrainingJob:
        """Learns the private training pictures."""
        return _training_job(self.settings, context.splits.train, context, self.weights_seed)

    def test_pictures(self, context: BuildContext) -> Labelled:
        """The private test pictures."""
        return context.splits.test


@dataclass(frozen=True)
class EvaluatorSpec(NetworkSpec):
    """A recognizer that the attacker never sees."""

    settings: EvaluatorSettings
    pool: tuple[int, ...]
    """Classes of the private people that a person-disjoint evaluator knows."""

    @property
    def role(self) -> str:
        """Each evaluator has a role of its own."""
        return f"evaluator:{self.settings.name}"

    @property
    def protocol(self) -> EvaluatorProtocol:
        """How it is trained, and what its decision rests on."""
        return PROTOCOLS[self.settings.protocol]

    def data(self, splits: Splits) -> EvaluatorData:
        """The pictures that it is trained and tested on.

        Raises:
            ConfigError: there are too few people for its protocol.
        """
        return self.protocol.data(self.settings.name, splits, self.pool)

    def own_inputs(self) -> dict[str, Any]:
        """The protocol, the recognizer's settings, and the pool where it matters."""
        recognizer = recognizer_inputs(self.settings.recognizer)
        known = {"targets": list(self.pool)} if self.protocol.knows_pool else {}
        return {"protocol": self.settings.protocol, "recognizer": recognizer, **known}

    def build(self, context: BuildContext) -> Recognizer:
        """A recognizer of the people that the protocol names.

        Raises:
            ConfigError: there are too few of them.
        """
        return _recognizer(self.settings.recognizer, self.data(context.splits).train, context)

    def training_job(self, context: BuildContext) -> TrainingJob:
        """Learns the people that the protocol names."""
        train = self.data(context.splits).train
        return _training_job(self.settings.recognizer, train, context, self.weights_seed)

    def test_pictures(self, context: BuildContext) -> Labelled | None:
        """The protocol's; None where a gallery decides, which `measure_evaluator` tests."""
        return None if self.protocol.gallery else self.data(context.splits).test


@dataclass(frozen=True)
class ClassifierSpec(NetworkSpec):
    """F_C, the defender's recognizer of public people, with the victim's structure and training."""

    settings: RecognizerSettings
    role = "defense_classifier"

    def own_inputs(self) -> dict[str, Any]:
        """The recognizer's settings."""
        return {"on": "public", "recognizer": recognizer_inputs(self.settings)}

    def build(self, context: BuildContext) -> Recognizer:
        """A recognizer of the public people.

        Raises:
            ConfigError: there are fewer than two with two pictures.
        """
        return _recognizer(self.settings, self._people(context), context)

    def training_job(self, context: BuildContext) -> TrainingJob:
        """Learns the public people with two pictures or more."""
        return _training_job(self.settings, self._people(context), context, self.weights_seed)

    def _people(self, context: BuildContext) -> Labelled:
        return outsiders(context.splits, "F_C, the defender's recognizer of public people,")


def _recognizer(
    settings: RecognizerSettings, people: Labelled, context: BuildContext
) -> Recognizer:
    return Recognizer(settings, **_sizes(people, context), seed=0)


def _training_job(
    settings: RecognizerSettings, people: Labelled, context: BuildContext, seed: int
) -> TrainingJob:
    learner = RecognizerLearner(settings, **_sizes(people, context), seed=seed)
    return TrainingJob(learner, people.images_NCHW, people.class_N, settings.training)


def _sizes(people: Labelled, context: BuildContext) -> dict[str, int]:
    return replace(context.shape, classes=int(people.class_N.max()) + 1).sizes
