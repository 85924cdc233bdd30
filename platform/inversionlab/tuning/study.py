"""A search's record as an Optuna study: the file that optuna-dashboard opens, importance, and the front.

Nothing here runs trials; everything is built from the plain record, so it can be built again at any time.
"""

from __future__ import annotations

import datetime
import tempfile
import warnings
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import optuna
from optuna.distributions import (
    BaseDistribution,
    CategoricalDistribution,
    FloatDistribution,
    IntDistribution,
)
from optuna.importance import PedAnovaImportanceEvaluator, get_param_importances
from optuna.study import StudyDirection
from optuna.trial import FrozenTrial, TrialState, create_trial

IMPORTANCE_FOR = {"attack_success": "min", "accuracy": "max"}
QUANTILE = 0.25
"""Importance compares the best quarter of the trials with all."""
ENOUGH = 20
"""Complete trials below which importance is noise: the method wants 5 in the best quarter."""

_INTERVALS = ("accuracy", "attack_success")
_ENDS = {"attack_success_low": "low", "attack_success_high": "high"}
_SHOWN = (
    *(
        "number",
        "state",
        "start",
        "paper",
        "fault",
        "accuracy",
        "accuracy_loss",
        "attack_success",
        "score",
    ),
    *("strongest", "targets", "reconstructions", "protected", "trained", "seconds"),
)
"""Keys of a trial's record that the study carries as user attributes."""

Record = Mapping[str, Any]


def distributions(kinds: Mapping[str, Mapping[str, Any]]) -> dict[str, BaseDistribution]:
    """Optuna's distributions for the record's `kinds`; bounds are inclusive."""
    made: dict[str, BaseDistribution] = {}
    for key, kind in kinds.items():
        if kind["kind"] == "choice":
            made[key] = CategoricalDistribution(kind["values"])
        elif kind["kind"] == "int":
            made[key] = IntDistribution(kind["low"], kind["high"], kind["log"], kind.get("step", 1))
        else:
            made[key] = FloatDistribution(kind["low"], kind["high"], kind["log"], kind.get("step"))
    return made


def metric_of(trial: Record, name: str) -> float | None:
    """A metric of a trial's record (None where it was never measured)."""
    if name in _ENDS:
        name, end = "attack_success", _ENDS[name]
    else:
        end = "value"
    found = trial.get(name)
    if found is None:
        return None
    return float(found[end]) if name in _INTERVALS else float(found)


def study_bytes(record: Record) -> bytes:
    """The search as the bytes of an Optuna SQLite file (for optuna-dashboard, `optuna.load_study`).

    Trials stand in the order of their numbers. complete: COMPLETE; stopped: PRUNED; error and unfinished: FAIL
    (the user attribute `state` tells which). With one objective that is the score, and each trial's
    intermediate values are its attack success by targets attacked.
    """
    with tempfile.TemporaryDirectory() as folder, _quiet():
        path = Path(folder) / "study.db"
        storage = optuna.storages.RDBStorage(f"sqlite:///{path}")
        modes = _modes(record)
        study = optuna.create_study(
            storage=storage, study_name=record["search"], directions=_directions(modes.values())
        )
        study.set_metric_names(list(modes))
        study.set_user_attr("experiment", record["name"])
        study.set_user_attr("defense", record["space"]["module"])
        for trial in sorted(record["trials"], key=lambda t: t["number"]):
            study.add_trial(_frozen(record, trial, list(modes)))
        storage.remove_session()
        storage.engine.dispose()
        return path.read_bytes()


def importance(record: Record) -> dict[str, dict[str, float]]:
    """How much each setting matters for reaching low attack success and for reaching high accuracy.

    Returns, for each of the two, setting -> share (they add up to 1), by PED-ANOVA over the complete trials;
    {} where they are fewer than `ENOUGH` or all alike.
    """
    return {metric: _importance(record, metric, mode) for metric, mode in IMPORTANCE_FOR.items()}


def front(record: Record) -> list[int]:
    """Numbers of the complete trials that no other one beats: none is as good in every objective and better
    in one. Constraints have no say."""
    signs = {m: 1.0 if mode == "max" else -1.0 for m, mode in record["objectives"].items()}
    points = {
        t["number"]: tuple(sign * (metric_of(t, m) or 0.0) for m, sign in signs.items())
        for t in record["trials"]
        if t["state"] == "complete" and all(metric_of(t, m) is not None for m in signs)
    }
    return sorted(n for n, p in points.items() if not any(_beats(q, p) for q in points.values()))


def _beats(q: tuple[float, ...], p: tuple[float, ...]) -> bool:
    return q != p and all(a >= b for a, b in zip(q, p, strict=True))


def _modes(record: Record) -> dict[str, str]:
    return {"score": "min"} if record["single"] else dict(record["objectives"])


def _directions(modes: Iterable[str]) -> list[StudyDirection]:
    return [StudyDirection.MAXIMIZE if m == "max" else StudyDirection.MINIMIZE for m in modes]


def _frozen(record: Record, trial: Record, metrics: list[str]) -> FrozenTrial:
    values = [v for metric in metrics if (v := metric_of(trial, metric)) is not None]
    complete = trial["state"] == "complete" and len(values) == len(metrics)
    stopped = trial["state"] == "stopped"
    bounds = record["constraints"].items()
    reached = {m: metric_of(trial, m) for m in record["constraints"]}
    frozen = create_trial(
        state=TrialState.COMPLETE
        if complete
        else TrialState.PRUNED
        if stopped
        else TrialState.FAIL,
        values=values if complete else None,
        params=trial["settings"],
        distributions=distributions(record["space"]["kinds"]),
        user_attrs={key: trial[key] for key in _SHOWN if key in trial},
        intermediate_values={p["targets"]: p["value"] for p in trial.get("curve") or []}
        if record["single"]
        else None,
        constraints={m: v - bound for m, bound in bounds if (v := reached[m]) is not None},
    )
    # The moments at which trials ran are not kept; the search's start stands for them, so that the
    # same record gives the same study, and the duration is right.
    begin = datetime.datetime.fromisoformat(record["created"]).replace(tzinfo=None)
    frozen.datetime_start = begin
    frozen.datetime_complete = begin + datetime.timedelta(seconds=trial.get("seconds") or 0.0)
    return frozen


def _importance(record: Record, metric: str, mode: str) -> dict[str, float]:
    done = [t for t in record["trials"] if t["state"] == "complete"]
    values = [(t, v) for t in done if (v := metric_of(t, metric)) is not None]
    if len(values) < ENOUGH or len({v for _, v in values}) == 1:
        return {}
    space = distributions(record["space"]["kinds"])
    with _quiet():
        study = optuna.create_study(directions=_directions([mode]))
        study.add_trials(
            [create_trial(value=v, params=t["settings"], distributions=space) for t, v in values]
        )
        evaluator = PedAnovaImportanceEvaluator(target_quantile=QUANTILE)
        found = get_param_importances(study, evaluator=evaluator)
    return {key: float(found.get(key, 0.0)) for key in space}


@contextmanager
def _quiet() -> Iterator[None]:
    """Keep Optuna from announcing each study, and from warning that metric names are experimental."""
    before = optuna.logging.get_verbosity()
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
            yield
    finally:
        optuna.logging.set_verbosity(before)
