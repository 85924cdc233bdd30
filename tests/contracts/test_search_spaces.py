"""Every search space fits an experiment with its defense, and its start points can be suggested."""

from __future__ import annotations

import itertools
from pathlib import Path
from typing import Any

import pytest

from inversionlab.config import fingerprint
from inversionlab.defenses import DEFENSES
from inversionlab.experiment import Experiment
from inversionlab.runtime.searcher import make_searcher
from inversionlab.runtime.space import check_space, describe, experiment_at, load_space
from tests import tiny

SPACES = sorted((Path(__file__).resolve().parents[2] / "search_spaces").glob("*.py"))

CHANGES: dict[str, dict[str, Any]] = {
    "dummy_recognizer": {},
}
"""What makes `tests/tiny.py`'s recipe one with that defense."""

MANY = 12
"""Trainings that a search may cause at most; the module says how many."""


def experiment(path: Path) -> Experiment:
    return tiny.experiment(**CHANGES[path.stem])


@pytest.mark.parametrize("path", SPACES, ids=lambda p: p.stem)
def test_it_is_named_for_a_defense_and_fits_it(path: Path) -> None:
    assert path.stem in DEFENSES
    space = load_space(path)
    check_space(space, experiment(path))
    assert space.start, "the paper's own settings are tried first"


@pytest.mark.parametrize("path", SPACES, ids=lambda p: p.stem)
def test_its_start_points_come_first(path: Path) -> None:
    space = load_space(path)
    search = make_searcher(space, single=False, sampler="tpe", seed=0, max_concurrent=64)
    for number, point in enumerate(space.start):
        assert search.suggest(f"id{number}") == point
    assert search.suggest("free") not in space.start


@pytest.mark.parametrize("path", SPACES, ids=lambda p: p.stem)
def test_settings_that_train_are_few_choices(path: Path) -> None:
    """Every combination of choices is a training; a continuous setting must train nothing."""
    space, base = load_space(path), experiment(path)
    kinds = describe(space)["kinds"]
    choices = {k: kind["values"] for k, kind in kinds.items() if kind["kind"] == "choice"}
    trained = {
        fingerprint(
            experiment_at(base, dict(zip(choices, point, strict=True))).defense.trained_part()
        )
        for point in itertools.product(*choices.values())
    }
    assert len(trained) <= MANY
    for key, kind in kinds.items():
        if key not in choices:
            ends = {
                fingerprint(experiment_at(base, {key: value}).defense.trained_part())
                for value in (kind["low"], kind["high"])
            }
            assert len(ends) == 1, f"{key} trains: make it a tune.choice of a few values"
