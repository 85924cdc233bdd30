"""What an audit will take, in time and on the disk, as far as what is stored tells; nothing is opened or measured.

Trainings are like those of the same structure on the same data in the store, by epochs. Attacks are like those
with the same settings in its runs of pictures of the same size (`paces.py`). Where nothing like it is stored,
nothing is said but that.
"""

import json
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from inversionlab.attacks import ATTACKS
from inversionlab.core.clock import clock
from inversionlab.core.settings import ConfigError
from inversionlab.pipeline.cell import Cell
from inversionlab.pipeline.judged_before import pictures_stored
from inversionlab.pipeline.network_spec import NetworkSpec
from inversionlab.pipeline.paces import Kind, Paces
from inversionlab.pipeline.session import Session, missing_jobs, stored_cells
from inversionlab.results.load import stored_record
from inversionlab.results.run_record import RunRecord
from inversionlab.store.storage import Storage

MOST = 200
"""Cards of a role, and records of runs, that are looked at."""
ROW = 2000
"""Bytes of a row beside its picture, about: verdicts with features of 64 to 512 numbers."""
UNKNOWN = {"seed", "taught_by", "targets", "generator", "protocol"}
"""Inputs of a network on which its cost does not depend, where they are plain values."""


@dataclass(frozen=True)
class Estimate:
    """What a stage takes."""

    seconds: float
    """On one worker."""
    size: float
    """Bytes."""
    unknown: tuple[str, ...] = ()
    """What nothing stored tells of."""


@dataclass(frozen=True)
class _Trained:
    """A network in the store."""

    cost_key: Any
    an_epoch: float
    """Seconds."""
    size: float


def trainings(session: Session, specs: Sequence[NetworkSpec]) -> Estimate:
    """What it takes to train these networks: as much as one of the same structure took, by epochs."""
    seconds = size = 0.0
    unknown = []
    stored: dict[str, list[_Trained]] = {}
    for spec in specs:
        role = spec.key.partition("/")[0]
        if role not in stored:
            stored[role] = [*_trained(session.store.storage, role)]
        wanted = _cost_key(spec.inputs)
        like = next((network for network in stored[role] if network.cost_key == wanted), None)
        if like is None:
            unknown.append(spec.title)
            continue
        seconds += like.an_epoch * _epochs(spec.inputs)
        size += like.size
    return Estimate(seconds, size, tuple(unknown))


def _trained(storage: Storage, role: str) -> Iterator[_Trained]:
    """The networks of a role whose cards and weights can be read."""
    for id in storage.folders(f"artifacts/{role}")[:MOST]:
        folder = f"artifacts/{role}/{id}"
        try:
            card = storage.read_json(f"{folder}/card.json")
            key, metrics = _cost_key(card["inputs"]), card["metrics"]
            epochs = float(metrics["epochs"]) - float(metrics.get("resumed_at", 0.0))
            if epochs > 0:
                weights = storage.size(f"{folder}/weights.safetensors")
                yield _Trained(key, float(card["seconds"]) / epochs, weights)
        except (OSError, ValueError, KeyError, TypeError, AttributeError):
            continue


def _cost_key(inputs: Mapping[str, Any]) -> Any:
    """The inputs of a network on which an epoch's cost depends."""
    kept = {}
    for key, value in inputs.items():
        if key == "training" and isinstance(value, Mapping):
            kept[key] = value.get("batch_size")
        elif isinstance(value, Mapping):
            kept[key] = _cost_key(value)
        elif key not in UNKNOWN:
            kept[key] = value
    return kept


def _epochs(inputs: Mapping[str, Any]) -> float:
    """The epochs of the inputs' own training, which comes last where one is inside another."""
    found = 0.0
    for key, value in inputs.items():
        if isinstance(value, Mapping):
            inner = float(value.get("epochs", 0)) if key == "training" else _epochs(value)
            found = found or inner
    return found


def attacks(session: Session, cells: Sequence[Cell]) -> Estimate:
    """What it takes to attack these cells as far as the store lacks it."""
    paces = _paces(session)
    shape = session.builder.splits.train.images_NCHW.shape[1:]
    row = ROW + int(shape[0] * shape[1] * shape[2])
    seconds = size = 0.0
    unknown, stored = [], stored_cells(session)
    for cell in cells:
        missing, todo = missing_jobs(session, cell, session.plan.targets)
        size += row * todo
        todo -= pictures_stored(session, cell, missing, stored)
        pace = paces.expect(kind_of(cell)) if todo else 0.0
        if pace is None:
            unknown.append(cell.label)
        else:
            seconds += pace * todo
    return Estimate(seconds, size, tuple(unknown))


def kind_of(cell: Cell) -> Kind:
    """What is known of the pace of a cell's reconstructions; victims of other seeds are expected to be alike."""
    attack, usual = cell.attack.model_dump_json(), ATTACKS[cell.attack.name].usual_seconds
    if cell.attacked is None:
        return Kind(attack, attack, "", usual)
    key = f"{attack} {cell.attacked.model_dump_json()}"
    return Kind(key, attack, cell.attacked.name, usual)


def _paces(session: Session) -> Paces:
    """The paces in the store's runs on pictures of this size."""
    storage, paces = session.store.storage, Paces()
    size = session.experiment.pictures.image_size
    for run in storage.folders("runs")[:MOST]:
        try:
            record = stored_record(RunRecord, storage, f"runs/{run}/run.json")
        except ConfigError:
            continue
        data = record.experiment.get("data") or record.experiment.get("public_data") or {}
        if data.get("image_size") != size:
            continue
        for cell in record.cells:
            if (cost := session.store.cost(cell.cell)) is not None:
                settings, defense, seconds = cost
                name = json.loads(settings)["name"]
                usual = ATTACKS[name].usual_seconds if name in ATTACKS else 1.0
                paces.note(Kind(f"{settings} {cell.cell}", settings, defense, usual), seconds)
    return paces


def lines(session: Session, untrained: Sequence[NetworkSpec]) -> Iterator[str]:
    """What each stage takes, a line each, and all together."""
    runtime = session.experiment.runtime
    train, attack = trainings(session, untrained), attacks(session, [*session.plan.work.values()])
    workers = runtime.attack_workers or max(1, int((os.cpu_count() or 1) / runtime.attack_cpus))
    whole, sure = 0.0, True
    for stage, found, share, by in (
        ("train", train, runtime.train_groups, ""),
        ("attack", attack, workers, f" by {workers} worker{'s' if workers > 1 else ''}"),
    ):
        seconds = found.seconds / share
        whole += seconds
        sure &= not found.unknown
        least = "at least " if found.unknown else "about "
        time = f"{least}{clock(seconds)}{by}" if found.seconds else "time unknown"
        room = f", {found.size / 1e6:,.1f} MB" if found.size else ""
        named = ", ".join(found.unknown[:4]) + (", ..." if len(found.unknown) > 4 else "")
        why = f"; no stored work resembles {named}" if found.unknown else ""
        if found.seconds or found.unknown:
            yield f"{stage}: {time}{room}{why}"
    if whole and sure:
        yield f"all together: about {clock(whole)}"
