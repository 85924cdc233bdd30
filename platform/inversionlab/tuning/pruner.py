"""Successive halving that does not depend on which of two trials is faster.

Asynchronous successive halving (Li et al. 2020, ASHA) stops a trial at a rung unless it is among the best third of
the trials that have reached the rung so far, which depends on timing. Here trial n is compared only with trials 0
to n-K, where K is the number of trials at once; they have ended when n begins (`searcher`). So the stopped trials,
like the proposed ones, are a pure function of the trials' results, and a search that is resumed after a fault
stops exactly the trials that it stopped before.
"""

from typing import Any

from ray.tune.schedulers import FIFOScheduler, TrialScheduler

REDUCTION = 3
"""A trial continues if it is among the best third."""


class DeterministicHalving(FIFOScheduler):
    """Stops hopeless trials of a search that minimizes one objective."""

    def __init__(self, metric: str, max_concurrent: int) -> None:
        """Compare trials by `metric`, reported at iterations 1, 2, ...; the rungs are 1, 3, 9, ..."""
        super().__init__()  # type: ignore[no-untyped-call]
        self._objective, self._max_concurrent = metric, max_concurrent
        self._numbers: dict[str, int] = {}
        self.stopped: set[int] = set()
        """Numbers of the trials that were stopped here; a time budget may have ended others."""
        self._rungs: list[dict[int, float]] = []
        """For each trial, by number: iteration -> what it reported at that rung."""

    def on_trial_add(self, tune_controller: Any, trial: Any) -> None:
        """Give the trial its number."""
        self._numbers[str(trial.trial_id)] = len(self._rungs)
        self._rungs.append({})

    def on_trial_result(self, tune_controller: Any, trial: Any, result: dict[str, Any]) -> str:
        """Whether a trial continues."""
        number = self._numbers[str(trial.trial_id)]
        iteration = int(result["training_iteration"])
        if not is_rung(iteration):
            return str(TrialScheduler.CONTINUE)
        mine = self._rungs[number][iteration] = float(result[self._objective])
        earlier = self._rungs[: max(0, number - self._max_concurrent + 1)]
        others = [rungs[iteration] for rungs in earlier if iteration in rungs]
        if among_best(mine, others):
            return str(TrialScheduler.CONTINUE)
        self.stopped.add(number)
        return str(TrialScheduler.STOP)


def is_rung(iteration: int) -> bool:
    """Whether it is a power of `REDUCTION`."""
    while iteration > 1 and iteration % REDUCTION == 0:
        iteration //= REDUCTION
    return iteration == 1


def among_best(mine: float, others: list[float]) -> bool:
    """Whether `mine` is among the best third of itself and `others`; true while the others are too few."""
    if len(others) < REDUCTION:
        return True
    keep = (len(others) + 1) // REDUCTION
    return sum(other < mine for other in others) < keep
