"""The study of a search that still runs; Tune's trials are stand-ins."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import optuna
import pytest
from optuna.trial import TrialState
from ray import tune

from inversionlab.store.storage import Storage, StorageError
from inversionlab.tuning import live_study
from inversionlab.tuning.domains import kind_of
from inversionlab.tuning.live_study import LiveStudy


def trial(alpha: float, **last: float) -> Any:
    config = {"defense.alpha": alpha}
    return SimpleNamespace(config=config, last_result=last)


def study(tmp_path: Path) -> tuple[LiveStudy, Storage]:
    kinds = {"defense.alpha": kind_of(tune.uniform(0.0, 1.0))}
    space: Any = SimpleNamespace(module="dummy_recognizer", kinds=kinds)
    storage = Storage(str(tmp_path))
    modes = {"accuracy": "max", "attack_success": "min"}
    return LiveStudy(storage, "tiny-1", space, modes), storage


def read(tmp_path: Path) -> list[optuna.trial.FrozenTrial]:
    file = tmp_path / "searches" / "tiny-1" / "study.db"
    return optuna.load_study(study_name="tiny-1", storage=f"sqlite:///{file}").trials


def later(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let much time pass."""
    now = live_study.time.monotonic()
    monkeypatch.setattr(live_study.time, "monotonic", lambda: now + 1e6)


def test_it_holds_what_has_ended_and_what_runs_under_their_numbers(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    live, _ = study(tmp_path)
    trials = [
        trial(0.1, accuracy=0.9, attack_success=0.5, targets=10, time_total_s=4.0),
        trial(0.2),
        trial(0.3),
        trial(0.4, accuracy=0.8),
    ]
    live.on_trial_error(1, trials, trials[2])
    later(monkeypatch)
    live.on_trial_complete(2, trials, trials[3])
    later(monkeypatch)
    live.on_trial_complete(3, trials, trials[0])
    found = read(tmp_path)
    states = [TrialState.COMPLETE, TrialState.RUNNING, TrialState.FAIL, TrialState.FAIL]
    assert [each.state for each in found] == states
    assert found[0].values == [0.9, 0.5]
    assert found[0].duration is not None
    assert found[0].duration.total_seconds() == pytest.approx(4.0, abs=0.1)
    assert [each.params["defense.alpha"] for each in found] == [0.1, 0.2, 0.3, 0.4]


def test_short_trials_do_not_wait_for_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    live, _ = study(tmp_path)
    first = [trial(0.1)]
    live.on_trial_error(1, first, first[0])
    more = [*first, trial(0.2)]
    live.on_trial_error(2, more, more[1])
    assert len(read(tmp_path)) == 1, "the second came at once"
    later(monkeypatch)
    live.on_trial_error(3, more, more[1])
    assert len(read(tmp_path)) == 2


def test_a_storage_that_cannot_be_written_does_not_end_the_search(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    live, storage = study(tmp_path)

    def full(self: Storage, name: str, data: bytes) -> None:
        raise StorageError("no room")

    monkeypatch.setattr(type(storage), "write", full)
    trials = [trial(0.1)]
    live.on_trial_error(1, trials, trials[0])
