"""The record of a search: what was tried, what was found, what to take; the page is made from it and the store."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

from inversionlab.core.settings import ConfigError
from inversionlab.core.yaml_io import dump_yaml
from inversionlab.distributed.cluster import provenance
from inversionlab.distributed.run_record import cost, data_record, real_key, run_name
from inversionlab.experiment import Experiment
from inversionlab.pipeline.plan import Cell
from inversionlab.pipeline.session import Session, with_experiment
from inversionlab.tuning.estimate import (
    Ranks,
    accuracy,
    defended_cells,
    leak,
    measured,
    plain,
    plain_success,
    read_ranks,
)
from inversionlab.tuning.search import Ended, Outcome
from inversionlab.tuning.space import describe as describe_space
from inversionlab.tuning.space import experiment_at
from inversionlab.tuning.study import front, importance, study_bytes
from inversionlab.tuning.trial_runner import metrics, undefended

JUDGED_REPEATS = 3
"""Reconstructions of each target, at least, when the recommended setting is judged."""
JUDGED_TARGETS = 20
"""Targets, at least, if there are as many that the search has not attacked."""
MEASURED = (
    *("accuracy", "accuracy_loss", "log_distortion", "attack_success", "score", "strongest"),
    *("protects", "left"),
)
"""Of a trial's record what is None where nothing was attacked."""


def write_search(outcome: Outcome) -> dict[str, Any]:
    """Write a search's record, its Optuna study and its recommended recipe; returns the record."""
    session, name = outcome.session, outcome.name
    storage = session.store.storage
    record = _record(outcome)
    best = _recommended(record)
    record["recommended"] = best
    record["front"], record["importance"] = front(record), importance(record)
    if best is not None:
        (settings,) = [t["settings"] for t in record["trials"] if t["number"] == best]
        people = len(session.builder.splits.people)
        recipe = recommended(session.experiment, settings, people)
        record["rejudged"] = {"run": run_name(recipe)}
        text = _as_recipe(name, best, recipe)
        storage.write(f"searches/{name}/recommended.yaml", text.encode())
    storage.write(f"searches/{name}/study.db", study_bytes(record))
    storage.write_json(f"searches/{name}/search.json", record)
    return record


def recommended(base: Experiment, settings: Mapping[str, Any], people: int) -> Experiment:
    """The experiment that judges a setting on people and random starts that the search never used.

    Args:
        base: the search's experiment.
        settings: dotted path -> value.
        people: private people that there are; if the search attacked all of them, only the starts are new.
    """
    chosen = experiment_at(base, settings)
    used = base.targets
    first = used.skip + used.count
    fresh: dict[str, int | None] = {
        "first_repeat": used.first_repeat + used.repeats,
        # A search may go through its trials with few; the verdict is worth more.
        "repeats": max(used.repeats, JUDGED_REPEATS),
    }
    if first < people:
        count = min(max(used.count, JUDGED_TARGETS), people - first)
        pool = used.pool if used.pool is not None and used.pool >= first + count else None
        fresh |= {"skip": first, "count": count, "pool": pool}
    targets = used.model_copy(update=fresh)
    name = f"{base.name[:50]}-recommended"
    return chosen.model_copy(update={"name": name, "targets": targets})


def _record(outcome: Outcome) -> dict[str, Any]:
    session, space, options = outcome.session, outcome.space, outcome.options
    trials = _trials(outcome)
    nothing = undefended(session)
    nulls = [c for c in nothing.plan.cells if c.defense is None]
    return {
        "search": outcome.name,
        "name": session.experiment.name,
        "created": datetime.now(UTC).isoformat(timespec="seconds"),
        "seconds": sum(outcome.timings.values()),
        "space": describe_space(space),
        "objectives": dict(space.objectives),
        "constraints": dict(space.constraints),
        "single": options.single,
        "options": {
            "trials": options.trials,
            "max_concurrent": options.max_concurrent,
            "time_budget": options.time_budget,
            "sampler": options.sampler,
            "seed": session.experiment.seed,
            "step_targets": options.step_targets,
        },
        "experiment": session.experiment.model_dump(mode="json"),
        "provenance": provenance(),
        "data": data_record(session),
        "trials": trials,
        "undefended": _model(
            nothing, space.constraints, session.plan.targets, options.step_targets
        ),
        "null": plain_success(leak(nothing, nulls, session.plan.targets)),
        "front": [],
        "recommended": None,
        "rejudged": None,
        "importance": {},
        "trainings": {
            "trials": len(trials),
            "networks": sum(len(t["trained"]) for t in trials),
        },
        "tables": {"real": real_key(session)},
        "cost": _cost(outcome, trials, nothing),
        "timings": dict(outcome.timings),
        "timeline": list(outcome.summary["timeline"]),
        "targets": list(session.plan.targets),
        "repeats": session.experiment.targets.repeats,
    }


