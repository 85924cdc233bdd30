"""The recognizers that an experiment trains: the victim, the evaluators, and the defender's classifier.

A protocol says which people a recognizer is trained and tested on. A new protocol for evaluators is an entry of
`PROTOCOLS` here and a name in `experiment/sections.py`.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import torch
from torch import Tensor

from inversionlab.core.contracts import TrainingJob
from inversionlab.core.rows import join, select
from inversionlab.core.settings import ConfigError
from inversionlab.data.labelled import Labelled
from inversionlab.data.splits import Splits
from inversionlab.pipeline.network_spec import BuildContext, NetworkSpec
from inversionlab.recognizers import (
    Recognizer,
    RecognizerLearner,
    RecognizerSettings,
    recognizer_inputs,
)

FEWEST = 2
"""Pictures of a public person from whom a recognizer can learn."""
HELD_OUT = 5
"""Where every public person whom F_C learns is on so many pictures, every fifth one is held out to test it."""


@dataclass(frozen=True)
class RecognizerData:
    """The pictures that a recognizer is trained and tested on, and its class of every target."""

    train: Labelled
    test: Labelled
    class_of: Mapping[int, int]
    """The target's class in the recognizer's head, or in the gallery of private people."""
    gallery: Labelled | None = None
    """The private people's pictures that an evaluator compares with, if it decides by the nearest person."""


@dataclass(frozen=True)
class RecognizerProtocol:
    """How a recognizer is trained, and what its decision rests on."""

    data: Callable[[str, Splits, tuple[int, ...]], RecognizerData]
    """Takes the recognizer's name, the splits and the pool; raises ConfigError if there are too few people."""
    inputs: Mapping[str, str] = field(default_factory=dict)
    """What the network's hash says of the protocol."""
    knows_pool: bool = False
    """Whether its classes depend on the pool."""
    public_only: bool = False
    """Whether it learns public people only. An evaluator then decides by the nearest private person's mean
    embedding, and not by its head."""
    holds_out: bool = False
    """Whether it is tested on pictures of these people that it has not learned from."""


@dataclass(frozen=True)
class RecognizerSpec(NetworkSpec):
    """A recognizer: the victim, the defender's classifier, or an evaluator, which the attacker never sees."""

    name: str
    """What messages call it."""
    settings: RecognizerSettings
    protocol: RecognizerProtocol
    pool: tuple[int, ...] = ()
    """Classes of the private people that a person-disjoint evaluator knows."""

    @property
    def has_gallery(self) -> bool:
        """Whether an evaluator decides by the nearest private person."""
        return self.protocol.public_only

    @property
    def protocol_name(self) -> str:
        """An evaluator's protocol."""
        return self.protocol.inputs.get("protocol", "")

    @property
    def structure(self) -> RecognizerSettings:
        """The recognizer that defenses train in the victim's place: one like it."""
        return self.settings

    @property
    def structure_name(self) -> str:
        """What tables call the network."""
        return self.settings.network.name

    def data(self, splits: Splits) -> RecognizerData:
        """The pictures that it is trained and tested on.

        Raises:
            ConfigError: there are too few people for its protocol.
        """
        return self.protocol.data(self.name, splits, self.pool)

    def own_inputs(self) -> dict[str, Any]:
        """The protocol, the recognizer's settings, and the pool where it matters."""
        known = {"targets": list(self.pool)} if self.protocol.knows_pool else {}
        return {**self.protocol.inputs, "recognizer": recognizer_inputs(self.settings), **known}

    def build(self, context: BuildContext) -> Recognizer:
        """A recognizer of the people that the protocol names.

        Raises:
            ConfigError: there are too few of them.
        """
        # The pictures are real where the network is without numbers (`pipeline/untrained.py`).
        with torch.device("cpu"):
            people = self.data(context.splits).train
        return Recognizer(self.settings, **_sizes(people, context), seed=0)

    def training_job(self, context: BuildContext) -> TrainingJob:
        """Learns the people that the protocol names."""
        people = self.data(context.splits).train
        learner = RecognizerLearner(
            self.settings, **_sizes(people, context), seed=self.weights_seed
        )
        return TrainingJob(learner, people.images_NCHW, people.class_N, self.settings.training)

    def test_pictures(self, context: BuildContext) -> Labelled | None:
        """The protocol's test pictures; None if it learns public people, whom they do not show."""
        test = None if self.protocol.public_only else self.data(context.splits).test
        return self.data(context.splits).test if self.protocol.holds_out else test


def _sizes(people: Labelled, context: BuildContext) -> dict[str, int]:
    return replace(context.shape, classes=int(people.class_N.max()) + 1).sizes


def _same_people(name: str, splits: Splits, pool: tuple[int, ...]) -> RecognizerData:
    """The victim's own training set and classes."""
    return RecognizerData(splits.train, splits.test, {p: p for p in pool})


