"""Optuna under Tune, with proposals that do not depend on which trial ends first.

Ray's OptunaSearch passes a result to Optuna as soon as it arrives, so a slow node changes every later proposal.
Here proposal n uses exactly the results of trials 0 to n - K (K = trials at once), in the order of their numbers.
So the study is a function of space, seed, K and results, and a search that is run again proposes the same trials.

The price: trial n begins only when trials 0 to n - K have all ended, so a very slow trial can leave up to K - 1
places idle.
"""

import math
from collections.abc import Mapping
from typing import Any, Literal

import optuna
from optuna.samplers import BaseSampler
from optuna.trial import TrialState
from ray.tune.search import Searcher

from inversionlab.core import seeds
from inversionlab.tuning.domains import distribution
from inversionlab.tuning.space import SearchSpace

SamplerName = Literal["tpe", "nsga2", "random"]

POPULATION = 12
"""Trials of a generation of NSGA-II. Optuna's 50 would make most of a search of 60 trials random."""


class DeterministicSearcher(Searcher):
    """Asks an Optuna study for trials, and passes results to it in the trials' order, each only when it is due."""

    def __init__(
        self,
        space: SearchSpace,
        *,
        single: bool,
        sampler: SamplerName,
        seed: int,
        max_concurrent: int,
    ) -> None:
        """Begin a study in memory.

        Args:
            space: what is searched; its start points come first.
            single: minimize `score`, which contains the constraints, instead of the space's objectives.
            sampler: tpe (multivariate), nsga2 or random.
            seed: root of the sampler's random numbers.
            max_concurrent: K, at least 1; Tune needs the same number as `max_concurrent_trials`.

        Raises:
            ValueError: there is no such sampler, or K is below 1.
        """
        if max_concurrent < 1:
            raise ValueError(f"max_concurrent = {max_concurrent}: must be 1 or more")
        super().__init__()
        self._distributions = {key: distribution(kind) for key, kind in space.kinds.items()}
        objectives = {"score": "min"} if single else space.objectives
        self._objectives = list(objectives)
        self._bounds = {} if single else dict(space.constraints)
        self._max_concurrent = max_concurrent
        self._trials: list[tuple[str, optuna.Trial]] = []
        """Tune's id and Optuna's trial, in the order of the trials' numbers."""
        self._ended: dict[str, dict[str, float] | None] = {}
        """What ended trials reported; None for one that failed."""
        self._told = 0
        """How many trials, from trial 0 on, have their results in the study."""
        self.study = optuna.create_study(
            directions=[
                "maximize" if mode == "max" else "minimize" for mode in objectives.values()
            ],
            sampler=_sampler(sampler, seed),
        )
        for point in space.start:
            self.study.enqueue_trial(dict(point))

    def set_max_concurrency(self, max_concurrent: int) -> bool:
        """Tell Tune that this searcher itself limits the trials at once.

        Raises:
            ValueError: Tune was given another number than this searcher.
        """
        if max_concurrent != self._max_concurrent:
            raise ValueError(
                f"max_concurrent_trials = {max_concurrent}: must be the searcher's {self._max_concurrent}"
            )
        return True

    def suggest(self, trial_id: str) -> dict[str, Any] | None:
        """The next trial's settings; None (Tune then asks again) while a result that they depend on is missing."""
        due = max(0, len(self._trials) - self._max_concurrent + 1)
        untold = self._trials[self._told : due]
        if any(name not in self._ended for name, _ in untold):
            return None
        for name, earlier in untold:
            self._tell(earlier, self._ended[name])
        self._told = due
        trial = self.study.ask(self._distributions)
        self._trials.append((trial_id, trial))
        return trial.params

    def on_trial_complete(
        self, trial_id: str, result: dict[str, Any] | None = None, error: bool = False
    ) -> None:
        """Note how a trial ended; `suggest` passes it on when it is due. A second call changes nothing.

        A trial counts as failed if it raised, or if a metric is missing or not finite, which Optuna would refuse.
        """
        names = (*self._objectives, *self._bounds)
        found = {k: float(v) for k in names if isinstance(v := (result or {}).get(k), int | float)}
        failed = (
            error or len(found) < len(set(names)) or not all(map(math.isfinite, found.values()))
        )
        self._ended.setdefault(trial_id, None if failed else found)

    def save(self, checkpoint_path: str) -> None:
        """Save nothing: a search resumes from the store, never from Tune's pickled state."""

    def _tell(self, trial: optuna.Trial, reported: Mapping[str, float] | None) -> None:
        if reported is None:
            self.study.tell(trial, state=TrialState.FAIL)
            return
        for name, bound in self._bounds.items():
            trial.set_constraint(name, reported[name] - bound)
        self.study.tell(trial, [reported[name] for name in self._objectives])


def _sampler(name: SamplerName, seed: int) -> BaseSampler:
    # NumPy's old generators, which Optuna uses, take 32 bits.
    derived = seeds.derive(seed, "search", name) % 2**32
    if name == "tpe":
        return optuna.samplers.TPESampler(multivariate=True, seed=derived)
    if name == "nsga2":
        return optuna.samplers.NSGAIISampler(population_size=POPULATION, seed=derived)
    if name == "random":
        return optuna.samplers.RandomSampler(seed=derived)
    raise ValueError(f"sampler = {name}: must be tpe, nsga2 or random")
