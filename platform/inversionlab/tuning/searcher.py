"""Optuna under Tune, in an order that does not depend on which trial ends first.

Ray's OptunaSearch tells Optuna a result when it comes in, so that a slow node changes every later suggestion.
Here suggestion n uses exactly the results of trials 0 to n - K (K = trials at once), told in the order of their
numbers: the study is a function of space, seed, K and results, and a search that is run again proposes the same
trials.

The price: trial n begins only when trials 0 to n - K have all ended, so a very slow trial can leave up to K - 1
places idle.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any, Literal

import optuna
from optuna.distributions import BaseDistribution
from optuna.samplers import BaseSampler
from optuna.trial import TrialState
from ray.tune.search.optuna import OptunaSearch

from inversionlab.core import seeds
from inversionlab.tuning.space import SearchSpace
from inversionlab.tuning.study import distributions

SamplerName = Literal["tpe", "nsga2", "random"]

POPULATION = 12
"""Trials of a generation of NSGA-II; Optuna's 50 would make most of a search of 60 trials random."""


def make_searcher(
    space: SearchSpace, *, single: bool, sampler: SamplerName, seed: int, max_concurrent: int
) -> DeterministicSearch:
    """The searcher of a search.

    Args:
        space: What is searched; its start points come first.
        single: Minimise `score`, which has the constraints in it, instead of the space's objectives.
        sampler: tpe (multivariate), nsga2 or random.
        seed: Root of the sampler's random numbers.
        max_concurrent: K, at least 1; give it to Tune as `max_concurrent_trials` too.
    """
    objectives = {"score": "min"} if single else dict(space.objectives)
    return DeterministicSearch(
        distributions(space.kinds),
        objectives=objectives,
        constraints={} if single else space.constraints,
        start=space.start,
        sampler=make_sampler(sampler, seed),
        max_concurrent=max_concurrent,
    )


def make_sampler(name: SamplerName, seed: int) -> BaseSampler:
    """A seeded sampler.

    Raises:
        ValueError: there is none of that name.
    """
    # NumPy's old generators, which Optuna uses, take 32 bits.
    drawn = seeds.derive(seed, "search", name) % 2**32
    if name == "tpe":
        return optuna.samplers.TPESampler(multivariate=True, seed=drawn)
    if name == "nsga2":
        return optuna.samplers.NSGAIISampler(population_size=POPULATION, seed=drawn)
    if name == "random":
        return optuna.samplers.RandomSampler(seed=drawn)
    raise ValueError(f"sampler = {name}: must be tpe, nsga2 or random")


class DeterministicSearch(OptunaSearch):
    """OptunaSearch that tells results in the order of the trials, and each only when it is due."""

    def __init__(
        self,
        space: Mapping[str, BaseDistribution],
        *,
        objectives: Mapping[str, str],
        constraints: Mapping[str, float],
        start: Sequence[Mapping[str, Any]],
        sampler: BaseSampler,
        max_concurrent: int,
    ) -> None:
        if max_concurrent < 1:
            raise ValueError(f"max_concurrent = {max_concurrent}: must be 1 or more")
        self._names = list(objectives)
        self._bounds = dict(constraints)
        self._at_once = max_concurrent
        self._order: list[str] = []
        """Tune's ids of the trials; the place is the trial's number."""
        self._ended: dict[str, dict[str, float] | None] = {}
        """What ended trials reported; None for one that failed."""
        self._told = 0
        """Trials 0 to here, exclusive, have been told."""
        super().__init__(
            space=dict(space),
            metric=self._names,
            mode=list(objectives.values()),
            points_to_evaluate=[dict(point) for point in start],
            sampler=sampler,
        )

    def set_max_concurrency(self, max_concurrent: int) -> bool:
        """Tell Tune that this searcher limits the trials at once by itself.

        Raises:
            ValueError: Tune was given another number than this searcher.
        """
        if max_concurrent != self._at_once:
            raise ValueError(
                f"max_concurrent_trials = {max_concurrent}: must be the searcher's {self._at_once}"
            )
        return True

    def suggest(self, trial_id: str) -> dict[str, Any] | None:
        """The next trial's settings; None, and Tune asks again later, while results that it uses are out."""
        due = max(0, len(self._order) - self._at_once + 1)
        if any(other not in self._ended for other in self._order[self._told : due]):
            return None
        for other in self._order[self._told : due]:
            self._tell(other)
        self._told = due
        self._order.append(trial_id)
        return super().suggest(trial_id)

    def on_trial_result(self, trial_id: str, result: dict[str, Any]) -> None:
        """Ignore results on the way: how many there are when another trial begins is a matter of timing."""

    def on_trial_complete(
        self, trial_id: str, result: dict[str, Any] | None = None, error: bool = False
    ) -> None:
        """Note how a trial ended; Optuna hears of it when it is due. A second call changes nothing."""
        if trial_id not in self._ended:
            self._ended[trial_id] = None if error else self._reported(result or {})

    def _reported(self, result: Mapping[str, Any]) -> dict[str, float] | None:
        """The metrics that Optuna is told; None if one is absent or not finite, which Optuna would refuse."""
        found = {name: result.get(name) for name in (*self._names, *self._bounds)}
        numbers = {k: float(v) for k, v in found.items() if isinstance(v, int | float)}
        return (
            numbers
            if len(numbers) == len(found) and all(map(math.isfinite, numbers.values()))
            else None
        )

    def _tell(self, trial_id: str) -> None:
        study: Any = self._ot_study
        trial, reported = self._ot_trials[trial_id], self._ended[trial_id]
        if reported is None:
            study.tell(trial, state=TrialState.FAIL)
            return
        for name, bound in self._bounds.items():
            trial.set_constraint(name, reported[name] - bound)
        study.tell(trial, [reported[name] for name in self._names])
