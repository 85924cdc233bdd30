"""The record as an Optuna study, importance, and the front."""

from __future__ import annotations

import datetime
import random
from pathlib import Path
from typing import Any

import optuna
import pytest
from optuna.trial import TrialState

from inversionlab.results.search import SearchRecord
from inversionlab.tuning.study import front, importance, study_bytes


def interval(value: float) -> dict[str, float]:
    return {"value": value, "low": value / 2, "high": (1 + value) / 2}


def trial(number: int, accuracy: float, success: float, **more: Any) -> dict[str, Any]:
    return {
        "number": number,
        "settings": {"defense.alpha": 0.5, "defense.epochs": 3, "defense.neighbours": 20},
        "state": "complete",
        "accuracy": interval(accuracy),
        "accuracy_loss": 100 * (1 - accuracy),
        "attack_success": interval(success),
        "score": success,
        "strongest": {"attack": "latent_white_box", "judge": "same"},
        "targets": 10,
        "protected": "abc",
        "seconds": 2.5,
        "curve": [{"targets": 5, **interval(0.4)}, {"targets": 10, **interval(success)}],
    } | more


def missing(number: int, state: str) -> dict[str, Any]:
    gone = dict.fromkeys(("accuracy", "accuracy_loss", "attack_success", "score", "strongest"))
    return (
        trial(number, 0, 0)
        | gone
        | {"state": state, "fault": "it raised", "seconds": 0.0, "curve": []}
    )


def record(*trials: dict[str, Any], single: bool = False) -> SearchRecord:
    plain = {
        "search": "tiny-12ab",
        "name": "tiny",
        "created": "2026-01-02T03:04:05+00:00",
        "space": {
            "module": "dummy_recognizer",
            "kinds": {
                "defense.alpha": {"kind": "float", "low": 0.0, "high": 1.0, "log": False},
                "defense.epochs": {"kind": "int", "low": 1, "high": 9, "log": False, "step": 2},
                "defense.neighbours": {"kind": "choice", "values": [20, 40]},
            },
        },
        "objectives": {"accuracy": "max", "attack_success": "min"},
        "constraints": {"accuracy_loss": 1.0},
        "single": single,
        "trials": list(trials),
    }
    return SearchRecord.model_validate(plain)


def front_of(data: SearchRecord) -> list[int]:
    return front(data.trials, data.objectives)


def importance_of(data: SearchRecord) -> dict[str, dict[str, float]]:
    return importance(data.trials, data.space.kinds)


def opened(folder: Path, data: SearchRecord) -> optuna.Study:
    (folder / "study.db").write_bytes(study_bytes(data))
    return optuna.load_study(study_name=None, storage=f"sqlite:///{folder / 'study.db'}")


def test_the_study_opens_again_with_everything_in_it(tmp_path: Path) -> None:
    data = record(
        missing(2, "error"), trial(1, 0.9, 0.1), trial(0, 1.0, 0.8), missing(3, "unfinished")
    )
    study = opened(tmp_path, data)
    assert study.study_name == "tiny-12ab"
    assert [d.name for d in study.directions] == ["MAXIMIZE", "MINIMIZE"]
    assert study.metric_names == ["accuracy", "attack_success"]
    assert [t.state for t in study.trials] == [TrialState.COMPLETE] * 2 + [TrialState.FAIL] * 2
    first, second, failed, unfinished = study.trials
    assert (first.values, second.values, failed.values) == ([1.0, 0.8], [0.9, 0.1], None)
    assert second.params == {"defense.alpha": 0.5, "defense.epochs": 3, "defense.neighbours": 20}
    assert second.constraints == {"accuracy_loss": pytest.approx(9.0)}
    assert second.user_attrs["attack_success"] == interval(0.1)
    assert second.user_attrs["strongest"]["attack"] == "latent_white_box"
    assert (second.user_attrs["targets"], second.user_attrs["protected"]) == (10, "abc")
    assert second.duration == datetime.timedelta(seconds=2.5)
    assert failed.user_attrs["fault"] == "it raised"
    assert unfinished.user_attrs["state"] == "unfinished"
    assert [t.number for t in study.best_trials] == [0]


def test_one_objective_carries_the_curve_and_the_stopped_trials(tmp_path: Path) -> None:
    data = record(trial(0, 1.0, 0.8), trial(1, 1.0, 0.3, state="stopped"), single=True)
    study = opened(tmp_path, data)
    assert [d.name for d in study.directions] == ["MINIMIZE"]
    assert study.trials[0].value == 0.8
    assert study.trials[0].intermediate_values == {5: 0.4, 10: 0.8}
    assert study.trials[1].state is TrialState.PRUNED
    assert study.best_trial.number == 0


def test_a_stopped_trial_of_two_objectives_has_no_values(tmp_path: Path) -> None:
    study = opened(tmp_path, record(trial(0, 1.0, 0.3, state="stopped")))
    assert (study.trials[0].state, study.trials[0].values) == (TrialState.PRUNED, None)


def searched(count: int) -> list[dict[str, Any]]:
    """Trials whose attack success depends on alpha alone, and accuracy on the neighbours alone."""
    chance = random.Random(5)
    made = []
    for number in range(count):
        settings = {
            "defense.alpha": chance.random(),
            "defense.epochs": chance.choice([1, 3, 5, 7, 9]),
            "defense.neighbours": chance.choice([20, 40]),
        }
        accuracy = settings["defense.neighbours"] / 50 + chance.random() / 100
        made.append(trial(number, accuracy, settings["defense.alpha"], settings=settings))
    return made


def test_importance_finds_the_setting_that_matters() -> None:
    data = record(*searched(60))
    found = importance_of(data)
    assert max(found["attack_success"], key=found["attack_success"].__getitem__) == "defense.alpha"
    assert found["attack_success"]["defense.alpha"] > 0.8
    assert max(found["accuracy"], key=found["accuracy"].__getitem__) == "defense.neighbours"
    assert sum(found["accuracy"].values()) == pytest.approx(1)
    assert importance_of(data) == found


def test_importance_is_empty_where_it_would_be_noise() -> None:
    assert importance_of(record(*searched(19))) == {"attack_success": {}, "accuracy": {}}
    alike = record(*(trial(n, 0.9, 0.5) for n in range(30)))
    assert importance_of(alike) == {"attack_success": {}, "accuracy": {}}


def test_the_front_by_hand() -> None:
    data = record(
        trial(0, 0.90, 0.50),  # beaten by 1 (as accurate, less success)
        trial(1, 0.90, 0.30),
        trial(2, 0.80, 0.10),
        trial(3, 0.80, 0.10),  # a twin of 2: neither beats the other
        trial(4, 0.95, 0.90),
        trial(5, 0.79, 0.20),  # beaten by 2 in both
        trial(6, 0.99, 0.00, state="stopped"),
        missing(7, "error"),
    )
    assert front_of(data) == [1, 2, 3, 4]
    assert front_of(record()) == []
