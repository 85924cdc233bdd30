"""What trials tell TensorBoard; Tune's trials are stand-ins."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from inversionlab.store.storage import Storage
from inversionlab.tracking.log_to import LogTo
from inversionlab.tracking.tensorboard import events
from inversionlab.tracking.tracking import Tracking
from inversionlab.tuning.trial_curves import TrialCurves, trial_title
from tests.tracking.test_tensorboard import only, scalars


def trial(alpha: float) -> Any:
    return SimpleNamespace(config={"defense.alpha": alpha, "defense.schedule": None})


@pytest.mark.parametrize(("tag", "title"), [("1_alpha=0.1", "trial_0000"), ("12", "trial_0011")])
def test_tune_counts_from_one_and_nobody_else_does(tag: str, title: str) -> None:
    assert trial_title(SimpleNamespace(experiment_tag=tag)) == title


def test_a_trial_has_its_number_its_settings_and_its_metrics_by_targets(tmp_path: Path) -> None:
    said: list[str] = []
    curves = TrialCurves(Tracking(Storage(str(tmp_path)), LogTo(), said.append), "tiny-1")
    trials = [trial(0.1), trial(0.2)]
    for targets, accuracy in ((5, 0.5), (10, 0.75)):
        result = {"targets": targets, "accuracy": accuracy, "time_total_s": 3.0, "date": "today"}
        result["done"] = False
        curves.on_trial_result(1, trials, trials[1], result)
    curves.on_trial_complete(2, trials, trials[1])
    folder = tmp_path / "searches" / "tiny-1" / "tensorboard"
    assert [path.name for path in folder.iterdir()] == ["trial_0001"]
    found = scalars(only(folder / "trial_0001"))
    assert (5, "trial/accuracy", 0.5) in found
    assert (10, "trial/accuracy", 0.75) in found
    assert {tag for _, tag, _ in found} == {"trial/accuracy", "trial/targets"}
    values = [
        value
        for event in events(only(folder / "trial_0001").read_bytes())
        for value in event.summary.value
    ]
    (start,) = [v for v in values if v.tag == "_hparams_/session_start_info"]
    content = start.metadata.plugin_data.content
    assert b"defense.alpha" in content
    assert b"defense.schedule" in content
    assert [v.tag for v in values][-1] == "_hparams_/session_end_info"
    assert not said


def test_what_is_cut_off_ends_too(tmp_path: Path) -> None:
    curves = TrialCurves(Tracking(Storage(str(tmp_path)), LogTo(), print), "tiny-1")
    trials = [trial(0.1)]
    curves.on_trial_result(1, trials, trials[0], {"targets": 5, "accuracy": 0.5})
    curves.on_experiment_end(trials)
    file = only(tmp_path / "searches" / "tiny-1" / "tensorboard" / "trial_0000")
    last = [v.tag for event in events(file.read_bytes()) for v in event.summary.value][-1]
    assert last == "_hparams_/session_end_info"
