"""What the store still lacks of an experiment: measurements and reconstructions."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass

import numpy as np

from inversionlab.distributed.attack_worker import (
    MeasureEvaluator,
    MeasureModel,
    Shard,
    WorkContext,
    WorkItem,
)
from inversionlab.distributed.shard_queue import PendingJobs
from inversionlab.pipeline.measure import evaluator_key, model_key
from inversionlab.pipeline.plan import Cell
from inversionlab.pipeline.session import Session
from inversionlab.store.tables import Job


@dataclass(frozen=True)
class MissingWork:
    """What is to be done: measurements first, then reconstructions."""

    measures: list[WorkItem]
    lots: list[PendingJobs[WorkItem]]

    @property
    def jobs(self) -> int:
        """Reconstructions to be made, before any of them is cut into a shard."""
        return sum(lot.left for lot in self.lots)


def missing_measures(
    session: Session, cells: Iterable[Cell], context: WorkContext, whole: set[str]
) -> Iterator[WorkItem]:
    """What is to be measured of judges and of the cells' models before they are attacked.

    Args:
        session: the experiment.
        cells: which of its cells.
        context: what the orders are about.
        whole: measurements that were found whole before; those that are found now are added.
    """

    def stored(tables: tuple[str, ...], key: str) -> bool:
        # They are read through to see whether they are whole, and a judge's features may be many.
        if key not in whole and all(session.store.has(table, key) for table in tables):
            whole.add(key)
        return key in whole

    for evaluator in session.experiment.evaluators:
        nearest = evaluator.protocol == "nearest_identity"
        tables = ("evaluators", "features", *(["galleries"] if nearest else []))
        if not stored(tables, evaluator_key(session, evaluator.name)):
            yield MeasureEvaluator(context, evaluator.name)
    seen = set()
    for cell in cells:
        if cell.defense is None or cell.stripped or cell.protected in seen:
            continue
        seen.add(cell.protected)
        if not stored(("models", "references"), model_key(session, cell.protected)):
            yield MeasureModel(context, cell.id)


def lot(
    session: Session, cell: Cell, targets: Collection[int], context: WorkContext
) -> PendingJobs[WorkItem]:
    """The reconstructions of a cell that the store lacks, to be cut into shards."""

    def item(jobs: tuple[Job, ...]) -> WorkItem:
        return Shard(context, cell.id, jobs)

    jobs, left = missing_jobs(session, cell, targets)
    defense = cell.attacked.name if cell.attacked is not None else ""
    return PendingJobs(jobs, left, f"{cell.attack.model_dump_json()} {defense}", item)


def missing_jobs(
    session: Session, cell: Cell, targets: Collection[int]
) -> tuple[Iterator[Job], int]:
    """The (target, repeat) pairs of a cell that the store lacks, one by one, and their number."""
    wanted = session.experiment.targets
    place = {target: row for row, target in enumerate(targets)}
    # A byte a job: a hundred thousand targets are no burden.
    todo = np.ones((len(place), wanted.repeats), bool)
    for target, repeat in session.store.done(cell.id):
        column = repeat - wanted.first_repeat
        if target in place and 0 <= column < wanted.repeats:
            todo[place[target], column] = False
    jobs = (
        (target, wanted.first_repeat + column)
        for target, row in place.items()
        for column in range(wanted.repeats)
        if todo[row, column]
    )
    return jobs, int(todo.sum())
