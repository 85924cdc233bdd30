from __future__ import annotations

import itertools
from types import SimpleNamespace

import pytest
from ray.tune.schedulers import TrialScheduler

from inversionlab.tuning.pruner import DeterministicHalving, among_best, is_rung


def test_rungs_are_the_powers_of_three() -> None:
    assert [i for i in range(1, 30) if is_rung(i)] == [1, 3, 9, 27]


@pytest.mark.parametrize(
    ("mine", "others", "goes_on"),
    [
        (0.9, [], True),
        (0.9, [0.1, 0.1], True),
        # Four of which one may go on.
        (0.2, [0.3, 0.4, 0.5], True),
        (0.35, [0.3, 0.4, 0.5], False),
        # Equals are not stopped for being late.
        (0.3, [0.3, 0.4, 0.5], True),
        # Six of which two may go on.
        (0.35, [0.3, 0.4, 0.5, 0.6, 0.7], True),
        (0.45, [0.3, 0.4, 0.5, 0.6, 0.7], False),
    ],
)
def test_the_best_third_goes_on(mine: float, others: list[float], goes_on: bool) -> None:
    assert among_best(mine, others) is goes_on


def verdicts(order: tuple[int, ...], scores: list[float], at_once: int) -> list[str]:
    """What the scheduler says to each trial when those of a window report in this order."""
    scheduler = DeterministicHalving("score", at_once)
    trials = [SimpleNamespace(trial_id=f"t{n}") for n in range(len(scores))]
    said: dict[int, str] = {}
    for first in range(0, len(scores), at_once):
        window = range(first, min(first + at_once, len(scores)))
        for number in window:
            scheduler.on_trial_add(None, trials[number])
        for place in order:
            if first + place in window:
                result = {"training_iteration": 1, "score": scores[first + place]}
                said[first + place] = scheduler.on_trial_result(None, trials[first + place], result)
    return [said[n] for n in range(len(scores))]


def test_verdicts_do_not_depend_on_who_reports_first() -> None:
    scores = [0.5, 0.4, 0.6, 0.3, 0.7, 0.2, 0.8, 0.45, 0.1, 0.9, 0.35, 0.55]
    all_verdicts = {tuple(verdicts(order, scores, 3)) for order in itertools.permutations(range(3))}
    assert len(all_verdicts) == 1
    (said,) = all_verdicts
    assert TrialScheduler.STOP in said
    assert said[8] == TrialScheduler.CONTINUE
