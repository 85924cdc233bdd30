"""The study of a search that still runs, as a file that optuna-dashboard opens.

The record and its study are written when a search has ended. Until then this callback of Tune keeps
`searches/NAME/study.db` up to date with what has been tried so far; trials have the numbers that they keep.
"""

import datetime
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import Any

from optuna.trial import FrozenTrial, TrialState, create_trial
from ray import tune

from inversionlab.store.storage import Storage, StorageError
from inversionlab.tuning.domains import distribution
from inversionlab.tuning.space import SearchSpace
from inversionlab.tuning.study import study_file

SHARE = 0.05
"""Share of the search's time that the files may take; a search of short trials writes fewer of them."""


class LiveStudy(tune.Callback):
    """Writes the study whenever a trial has ended, if there is time for it."""

    def __init__(
        self, storage: Storage, name: str, space: SearchSpace, modes: Mapping[str, str]
    ) -> None:
        """`modes` are the objectives of the study, each `min` or `max`."""
        self._storage, self._name, self._space, self._modes = storage, name, space, modes
        self._kinds = {key: distribution(kind) for key, kind in space.kinds.items()}
        self._ended: dict[int, TrialState] = {}
        """By its number how each trial ended; Tune changes its own word for that after the callbacks."""
        self._next = 0.0

    def on_trial_complete(self, iteration: int, trials: list[Any], trial: Any, **info: Any) -> None:
        """Write the study with a trial that has ended."""
        self._ended[trials.index(trial)] = TrialState.COMPLETE
        self._write(trials)

    def on_trial_error(self, iteration: int, trials: list[Any], trial: Any, **info: Any) -> None:
        """Write the study with a trial that has failed."""
        self._ended[trials.index(trial)] = TrialState.FAIL
        self._write(trials)

    def _write(self, trials: Sequence[Any]) -> None:
        began = time.monotonic()
        if began < self._next:
            return
        attributes = {"state": "the search runs", "defense": self._space.module}
        content = study_file(
            self._name, self._modes, attributes, [*map(self._frozen, range(len(trials)), trials)]
        )
        # It is a view of what is stored elsewhere; the search goes on without it.
        with suppress(StorageError):
            self._storage.write(f"searches/{self._name}/study.db", content)
        now = time.monotonic()
        self._next = now + (now - began) / SHARE

    def _frozen(self, number: int, trial: Any) -> FrozenTrial:
        """A trial of Tune as one of Optuna's."""
        last = trial.last_result or {}
        values = [float(last[mode]) for mode in self._modes if mode in last]
        state = self._ended.get(number, TrialState.RUNNING)
        if state is TrialState.COMPLETE and len(values) < len(self._modes):
            state = TrialState.FAIL
        frozen = create_trial(
            state=state,
            values=values if state is TrialState.COMPLETE else None,
            params={key: trial.config[key] for key in self._kinds},
            distributions=self._kinds,
            user_attrs={"targets": last.get("targets", 0)},
        )
        seconds = float(last.get("time_total_s", 0.0))
        now = datetime.datetime.now()
        frozen.datetime_start = now - datetime.timedelta(seconds=seconds)
        frozen.datetime_complete = None if state is TrialState.RUNNING else now
        return frozen
