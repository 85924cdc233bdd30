"""What a search proposes: a function of space, seed, K and results, whatever ends first. No cluster needed."""

from __future__ import annotations

import math
import pickle
import random
from collections.abc import Mapping
from typing import Any

import pytest
from optuna.trial import TrialState
from ray import tune
from ray.tune.search import ConcurrencyLimiter

from inversionlab.tuning.searcher import DeterministicSearcher, SamplerName
from inversionlab.tuning.space import SearchSpace

SPACE = SearchSpace(
    module="dummy_recognizer",
    domains={
        "defense.alpha": tune.uniform(0.0, 1.0),
        "defense.temperature": tune.loguniform(1.0, 10.0),
        "defense.neighbours": tune.choice([20, 40]),
    },
    start=(
        {"defense.alpha": 0.25, "defense.temperature": 1.0, "defense.neighbours": 40},
        {"defense.alpha": 0.2, "defense.temperature": 3.0, "defense.neighbours": 20},
    ),
    objectives={"accuracy": "max", "attack_success": "min"},
    constraints={"accuracy_loss": 1.0},
)


def searcher(
    at_once: int, sampler: SamplerName = "tpe", single: bool = False
) -> DeterministicSearcher:
    return DeterministicSearcher(
        SPACE, single=single, sampler=sampler, seed=3, max_concurrent=at_once
    )


def outcome(settings: Mapping[str, Any]) -> dict[str, float] | None:
    """What a trial reports: smooth in its settings; None where it raises."""
    a, t = settings["defense.alpha"], settings["defense.temperature"]
    if a > 0.93:
        return None
    return {
        "accuracy": 1 - (1 - a) ** 2 / t,
        "accuracy_loss": 5 * (1 - a),
        "attack_success": a * a + settings["defense.neighbours"] / 100,
        "score": a + math.log(t),
    }


def drive(
    search: DeterministicSearcher, trials: int, at_once: int, chance: random.Random
) -> list[Any]:
    """What Tune does: asks when there is room, and lets running trials end in an order drawn by chance."""
    asked: list[Any] = []
    running: dict[str, Mapping[str, Any]] = {}
    for turn in range(100_000):
        if len(asked) == trials and not running:
            return asked
        if len(asked) < trials and len(running) < at_once and chance.random() < 0.8:
            settings = search.suggest(f"id{turn}")
            if settings is not None:
                asked.append(settings)
                running[f"id{turn}"] = settings
                continue
        if running and chance.random() < 0.5:
            name = chance.choice(list(running))
            result = outcome(running.pop(name))
            if result:
                search.on_trial_result(name, {**result, "training_iteration": 1})
            search.on_trial_complete(name, result, error=result is None)
    raise AssertionError("the search stalled")


@pytest.mark.parametrize("single", [False, True])
@pytest.mark.parametrize("sampler", ["tpe", "nsga2", "random"])
@pytest.mark.parametrize("at_once", [1, 4])
def test_proposals_do_not_depend_on_which_trial_ends_first(
    at_once: int, sampler: SamplerName, single: bool
) -> None:
    runs = [
        drive(searcher(at_once, sampler, single), 26, at_once, random.Random(chance))
        for chance in range(4)
    ]
    assert runs[0] == runs[1] == runs[2] == runs[3]
    assert runs[0][:2] == list(SPACE.start)
    assert len({str(settings) for settings in runs[0]}) > 20


@pytest.mark.parametrize("at_once", [1, 3, 64])
def test_any_number_at_once_ends(at_once: int) -> None:
    assert len(drive(searcher(at_once), 20, at_once, random.Random(1))) == 20


def test_results_are_told_when_due_in_number_order_and_each_once() -> None:
    search = searcher(3)
    for name in "abc":
        assert search.suggest(name) is not None
    for name in "cb":
        search.on_trial_complete(name, outcome(SPACE.start[0]))
    assert search.suggest("d") is None, "trial 0 is out, and suggestion 3 uses it"
    search.on_trial_complete("a", outcome(SPACE.start[0]))
    assert search.suggest("e") is not None
    assert states(search) == ["COMPLETE", "RUNNING", "RUNNING", "RUNNING"]
    assert search.suggest("f") is not None
    assert states(search) == ["COMPLETE", "COMPLETE", "RUNNING", "RUNNING", "RUNNING"]


def test_the_sampler_learns() -> None:
    """Told results matter: the later half of a one-objective search lies nearer to the best than chance."""
    asked = drive(searcher(1, single=True), 60, 1, random.Random(0))
    late = [a["defense.alpha"] + math.log(a["defense.temperature"]) for a in asked[40:]]
    early = [a["defense.alpha"] + math.log(a["defense.temperature"]) for a in asked[2:12]]
    assert sum(late) / len(late) < 0.6 * sum(early) / len(early)


def states(search: DeterministicSearcher) -> list[str]:
    return [trial.state.name for trial in search.study.trials]


@pytest.mark.parametrize(
    "result",
    [None, {}, {"accuracy": 0.5}, {**(outcome(SPACE.start[0]) or {}), "accuracy": math.nan}],
)
def test_a_trial_without_results_is_told_as_failed(result: dict[str, float] | None) -> None:
    search = searcher(1)
    search.suggest("a")
    search.on_trial_complete("a", result, error=result is None)
    assert search.suggest("b") is not None
    assert search.study.trials[0].state is TrialState.FAIL


def test_constraints_are_told_as_the_excess_over_the_bound() -> None:
    search = searcher(1)
    search.suggest("a")
    search.on_trial_complete("a", outcome(SPACE.start[0]))
    search.suggest("b")
    told = search.study.trials[0]
    assert told.constraints == {"accuracy_loss": pytest.approx(5 * 0.75 - 1)}
    assert told.values == [1 - 0.75**2, pytest.approx(0.25**2 + 0.4)]


def test_tunes_limiter_leaves_the_limit_to_the_searcher() -> None:
    search = searcher(2)
    limited = ConcurrencyLimiter(search, max_concurrent=2)
    assert limited.suggest("a") is not None
    assert limited.suggest("b") is not None
    assert limited.suggest("c") is None
    limited.on_trial_complete("a", outcome(SPACE.start[0]))
    assert limited.suggest("d") is not None
    with pytest.raises(ValueError, match="max_concurrent_trials = 3"):
        ConcurrencyLimiter(search, max_concurrent=3)


def test_a_copy_of_a_searcher_proposes_the_same() -> None:
    """Tune pickles it."""
    search = searcher(1)
    drive(search, 15, 1, random.Random(0))
    copied = pickle.loads(pickle.dumps(search))
    assert copied.suggest("next") == search.suggest("next")


def test_nonsense_is_refused() -> None:
    with pytest.raises(ValueError, match="must be 1 or more"):
        searcher(0)
    with pytest.raises(ValueError, match="tpe, nsga2 or random"):
        searcher(1, "best")  # type: ignore[arg-type]
