"""Writes the record of a search, from which its page is made: trials, results, and the recommended setting."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from datetime import UTC, datetime
from typing import Any

from inversionlab.attacks import ATTACKS
from inversionlab.core.settings import ConfigError
from inversionlab.core.yaml_io import dump_yaml
from inversionlab.defenses import DEFENSES
from inversionlab.distributed.cluster import machine
from inversionlab.distributed.provenance import provenance
from inversionlab.distributed.run_record import cost, data_record, real_key, run_name
from inversionlab.experiment import Experiment
from inversionlab.metrics.paired import fewer
from inversionlab.pipeline.cell import Cell
from inversionlab.pipeline.session import Session, with_experiment
from inversionlab.results.search import (
    AuditedRun,
    SearchRecord,
    SpaceRecord,
    Tables,
    TrainingCounts,
)
from inversionlab.results.trial_record import CurvePoint, StrongestAttack, TrialRecord, TrialState
from inversionlab.tuning.search import SearchOutcome
from inversionlab.tuning.space import describe, experiment_at
from inversionlab.tuning.study import front, importance, study_bytes
from inversionlab.tuning.trial_metrics import (
    accuracy,
    defended_cells,
    leak,
    measured,
    measured_people,
    read_ranks,
    real_pictures,
    session_guesses,
    trial_metrics,
    undefended,
)

MIN_REPEATS = 3
"""Reconstructions of each target, at least, when the recommended setting is audited."""
MIN_TARGETS = 20
"""Targets of that audit, at least, if the search left so many people unattacked."""
TRIAL_ONLY = {"number", "settings", "state", "start", "paper", "fault", "trained", "by_chance"}
"""Fields of a trial that the undefended victim's record lacks."""


def write_search(outcome: SearchOutcome) -> SearchRecord:
    """Write a search's record, its Optuna study and its recommended recipe; returns the record.

    Where the best setting is not clearly better than undefended, nothing is recommended, and the recipe that an
    earlier launch wrote is deleted.
    """
    session, folder = outcome.session, f"searches/{outcome.name}"
    storage = session.store.storage
    trials = _trials(outcome)
    best = _recommended(trials)
    record = _record(outcome, trials, best)
    place = f"{folder}/recommended.yaml"
    if best is not None:
        people = len(session.builder.splits.people)
        recipe = recommended(session.experiment, best.settings, people)
        run = run_name(recipe)
        # An earlier version audited what it should not have recommended; that audit stays on the page.
        if record.helps or storage.exists(f"runs/{run}/run.json"):
            record = record.model_copy(update={"audited": AuditedRun(run=run)})
    if best is not None and record.helps:
        text = (
            f"# Trial {best.number} of the search {outcome.name}, on people and random starts that the search\n"
            f"# never used (targets.skip, targets.first_repeat):\n"
            f"#   python jobs/audit.py {place} --storage THE-SAME-STORAGE\n"
        )
        text += dump_yaml(recipe.model_dump(mode="json"))
        storage.write(place, text.encode())
    else:
        storage.delete(place)
    storage.write(f"{folder}/study.db", study_bytes(record))
    plain = record.model_dump(mode="json", by_alias=True, exclude={"undefended": TRIAL_ONLY})
    storage.write_json(f"{folder}/search.json", plain)
    return record


def recommended(base: Experiment, settings: Mapping[str, Any], people: int) -> Experiment:
    """The experiment that audits a setting (dotted path -> value) on people and starts that the search never used.

    If the search attacked all of the `people`, only the starts are new.
    """
    used = base.targets
    first = used.skip + used.count
    fresh: dict[str, int | None] = {
        "first_repeat": used.first_repeat + used.repeats,
        # A few are enough for a search, but the audit's figure is the one to quote.
        "repeats": max(used.repeats, MIN_REPEATS),
    }
    if first < people:
        count = min(max(used.count, MIN_TARGETS), people - first)
        pool = used.pool if used.pool is not None and used.pool >= first + count else None
        fresh |= {"skip": first, "count": count, "pool": pool}
    targets = used.model_copy(update=fresh)
    name = f"{base.name[:50]}-recommended"
    return experiment_at(base, settings).model_copy(update={"name": name, "targets": targets})


