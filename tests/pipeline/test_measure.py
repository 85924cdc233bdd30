"""Whom a released model is asked about as strangers: people whom no model has learned to tell apart."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch

from inversionlab.pipeline.measure import unknown_people
from inversionlab.pipeline.session import Session
from tests import tiny

ALONE: dict[str, Any] = {
    "split.evaluator_people": 0,
    "evaluators": tiny.RECIPE["evaluators"][:1],
}
"""Without people of the evaluators' own."""


def opened(folder: Path, **changes: Any) -> Session:
    return tiny.session(folder, **changes)


def test_they_are_the_evaluators_own_people_where_there_are_any(tmp_path: Path) -> None:
    session = opened(tmp_path)
    splits, found = session.builder.splits, unknown_people(session)
    assert found is not None
    assert len(found) == len(splits.evaluator_train) + len(splits.evaluator_test)


def test_else_they_are_public_people_on_one_picture(tmp_path: Path) -> None:
    """From several pictures of a public person some defenses learn the person."""
    once = {**tiny.RECIPE["data"], "seed": 1, "pictures_per_person": 1}
    session = opened(tmp_path, public_data=once, **ALONE)
    splits, found = session.builder.splits, unknown_people(session)
    assert found is not None
    _, count_P = splits.public_person_N.unique(return_counts=True)
    assert len(found) == int((count_P == 1).sum()) > 0
    known = {x.numpy().tobytes() for x in splits.public_NCHW[:]}
    assert all(x.numpy().tobytes() in known for x in found[:])


def test_without_such_people_nothing_is_known(tmp_path: Path) -> None:
    session = opened(tmp_path, **ALONE)
    assert torch.bincount(session.builder.splits.public_person_N).max() > 1
    assert unknown_people(session) is None