def _person_disjoint(name: str, splits: Splits, pool: tuple[int, ...]) -> RecognizerData:
    """The people in `pool`, the targets among them, as classes 0, 1, ..., then the evaluator-only people."""
    class_of = {person: index for index, person in enumerate(pool)}

    def known(private: Labelled, others: Labelled) -> Labelled:
        rows = torch.isin(private.class_N, torch.tensor(pool))
        mapped = torch.tensor([class_of[c] for c in private.class_N[rows].tolist()])
        return Labelled(
            join([select(private.images_NCHW, rows), others.images_NCHW]),
            torch.cat([mapped, others.class_N + len(pool)]),
        )

    train = known(splits.train, splits.evaluator_train)
    return RecognizerData(train, known(splits.test, splits.evaluator_test), class_of)


def _nearest_identity(name: str, splits: Splits, pool: tuple[int, ...]) -> RecognizerData:
    """Trained on public people; tested on private ones, whose classes are those of the gallery."""
    known = outsiders(splits, f"evaluators ({name}): nearest_identity")
    return RecognizerData(known, splits.test, {p: p for p in pool}, splits.train)


PROTOCOLS = {
    "same_people": RecognizerProtocol(_same_people, {"protocol": "same_people"}),
    "person_disjoint": RecognizerProtocol(
        _person_disjoint, {"protocol": "person_disjoint"}, knows_pool=True
    ),
    "nearest_identity": RecognizerProtocol(
        _nearest_identity, {"protocol": "nearest_identity"}, public_only=True
    ),
}
"""The evaluators' protocols."""


def victim_spec(
    data_id: str, seed: int, settings: RecognizerSettings, *, for_each_seed: bool = False
) -> RecognizerSpec:
    """R_T, the recognizer under attack."""
    protocol = RecognizerProtocol(_same_people)
    return RecognizerSpec(
        data_id, seed, "victim", "victim", settings, protocol, for_each_seed=for_each_seed
    )


def classifier_spec(
    data_id: str,
    seed: int,
    structure: RecognizerSettings,
    *,
    least: int = FEWEST,
    for_each_seed: bool = False,
) -> RecognizerSpec:
    """F_C, the defender's recognizer of public people with `least` pictures, of the victim's structure and
    training. With `HELD_OUT` pictures or more of each, every fifth one tests it."""
    holds_out = least >= HELD_OUT

    def data(name: str, splits: Splits, pool: tuple[int, ...]) -> RecognizerData:
        known = outsiders(splits, name, least)
        if not holds_out:
            return RecognizerData(known, splits.test, {})
        held_N = _place_of_person(known.class_N) % HELD_OUT == HELD_OUT - 1
        learned, held = (
            Labelled(select(known.images_NCHW, rows_N), known.class_N[rows_N])
            for rows_N in (~held_N, held_N)
        )
        return RecognizerData(learned, held, {})

    name = "F_C, the defender's recognizer of public people,"
    known = {} if least == FEWEST else {"pictures": str(least)}
    known |= {"held_out": f"every {HELD_OUT}th"} if holds_out else {}
    protocol = RecognizerProtocol(
        data, {"on": "public", **known}, public_only=True, holds_out=holds_out
    )
    return RecognizerSpec(
        *(data_id, seed, "defense_classifier", name, structure, protocol),
        for_each_seed=for_each_seed,
    )


def _place_of_person(class_N: Tensor) -> Tensor:
    """The place (N,) of each picture among those of its person: 0, 1, ..."""
    place_N = torch.empty_like(class_N)
    for person in class_N.unique().tolist():
        rows_N = class_N == person
        place_N[rows_N] = torch.arange(int(rows_N.sum()))
    return place_N


def outsiders(splits: Splits, user: str, least: int = FEWEST) -> Labelled:
    """The public people with `least` pictures or more, as classes 0, 1, ...

    Raises:
        ConfigError: there are fewer than two, and `user` needs them.
    """
    class_N = outsider_classes(splits, least)
    if int(class_N.max()) < 1:
        many = "two pictures or more" if least == FEWEST else f"{least} pictures or more"
        raise ConfigError(
            f"{user} needs public people with {many} each, but there are fewer than two of them; leave it out, or "
            "choose other public data"
        )
    return Labelled(select(splits.public_NCHW, class_N >= 0), class_N[class_N >= 0])


def outsider_classes(splits: Splits, least: int = FEWEST) -> Tensor:
    """The class (N,) of every public picture among the `outsiders`; -1 for people with fewer pictures."""
    _, place_N, count_P = splits.public_person_N.unique(return_inverse=True, return_counts=True)
    known_P = count_P >= least
    class_P = torch.where(known_P, known_P.cumsum(0) - 1, -1)
    return class_P[place_N]