def _trials(outcome: Outcome) -> list[dict[str, Any]]:
    """The trials, each network put down to the first one that needs it."""
    session, space = outcome.session, outcome.space
    nothing = undefended(session)
    seen = {spec.key for spec in nothing.plan.specs}
    trials = []
    for ended in outcome.trials:
        try:
            trial = with_experiment(session, experiment_at(session.experiment, ended.settings))
        except ConfigError as error:
            # Each value alone was allowed, these together are not.
            trial, ended = nothing, replace(ended, fault=str(error), targets=0)
        new = [
            t.key for t in trial.plan.specs if t.key not in seen and session.artifacts.finished(t)
        ]
        seen |= set(new)
        targets = trial.plan.targets[: ended.targets]
        step = outcome.options.step_targets
        trials.append(
            {
                "number": ended.number,
                "settings": dict(ended.settings),
                "state": _state(ended, outcome),
                "start": ended.number < len(space.start),
                "paper": ended.number == 0 and bool(space.start),
                "fault": ended.fault,
                **_model(trial, space.constraints, targets, step),
                "trained": new,
            }
        )
    return trials


def _state(ended: Ended, outcome: Outcome) -> str:
    if ended.fault:
        return "error"
    if ended.targets == len(outcome.session.plan.targets):
        return "complete"
    return "stopped" if ended.stopped else "unfinished"


def _model(
    session: Session, bounds: Mapping[str, float], targets: Sequence[int], step: int
) -> dict[str, Any]:
    """What is known of the experiment's protected model over these targets."""
    cells = defended_cells(session)
    known: dict[str, Any] = {
        **dict.fromkeys(MEASURED),
        "success": {},
        "targets": len(targets),
        "reconstructions": 0,
        "protected": cells[0].protected,
        "cells": {cell.attacker: cell.id for cell in cells},
        "seconds": 0.0,
        "curve": [],
    }
    if not targets:
        return known
    read = read_ranks(session, cells)
    found = leak(session, cells, targets, read)
    numbers = metrics(session, found, targets, bounds)
    attack, evaluator = found.strongest
    return {
        **known,
        "accuracy": plain(accuracy(session, cells[0].protected)),
        "accuracy_loss": numbers["accuracy_loss"],
        "log_distortion": numbers["log_distortion"],
        "attack_success": plain(found.worst),
        "score": numbers["score"],
        **_protection(session, cells[0].protected),
        "strongest": {"attack": attack, "judge": evaluator},
        "success": plain_success(found),
        "reconstructions": found.reconstructions,
        "seconds": _work(session, cells, targets),
        "curve": _curve(session, cells, targets, step, read),
    }


def _protection(session: Session, protected: str) -> dict[str, str]:
    """Whom a measured model stops by its own word, and what is left of it for who holds the weights."""
    row = measured(session, protected)
    return {name: row.get(name) or "" for name in ("protects", "left")}


def _cost(
    outcome: Outcome, trials: Sequence[Mapping[str, Any]], nothing: Session
) -> dict[str, Any]:
    """What all trials and what they share have cost, in whichever launch of the search it was."""
    shared = [spec.key for spec in nothing.plan.specs]
    trained = [*shared, *(key for t in trials for key in t["trained"])]
    # Trials that propose the same model share its reconstructions.
    models = {t["protected"]: float(t["seconds"]) for t in trials}
    seconds = sum(models.values()) + _work(nothing, nothing.plan.cells, nothing.plan.targets)
    return cost(outcome.session, trained, seconds, outcome.gpus)


def _work(session: Session, cells: Sequence[Cell], targets: Sequence[int]) -> float:
    """Seconds that attack workers spent on these targets."""
    chosen = set(targets)
    spent = (session.store.seconds(cell.id) for cell in cells)
    return round(sum(s for jobs in spent for (t, _), s in jobs.items() if t in chosen), 2)


def _curve(
    session: Session, cells: Sequence[Cell], targets: Sequence[int], step: int, read: Ranks
) -> list[dict[str, float]]:
    """How the estimate narrowed, report by report."""
    ends = [min(end, len(targets)) for end in range(step, len(targets) + step, step)]
    return [
        {"targets": end, **plain(leak(session, cells, targets[:end], read).worst)} for end in ends
    ]


def _recommended(record: Mapping[str, Any]) -> int | None:
    """The complete trial within the bounds that leaves least; of equals the more accurate, then the first."""
    allowed = [
        t
        for t in record["trials"]
        if t["state"] == "complete" and t["score"] is not None and t["score"] <= 1
    ]
    best = min(
        allowed,
        key=lambda t: (t["attack_success"]["value"], t["accuracy_loss"], t["number"]),
        default=None,
    )
    return None if best is None else int(best["number"])


def _as_recipe(search: str, number: int, experiment: Experiment) -> str:
    plain = experiment.model_dump(mode="json")
    return (
        f"# Trial {number} of the search {search}, to be judged on people and random starts that the search\n"
        f"# never used (targets.skip, targets.first_repeat):\n"
        f"#   python jobs/audit.py searches/{search}/recommended.yaml --storage THE-SAME-STORAGE\n"
        + dump_yaml(plain)
    )
