"""Whether the splits hold nearly equal pictures of different people: looked for once for each split, and stored.

pictures/overlaps/ID.json    what was found between private pictures and all others
"""

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import replace
from typing import Any

import torch

from inversionlab.core.rows import PictureRows
from inversionlab.core.settings import ConfigError, fingerprint
from inversionlab.data import DATASETS
from inversionlab.data.duplicates import ADVICE, DECOYS, EVALUATOR, PRIVATE, PUBLIC, SHOWN
from inversionlab.data.labelled import Labelled
from inversionlab.data.near_duplicates import Near, Pictured, find_near
from inversionlab.data.splits import Splits
from inversionlab.experiment import Experiment
from inversionlab.pipeline.preparation import UndecodedPictures
from inversionlab.store.storage import Storage, StorageError

_FORMAT = 1
"""Raise it when another algorithm would find other pictures."""


def with_near_duplicates(
    experiment: Experiment, splits: Splits, data_id: str, storage: Storage
) -> Splits:
    """The splits, with a note for each kind of near-duplicate that they hold.

    Drawn faces and digits are left alone: no picture of theirs is a copy of another. So are large sets that are
    not prepared yet, of which only a plan is made.

    Raises:
        ConfigError: private pictures are nearly public or evaluator-only, and `split.allow_overlap` is false.
    """
    wanted, source = experiment.split.near_duplicates, experiment.data
    if wanted is None or source is None or not DATASETS[source.name].photographs:
        return splits
    name = (
        f"pictures/overlaps/{fingerprint([_FORMAT, data_id, wanted.model_dump(mode='json')])}.json"
    )
    found = _stored(storage, name)
    if found is None and _only_listed(splits):
        return splits
    if found is None:
        found = _as_json(find_near(_mine(splits), _others(splits), wanted))
        with suppress(StorageError, OSError):
            storage.write_json(name, found)
    lines = _lines(found, allowed=experiment.split.allow_overlap)
    return replace(splits, notes=(*splits.notes, *lines)) if lines else splits


def _only_listed(splits: Splits) -> bool:
    """Whether it would take a preparation of the data to look at all pictures."""
    shown = (splits.train.images_NCHW, splits.public_NCHW)
    rows = (images for images in shown if isinstance(images, PictureRows))
    return any(isinstance(images.parts, UndecodedPictures) for images in rows)


def _mine(splits: Splits) -> list[Pictured]:
    return [_pictured(PRIVATE, half, splits.people) for half in (splits.train, splits.test)]


def _others(splits: Splits) -> list[Pictured]:
    strangers = splits.evaluator_people
    halves = (splits.evaluator_train, splits.evaluator_test)
    evaluator = [_pictured(EVALUATOR, half, strangers) for half in halves]
    secret = (
        [f"decoy {i}" for i in range(int(splits.decoys.class_N.max()) + 1)]
        if len(splits.decoys)
        else []
    )
    public = Labelled(splits.public_NCHW, splits.public_person_N)
    named = [f"public person {i}" for i in range(int(splits.public_person_N.max()) + 1)]
    return [
        *evaluator,
        _pictured(DECOYS, splits.decoys, secret),
        _pictured(PUBLIC, public, named),
    ]


def _pictured(kind: str, half: Labelled, people: Sequence[str]) -> Pictured:
    def pictures(rows: Any) -> torch.Tensor:
        return half.images_NCHW[torch.from_numpy(rows)]

    return Pictured(kind, len(half), pictures, half.class_N.numpy(), people)


def _as_json(found: Near) -> list[dict[str, Any]]:
    return [
        {
            "kind": kind,
            "pictures": count,
            "people": [list(pair[1:]) for pair in sorted(found.people) if pair[0] == kind],
        }
        for kind, count in sorted(found.between.items())
    ]


def _stored(storage: Storage, name: str) -> list[dict[str, Any]] | None:
    """What an earlier command found; None if none has looked, or its file is damaged."""
    try:
        found = storage.read_json(name)
        _lines(found, allowed=True)
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError):
        return None
    return found if isinstance(found, list) else None


def _lines(found: list[dict[str, Any]], *, allowed: bool) -> list[str]:
    lines = []
    for item in found:
        # The attacker's people have no names here.
        named = item["kind"] != PUBLIC
        pairs = [f"of `{a}` and `{b}`" if named else f"of `{a}`" for a, b in item["people"]]
        listed = f"{', '.join(pairs[:SHOWN])}{', ...' if len(pairs) > SHOWN else ''}"
        whose = (
            "those of another private person" if item["kind"] == PRIVATE else f"{item['kind']} ones"
        )
        line = f"{int(item['pictures'])} private pictures are nearly equal to {whose} ({listed})"
        if item["kind"] in (EVALUATOR, PUBLIC) and not allowed:
            raise ConfigError(
                f"split: {line}; {ADVICE}. split.near_duplicates says what counts as nearly equal"
            )
        lines.append(line)
    return lines
