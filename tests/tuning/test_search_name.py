"""What the name of a search depends on."""

from __future__ import annotations

from typing import Any

from ray import tune

from inversionlab.tuning.search import SearchOptions, search_name
from inversionlab.tuning.space import SearchSpace
from tests import tiny

SPACE = SearchSpace(
    "dummy_recognizer",
    {"defense.alpha": tune.uniform(0.0, 1.0)},
    (),
    {"accuracy": "max", "attack_success": "min"},
    {},
)


def name(*, trials: int = 4, sampler: Any = "tpe", **changed: Any) -> str:
    experiment = tiny.experiment(sweep=None, **changed)
    return search_name(experiment, SPACE, SearchOptions(trials=trials, sampler=sampler))


def test_layout_and_length_do_not_change_the_name() -> None:
    assert name() == name(trials=9) == name(**{"runtime.shard_size": 7})
    assert name() == name(headline="first")


def test_whatever_changes_the_study_changes_the_name() -> None:
    names = [name(), name(headline="worst"), name(sampler="nsga2"), name(seed=1)]
    assert len(set(names)) == len(names)