def _record(
    outcome: SearchOutcome,
    trials: Sequence[TrialRecord],
    best: TrialRecord | None,
) -> SearchRecord:
    session, space, options = outcome.session, outcome.space, outcome.options
    plain = undefended(session)
    nulls = [c for c in plain.plan.cells if c.defense is None]
    shared = [spec.key for spec in plain.plan.specs]
    # Trials that propose the same model share its reconstructions.
    models = {trial.protected: trial.seconds or 0.0 for trial in trials}
    attack_seconds = _work(plain, plain.plan.cells, plain.plan.targets) + sum(models.values())
    trained = [*shared, *(key for trial in trials for key in trial.trained)]
    return SearchRecord(
        search=outcome.name,
        name=session.experiment.name,
        created=datetime.now(UTC).isoformat(timespec="seconds"),
        seconds=sum(outcome.timings.values()),
        space=SpaceRecord(**describe(space)),
        objectives=dict(space.objectives),
        constraints=dict(space.constraints),
        single=options.single,
        options={k: v for k, v in asdict(options).items() if k != "single"}
        | {"seed": session.experiment.seed},
        experiment=session.experiment.model_dump(mode="json"),
        provenance=provenance(machine()),
        data=data_record(session),
        trials=list(trials),
        undefended=_measured(outcome, plain, TrialRecord(), session.plan.targets),
        null=leak(plain, nulls, session.plan.targets).success,
        real=real_pictures(plain),
        front=front(trials, space.objectives),
        recommended=None if best is None else best.number,
        importance=importance(trials, space.kinds),
        trainings=TrainingCounts(trials=len(trials), networks=sum(len(t.trained) for t in trials)),
        tables=Tables(real=real_key(session)),
        guesses=session_guesses(session),
        people=measured_people(session),
        aware=any(ATTACKS[attack.name].knows_defense for attack in session.experiment.attacks),
        aware_attack=DEFENSES[session.experiment.defense.name].aware_attack,
        # Over all launches of the search.
        cost=cost(session, trained, attack_seconds, outcome.gpus),
        timings=dict(outcome.timings),
        timeline=list(outcome.timeline),
        targets=list(session.plan.targets),
        repeats=session.experiment.targets.repeats,
    )


def _trials(outcome: SearchOutcome) -> list[TrialRecord]:
    """The trials; each network counts for the first trial that needs it."""
    session = outcome.session
    plain = undefended(session)
    seen = {spec.key for spec in plain.plan.specs}
    bare = leak(plain, defended_cells(plain), plain.plan.targets).success_of
    trials = []
    for ended in outcome.trials:
        try:
            trial = with_experiment(session, experiment_at(session.experiment, ended.settings))
        except ConfigError as error:
            # Each value is allowed alone, but not these together.
            trial, ended = plain, replace(ended, fault=str(error), targets=0)
        new = [
            t.key for t in trial.plan.specs if t.key not in seen and session.artifacts.finished(t)
        ]
        seen |= set(new)
        state: TrialState = "stopped" if ended.stopped else "unfinished"
        if ended.targets == len(session.plan.targets):
            state = "complete"
        record = TrialRecord(
            number=ended.number,
            settings=dict(ended.settings),
            state="error" if ended.fault else state,
            start=ended.number < len(outcome.space.start),
            paper=ended.number == 0 and bool(outcome.space.start),
            fault=ended.fault,
            trained=new,
        )
        targets = trial.plan.targets[: ended.targets]
        trials.append(_measured(outcome, trial, record, targets, bare))
    return trials


def _measured(
    outcome: SearchOutcome,
    session: Session,
    record: TrialRecord,
    targets: Sequence[int],
    bare: Mapping[int, float] | None = None,
) -> TrialRecord:
    """`record` with the results for the protected model of `session` over these targets.

    `bare` is the undefended victim's success at each target; None for the victim's own record.
    """
    cells = defended_cells(session)
    defense, of_attack = cells[0].defense, dict[str, str]()
    for cell in cells:
        # Of several victims the first stands for all.
        of_attack.setdefault(cell.attacker, cell.id)
    known: dict[str, Any] = {
        "targets": len(targets),
        "protected": cells[0].protected,
        "cells": of_attack,
        "seconds": 0.0,
    }
    if targets:
        ranks, k = read_ranks(session, cells), session_guesses(session)
        found = leak(session, cells, targets, ranks=ranks, k=k)
        bounds, goals = outcome.space.constraints, outcome.space.objectives
        goals = {} if outcome.options.single else goals
        numbers = trial_metrics(session, found, targets, bounds, goals)
        stored = {*TrialRecord.model_fields, *bounds, *goals}
        known |= {name: numbers[name] for name in numbers if name in stored}
        best, step = found.strongest, outcome.options.step_targets
        evaluator = session.experiment.evaluators[best.evaluator].name
        model = measured(session, defense)
        curve = []
        for start in range(0, len(targets), step):
            so_far = targets[: start + step]
            share = leak(session, cells, so_far, ranks=ranks, k=k).strongest.success
            curve.append(
                CurvePoint(targets=len(so_far), value=share.value, low=share.low, high=share.high)
            )
        known |= {
            "accuracy": accuracy(session, defense),
            "attack_success": best.success,
            "by_chance": None if bare is None else fewer(bare, found.success_of),
            "strongest": StrongestAttack(attack=best.attack, evaluator=evaluator),
            "protects": model.protects,
            "left": model.left,
            "success": found.success,
            "seconds": _work(session, cells, targets),
            "curve": curve,
        }
    return record.model_copy(update=known)


def _work(session: Session, cells: Sequence[Cell], targets: Sequence[int]) -> float:
    """Seconds that attack workers spent on these targets."""
    chosen = set(targets)
    spent = (session.store.seconds(cell.id) for cell in cells)
    return round(sum(s for jobs in spent for (t, _), s in jobs.items() if t in chosen), 2)


def _recommended(trials: Sequence[TrialRecord]) -> TrialRecord | None:
    """The complete trial within the bounds that leaks least; ties go to the most accurate, then the first."""
    return min(
        (trial for trial in trials if trial.allowed),
        # Within the bounds the score is the attack success.
        key=lambda t: (t.score or 0.0, t.accuracy_loss or 0.0, t.number or 0),
        default=None,
    )
