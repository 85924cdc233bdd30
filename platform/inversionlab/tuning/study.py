"""A search's record as an Optuna study: the file that optuna-dashboard opens, importance, and the front.

Everything is built from the record, so it can be built again at any time.
"""

import datetime
import tempfile
import warnings
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import optuna
from optuna.importance import PedAnovaImportanceEvaluator, get_param_importances
from optuna.trial import FrozenTrial, TrialState, create_trial

from inversionlab.results.search import SearchRecord
from inversionlab.results.trial_record import TrialRecord
from inversionlab.tuning.domains import distribution

IMPORTANCE_FOR = {"attack_success": "min", "accuracy": "max"}
QUANTILE = 0.25
"""Importance compares the best quarter of the trials with all."""
ENOUGH = 20
"""With fewer complete trials importance is noise: the method needs 5 in the best quarter."""

_SHOWN = {
    *("number", "state", "start", "paper", "fault", "accuracy", "accuracy_loss", "attack_success"),
    *("score", "strongest", "targets", "reconstructions", "protected", "trained", "seconds"),
}
"""Fields of a trial that the study carries as user attributes."""


def study_bytes(record: SearchRecord) -> bytes:
    """The search as the bytes of an Optuna SQLite file (for optuna-dashboard, `optuna.load_study`).

    Trials are in the order of their numbers. complete: COMPLETE; stopped: PRUNED; error and unfinished: FAIL
    (the user attribute `state` says which). With one objective the value is the score, and each trial's
    intermediate values are its attack success by targets attacked.
    """
    modes = {"score": "min"} if record.single else record.objectives
    trials = sorted(record.trials, key=lambda t: t.number or 0)
    attributes = {"experiment": record.name, "defense": record.space.module}
    frozen = [_frozen(record, trial, list(modes)) for trial in trials]
    return study_file(record.search, modes, attributes, frozen)


def study_file(
    name: str,
    modes: Mapping[str, str],
    attributes: Mapping[str, str],
    trials: Iterable[FrozenTrial],
) -> bytes:
    """The bytes of an Optuna SQLite file with one study: its objectives (`min` or `max`), its trials in order."""
    with tempfile.TemporaryDirectory() as folder, warnings.catch_warnings():
        warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
        path = Path(folder) / "study.db"
        storage = optuna.storages.RDBStorage(f"sqlite:///{path}")
        study = _study(modes.values(), storage=storage, study_name=name)
        study.set_metric_names(list(modes))
        for key, value in attributes.items():
            study.set_user_attr(key, value)
        for trial in trials:
            study.add_trial(trial)
        storage.remove_session()
        storage.engine.dispose()
        return path.read_bytes()


def importance(
    trials: Sequence[TrialRecord], kinds: Mapping[str, Mapping[str, Any]]
) -> dict[str, dict[str, float]]:
    """How much each setting matters for reaching low attack success and for reaching high accuracy.

    `kinds` maps dotted paths to domains as plain data.

    Returns:
        For each of the two metrics, setting -> share (the shares add up to 1), by PED-ANOVA over the complete
        trials; {} where there are fewer than `ENOUGH` or all are alike.
    """
    space = {key: distribution(kind) for key, kind in kinds.items()}
    found: dict[str, dict[str, float]] = {}
    for metric, mode in IMPORTANCE_FOR.items():
        values = [(t, v) for t in trials if t.complete and (v := t.metric(metric)) is not None]
        found[metric] = {}
        if len(values) < ENOUGH or len({v for _, v in values}) == 1:
            continue
        study = _study([mode])
        study.add_trials(
            [create_trial(value=v, params=t.settings, distributions=space) for t, v in values]
        )
        evaluator = PedAnovaImportanceEvaluator(target_quantile=QUANTILE)
        weights = get_param_importances(study, evaluator=evaluator)
        found[metric] = {key: float(weights.get(key, 0.0)) for key in space}
    return found


def front(trials: Sequence[TrialRecord], objectives: Mapping[str, str]) -> list[int]:
    """Numbers of the complete trials on the Pareto front, regardless of the constraints, in rising order.

    A trial is on the front if no other is at least as good in every objective and better in one.
    """
    study = _study(objectives.values())
    for trial in trials:
        values = [v for m in objectives if (v := trial.metric(m)) is not None]
        if trial.complete and len(values) == len(objectives):
            study.add_trial(create_trial(values=values, user_attrs={"number": trial.number}))
    return sorted(trial.user_attrs["number"] for trial in study.best_trials)


def _study(modes: Iterable[str], **more: Any) -> optuna.Study:
    """An empty study, created without a line in the log."""
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    return optuna.create_study(
        directions=["maximize" if mode == "max" else "minimize" for mode in modes], **more
    )


def _frozen(record: SearchRecord, trial: TrialRecord, metrics: Sequence[str]) -> FrozenTrial:
    values = [v for metric in metrics if (v := trial.metric(metric)) is not None]
    state = TrialState.PRUNED if trial.state == "stopped" else TrialState.FAIL
    if trial.complete and len(values) == len(metrics):
        state = TrialState.COMPLETE
    reached = {metric: trial.metric(metric) for metric in record.constraints}
    frozen = create_trial(
        state=state,
        values=values if state is TrialState.COMPLETE else None,
        params=trial.settings,
        distributions={key: distribution(kind) for key, kind in record.space.kinds.items()},
        user_attrs=trial.model_dump(mode="json", by_alias=True, include=_SHOWN),
        intermediate_values={p.targets: p.value for p in trial.curve} if record.single else None,
        constraints={
            metric: value - record.constraints[metric]
            for metric, value in reached.items()
            if value is not None
        },
    )
    # The record does not say when trials ran. The search's start stands in for it, so the same record gives the
    # same study, and the duration is right.
    begin = datetime.datetime.fromisoformat(record.created).replace(tzinfo=None)
    frozen.datetime_start = begin
    frozen.datetime_complete = begin + datetime.timedelta(seconds=trial.seconds or 0.0)
    return frozen
