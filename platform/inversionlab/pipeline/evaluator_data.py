"""The evaluators' protocols: the people an evaluator is trained and tested on, and what its decision rests on.

A new protocol is an entry of `PROTOCOLS` here and a name in `experiment/sections.py`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from inversionlab.core.settings import ConfigError
from inversionlab.data.splits import Labelled, Splits


@dataclass(frozen=True)
class EvaluatorData:
    """The pictures that an evaluator is trained and tested on, and its class of every target."""

    train: Labelled
    test: Labelled
    class_of: Mapping[int, int]
    """The target's class in the evaluator's head, or in the gallery of private people."""


@dataclass(frozen=True)
class EvaluatorProtocol:
    """How an evaluator is trained, and what its decision rests on."""

    data: Callable[[str, Splits, tuple[int, ...]], EvaluatorData]
    """Takes the evaluator's name, the splits and the pool; raises ConfigError if there are too few people."""
    knows_pool: bool = False
    """Whether its classes depend on the pool."""
    gallery: bool = False
    """Whether the nearest private person's mean embedding decides, and not the head."""


def _same_people(name: str, splits: Splits, pool: tuple[int, ...]) -> EvaluatorData:
    """The victim's own training set and classes."""
    return EvaluatorData(splits.train, splits.test, {p: p for p in pool})


def _person_disjoint(name: str, splits: Splits, pool: tuple[int, ...]) -> EvaluatorData:
    """The people in `pool`, the targets among them, as classes 0, 1, ..., then the evaluator-only people."""
    if not splits.evaluator_people:
        raise ConfigError(
            f"evaluators: `{name}` is person_disjoint, but split.evaluator_min_pictures and the private people "
            "leave nobody for it"
        )
    class_of = {person: index for index, person in enumerate(pool)}

    def join(private: Labelled, others: Labelled) -> Labelled:
        rows = torch.isin(private.class_N, torch.tensor(pool))
        mapped = torch.tensor([class_of[c] for c in private.class_N[rows].tolist()])
        return Labelled(
            torch.cat([private.images_NCHW[rows], others.images_NCHW]),
            torch.cat([mapped, others.class_N + len(pool)]),
        )

    return EvaluatorData(
        train=join(splits.train, splits.evaluator_train),
        test=join(splits.test, splits.evaluator_test),
        class_of=class_of,
    )


def _nearest_identity(name: str, splits: Splits, pool: tuple[int, ...]) -> EvaluatorData:
    """Trained on public people; tested on private ones, whose classes are those of the gallery."""
    known = outsiders(splits, f"evaluators ({name}): nearest_identity")
    return EvaluatorData(known, splits.test, {p: p for p in pool})


PROTOCOLS: dict[str, EvaluatorProtocol] = {
    "same_people": EvaluatorProtocol(_same_people),
    "person_disjoint": EvaluatorProtocol(_person_disjoint, knows_pool=True),
    "nearest_identity": EvaluatorProtocol(_nearest_identity, gallery=True),
}


def outsiders(splits: Splits, user: str) -> Labelled:
    """The public people with two pictures or more, as classes 0, 1, ...

    Raises:
        ConfigError: there are fewer than two, and `user` needs them.
    """
    class_N = outsider_classes(splits)
    if int(class_N.max()) < 1:
        raise ConfigError(
            f"{user} needs public people with two pictures or more each, and there are fewer than two of them; "
            "leave it out, or choose other public data"
        )
    return Labelled(splits.public_NCHW[class_N >= 0], class_N[class_N >= 0])


def outsider_classes(splits: Splits) -> Tensor:
    """The class (N,) of every public picture among the `outsiders`; -1 for people with one picture only."""
    _, place_N, count_P = splits.public_person_N.unique(return_inverse=True, return_counts=True)
    known_P = count_P >= 2
    class_P = torch.where(known_P, known_P.cumsum(0) - 1, -1)
    return class_P[place_N]
