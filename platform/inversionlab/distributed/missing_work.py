"""What an experiment lacks, as work for the attack workers."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import dataclass
from functools import partial

from inversionlab.distributed.shard_queue import PendingJobs
from inversionlab.distributed.work_items import (
    MeasureEvaluator,
    MeasureModel,
    Shard,
    WorkContext,
    WorkItem,
)
from inversionlab.pipeline.missing_work import missing_evaluators, missing_jobs, missing_models
from inversionlab.pipeline.plan import Cell
from inversionlab.pipeline.session import Session


@dataclass(frozen=True)
class MissingWork:
    """Measurements, which come first, and reconstructions, which are not cut into shards yet."""

    measurements: list[WorkItem]
    pending: list[PendingJobs[WorkItem]]

    @property
    def jobs(self) -> int:
        """Number of reconstructions."""
        return sum(pending.left for pending in self.pending)


def missing_measurements(
    session: Session, cells: Iterable[Cell], context: WorkContext, stored: set[str]
) -> list[WorkItem]:
    """Measurements of evaluators and of the cells' models that the store lacks; `stored` as in the pipeline."""
    evaluators = [MeasureEvaluator(context, name) for name in missing_evaluators(session, stored)]
    models = [MeasureModel(context, c.id) for c in missing_models(session, cells, stored)]
    return [*evaluators, *models]


def pending_jobs(
    session: Session, cell: Cell, targets: Collection[int], context: WorkContext
) -> PendingJobs[WorkItem]:
    """The reconstructions of a cell that the store lacks."""
    jobs, left = missing_jobs(session, cell, targets)
    defense = cell.attacked.name if cell.attacked is not None else ""
    pace_key = f"{cell.attack.model_dump_json()} {defense}"
    return PendingJobs(jobs, left, pace_key, partial(Shard, context, cell.id))
