"""Lines about trials as they end."""

import time
from typing import Any

from ray import tune

from inversionlab.core.clock import clock
from inversionlab.distributed.progress import Say


class TrialProgress(tune.Callback):
    """Reports each trial as it ends: what it tried and found, and how long the rest will take."""

    def __init__(self, total: int, say: Say) -> None:
        self._total, self._say = total, say
        self._ended = 0
        self._began = time.monotonic()

    def on_trial_complete(self, iteration: int, trials: list[Any], trial: Any, **info: Any) -> None:
        """Report a trial that has ended."""
        last = trial.last_result
        self._report(
            trials.index(trial),
            trial,
            f"accuracy {last['accuracy']:.1%} ({-last['accuracy_loss']:+z.1f} points), attack success "
            f"{last['attack_success']:.1%} ({last['attack_success_low']:.1%} to "
            f"{last['attack_success_high']:.1%}) on {last['targets']} targets",
        )

    def on_trial_error(self, iteration: int, trials: list[Any], trial: Any, **info: Any) -> None:
        """Report a trial that has failed."""
        self._report(trials.index(trial), trial, "failed")

    def _report(self, number: int, trial: Any, what: str) -> None:
        self._ended += 1
        left = (time.monotonic() - self._began) / self._ended * (self._total - self._ended)
        short = {k: f"{v:.3g}" if isinstance(v, float) else v for k, v in trial.config.items()}
        settings = ", ".join(f"{key.rpartition('.')[2]} {value}" for key, value in short.items())
        self._say(
            f"      {self._ended}/{self._total}: trial {number} ({settings}): {what}; {clock(left)} left"
        )
