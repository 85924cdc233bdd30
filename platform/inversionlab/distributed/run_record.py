"""The record of a run: what was run, on what, with which results; the report is made from it and the store."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from inversionlab.attacks import ATTACKS
from inversionlab.core.images import png
from inversionlab.core.settings import fingerprint
from inversionlab.distributed.cluster import Gpus, provenance
from inversionlab.experiment import Experiment
from inversionlab.pipeline.measure import VIEWS, evaluator_key, model_key
from inversionlab.pipeline.plan import Cell
from inversionlab.pipeline.session import Session


def store_real(session: Session) -> None:
    """Keep one real picture of every target for the report."""
    key = real_key(session)
    if session.store.has("references", key):
        return
    train = session.builder.splits.train
    rows = []
    for target in session.plan.targets:
        first = int((train.class_N == target).nonzero()[0])
        rows.append(
            {
                "kind": "real",
                "protected": "",
                "target": target,
                "person": session.builder.splits.people[target],
                "picture": png(train.images_NCHW[first]),
            }
        )
    session.store.write("references", key, rows)


def real_key(session: Session) -> str:
    """Under which name the targets' real pictures are stored."""
    return fingerprint([session.plan.data_id, list(session.plan.targets)])


def cost(
    session: Session, trained: Sequence[str], attack_seconds: float, gpus: Gpus
) -> dict[str, dict[str, float]]:
    """CPU- and GPU-seconds that trainings and attacks held.

    A training that went on from a checkpoint counts from there.

    Args:
        session: the experiment.
        trained: keys of the networks that this run trained.
        attack_seconds: working time of the attack workers, all together.
        gpus: which work took GPUs.
    """
    runtime = session.experiment.runtime
    cards = [session.store.storage.read_json(f"artifacts/{key}/card.json") for key in trained]
    worker_seconds = [c["seconds"] * c["workers"] for c in cards]
    cpus = [c.get("cpus", runtime.train_cpus) for c in cards]
    share = runtime.attack_gpu_share
    return {
        "train": {
            "cpu_seconds": round(sum(s * n for s, n in zip(worker_seconds, cpus, strict=True)), 1),
            "gpu_seconds": round(sum(worker_seconds) if gpus.train else 0.0, 1),
        },
        "attack": {
            "cpu_seconds": round(attack_seconds * runtime.attack_cpus, 1),
            "gpu_seconds": round(attack_seconds * share if gpus.attack else 0.0, 1),
        },
    }


def write_record(
    session: Session,
    timings: Mapping[str, float],
    trained: Sequence[str],
    costs: Mapping[str, Any],
    timeline: Sequence[Mapping[str, float]],
) -> str:
    """Write the run's record, from which a report can be made without the experiment; returns its name.

    Args:
        session: the experiment.
        timings: seconds of each stage of this run.
        trained: keys of the networks that this run trained.
        costs: see `cost`.
        timeline: how the cluster and the work in it changed.
    """
    experiment = session.experiment
    plain = experiment.model_dump(mode="json")
    run = run_name(experiment)
    manifest = {
        "run": run,
        "name": experiment.name,
        "created": datetime.now(UTC).isoformat(timespec="seconds"),
        "seconds": sum(timings.values()),
        "experiment": plain,
        "provenance": provenance(),
        "data": data_record(session),
        "sweep": plain["sweep"],
        "cells": [_cell_record(cell) for cell in session.plan.cells],
        "artifacts": [_artifact_record(session, trained, t.key) for t in session.plan.specs],
        "timings": dict(timings),
        "cost": dict(costs),
        "timeline": [dict(sample) for sample in timeline],
        "warnings": _warnings(session),
        "jobs": {
            "targets": list(session.plan.targets),
            "repeats": experiment.targets.repeats,
            "first_repeat": experiment.targets.first_repeat,
        },
        "tables": {
            "models": sorted(
                {model_key(session, c.protected) for c in session.plan.cells if c.protected}
            ),
            "evaluators": [evaluator_key(session, e.name) for e in experiment.evaluators],
            "real": real_key(session),
        },
    }
    session.store.storage.write_json(f"runs/{run}/run.json", manifest)
    return run


def run_name(experiment: Experiment) -> str:
    """The name of an experiment's run: equal for all that differ only in layout or in the headline evaluator."""
    plain = experiment.model_dump(mode="json", exclude={"runtime", "headline"})
    return f"{experiment.name}-{fingerprint(plain)[:8]}"


def data_record(session: Session) -> dict[str, Any]:
    """The data in numbers."""
    splits = session.builder.splits
    return {
        "description": describe(session),
        "private_people": len(splits.people),
        "private_pictures": len(splits.train),
        "test_pictures": len(splits.test),
        "public_people": splits.public_people,
        "public_pictures": len(splits.public_NCHW),
        "evaluator_people": len(splits.evaluator_people),
        "skipped": list(splits.notes),
    }


def _cell_record(cell: Cell) -> dict[str, Any]:
    return {
        "cell": cell.id,
        "attack": cell.attack.title,
        "defense": cell.defense.name if cell.defense is not None else "",
        "title": cell.defense.title if cell.defense is not None else "",
        "protected": cell.protected,
        "label": cell.label,
        "stripped": cell.stripped,
        "point": cell.point,
        "baseline": cell.baseline,
        "access": _access(cell),
    }


def _access(cell: Cell) -> str:
    """What the attacker sees of the model, for reading."""
    view = ATTACKS[cell.attack.name].view_at(cell.attack)
    return VIEWS[view] if view is not None else ""


def _artifact_record(session: Session, trained: Sequence[str], key: str) -> dict[str, Any]:
    (spec,) = [t for t in session.plan.specs if t.key == key]
    card = session.artifacts.card(spec) or {}
    return {
        "role": spec.title,
        "id": spec.id,
        "seconds": card.get("seconds", 0.0),
        "trained": key in trained,
        "metrics": card.get("metrics", {}),
    }


def _warnings(session: Session) -> list[str]:
    notes = session.builder.splits.notes
    return [f"{len(notes)} pictures were left out; the run's record lists them"] if notes else []


def describe(session: Session) -> str:
    """The data in one line."""
    splits = session.builder.splits
    size = " x ".join(str(s) for s in splits.train.images_NCHW.shape[1:])
    return (
        f"{len(splits.people)} private people ({len(splits.train)} training and {len(splits.test)} "
        f"test pictures), {len(splits.evaluator_people)} evaluator-only, {splits.public_people} public "
        f"({len(splits.public_NCHW)} pictures), {size}; {len(splits.notes)} pictures left out or noted"
    )
