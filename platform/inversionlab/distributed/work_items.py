"""What attack workers are asked to do."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from inversionlab.distributed.object_cache import CachedObject
from inversionlab.pipeline.session import SessionSpec
from inversionlab.store.tables import Job


@dataclass(frozen=True, eq=False)
class WorkContext:
    """What work items are about: an experiment, its data and its networks."""

    spec: SessionSpec
    data_id: str
    splits: CachedObject | None
    networks: Mapping[str, CachedObject]
    """By the networks' keys; a network that is not here is read from the storage."""


@dataclass(frozen=True, eq=False)
class MeasureModel:
    """Measure how well the model of a cell recognizes, and show what it leads attacks to."""

    context: WorkContext
    cell: str


@dataclass(frozen=True, eq=False)
class MeasureEvaluator:
    """Measure an evaluator, and store its features of the targets' private pictures."""

    context: WorkContext
    name: str


@dataclass(frozen=True, eq=False)
class Shard:
    """Run a cell's attack for some (target, repeat) jobs, evaluate what it finds, and store the rows."""

    context: WorkContext
    cell: str
    jobs: tuple[Job, ...]


WorkItem = MeasureModel | MeasureEvaluator | Shard
