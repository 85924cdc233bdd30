"""Who an evaluator is trained and tested on, protocol by protocol."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from inversionlab.core.settings import ConfigError
from inversionlab.data.splits import Labelled, Splits
from inversionlab.experiment import EvaluatorSettings


@dataclass(frozen=True)
class EvaluatorData:
    """An evaluator's classes: who it is trained and tested on, and the class of every target."""

    train: Labelled
    test: Labelled
    classes: int
    """Of its head."""
    class_of: Mapping[int, int]
    """Under which number it knows a target: of its head, or of the gallery of private people."""


def evaluator_data(
    evaluator: EvaluatorSettings, splits: Splits, pool: tuple[int, ...]
) -> EvaluatorData:
    """Who an evaluator is trained on.

    same_people: the victim's own training set and classes. person_disjoint: the training pictures of
    the people in `pool`, the targets among them, as classes 0, 1, ..., and after them the evaluator-only people's.
    nearest_identity: public people of whom there are at least two pictures.

    Raises:
        ConfigError: there are fewer than two such public people.
    """
    if evaluator.protocol == "same_people":
        count = len(splits.people)
        return EvaluatorData(splits.train, splits.test, count, {p: p for p in pool})
    if evaluator.protocol == "nearest_identity":
        outsiders = _outsiders(evaluator, splits)
        classes = int(outsiders.class_N.max()) + 1
        return EvaluatorData(outsiders, splits.test, classes, {p: p for p in pool})
    class_of = {person: index for index, person in enumerate(pool)}
    return EvaluatorData(
        train=_join(splits.train, splits.evaluator_train, class_of),
        test=_join(splits.test, splits.evaluator_test, class_of),
        classes=len(pool) + len(splits.evaluator_people),
        class_of=class_of,
    )


def _outsiders(evaluator: EvaluatorSettings, splits: Splits) -> Labelled:
    found = outsiders(splits)
    if len(found.class_N.unique()) < 2:
        raise ConfigError(
            f"evaluators ({evaluator.name}): nearest_identity needs public people with two pictures or more "
            "each, and there are fewer than two of them; choose another protocol, or other public data"
        )
    return found


def outsiders(splits: Splits) -> Labelled:
    """The public people who can be learned from, those with two pictures or more, as classes 0, 1, ..."""
    class_N = outsider_classes(splits)
    return Labelled(splits.public_NCHW[class_N >= 0], class_N[class_N >= 0])


def outsider_classes(splits: Splits) -> Tensor:
    """The class (N,) of every public picture among the `outsiders`; -1 for who is on one picture only."""
    _, place_N, count_P = splits.public_person_N.unique(return_inverse=True, return_counts=True)
    known_P = count_P >= 2
    class_P = torch.where(known_P, known_P.cumsum(0) - 1, -1)
    return class_P[place_N]


def _join(private: Labelled, others: Labelled, class_of: Mapping[int, int]) -> Labelled:
    rows = torch.isin(private.class_N, torch.tensor(list(class_of)))
    mapped = torch.tensor([class_of[c] for c in private.class_N[rows].tolist()])
    return Labelled(
        torch.cat([private.images_NCHW[rows], others.images_NCHW]),
        torch.cat([mapped, others.class_N + len(class_of)]),
    )
