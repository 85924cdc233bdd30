"""The trials of a search in TensorBoard's files and in services, under the numbers that they have everywhere.

Ray's own callbacks for these count trials from 1, leave out settings without a value, wait for a service that does
not answer, and end the search where it fails. So this one stands in their place.
"""

from collections.abc import Mapping
from typing import Any

from ray import tune
from ray.tune.result import AUTO_RESULT_KEYS

from inversionlab.tracking.tracker import Subject, plain
from inversionlab.tracking.tracking import Tracked, Tracking


def trial_folder(search: str, number: int) -> str:
    """Where the event files of a trial lie in the storage."""
    return f"searches/{search}/tensorboard/{_title(number)}"


def trial_title(trial: Any) -> str:
    """What Tune calls a trial, by the number that it has everywhere; Tune itself counts from 1."""
    return _title(int(str(trial.experiment_tag).partition("_")[0]) - 1)


def _title(number: int) -> str:
    return f"trial_{number:04d}"


class TrialCurves(tune.Callback):
    """Tells of what trials report; a step is the number of targets that were attacked."""

    def __init__(self, tracking: Tracking, search: str) -> None:
        self._tracking, self._search = tracking, search
        self._at_work: dict[int, Tracked] = {}

    def on_trial_result(
        self,
        iteration: int,
        trials: list[Any],
        trial: Any,
        result: Mapping[str, Any],
        **info: Any,
    ) -> None:
        """Tell of a report."""
        number = trials.index(trial)
        if number not in self._at_work:
            subject = Subject(
                *(self._search, f"trial {number}", str(number), plain(dict(trial.config))),
                compared=True,
            )
            self._at_work[number] = self._tracking.begin(
                subject, trial_folder(self._search, number)
            )
        values = {
            f"trial/{name}": float(value)
            for name, value in result.items()
            # Whether Tune is done with a trial is no metric of it.
            if name not in AUTO_RESULT_KEYS
            and isinstance(value, int | float)
            and not isinstance(value, bool)
        }
        self._at_work[number].log(int(result.get("targets", 0)), values)

    def on_trial_complete(self, iteration: int, trials: list[Any], trial: Any, **info: Any) -> None:
        """Note the end of a trial."""
        self._close(trials.index(trial), failed=False)

    def on_trial_error(self, iteration: int, trials: list[Any], trial: Any, **info: Any) -> None:
        """Note that a trial has failed."""
        self._close(trials.index(trial), failed=True)

    def on_experiment_end(self, trials: list[Any], **info: Any) -> None:
        """Note the end of what the time budget has cut off."""
        for number in [*self._at_work]:
            self._close(number, failed=True)

    def _close(self, number: int, *, failed: bool) -> None:
        if (tracked := self._at_work.pop(number, None)) is not None:
            tracked.close(failed=failed)
