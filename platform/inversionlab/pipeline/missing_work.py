"""What the store lacks of an experiment: measurements and reconstructions.

`stored` holds the keys of measurements that an earlier call found whole; those found now are added.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator

import numpy as np

from inversionlab.pipeline.measure import evaluator_key, model_key
from inversionlab.pipeline.plan import Cell
from inversionlab.pipeline.session import Session
from inversionlab.store.tables import Job


def missing_evaluators(session: Session, stored: set[str]) -> Iterator[str]:
    """Names of the evaluators that are not measured yet."""
    for evaluator in session.experiment.evaluators:
        tables = ["evaluators", "features"]
        if evaluator.protocol == "nearest_identity":
            tables.append("galleries")
        if not _is_stored(session, tables, evaluator_key(session, evaluator.name), stored):
            yield evaluator.name


def missing_models(session: Session, cells: Iterable[Cell], stored: set[str]) -> Iterator[Cell]:
    """For each of the cells' models that is not measured yet, a cell that has it."""
    seen = set()
    for cell in cells:
        if cell.defense is None or cell.stripped or cell.protected in seen:
            continue
        seen.add(cell.protected)
        key = model_key(session, cell.protected)
        if not _is_stored(session, ("models", "references"), key, stored):
            yield cell


def _is_stored(session: Session, tables: Iterable[str], key: str, stored: set[str]) -> bool:
    # The store reads a file through to see whether it is whole, and an evaluator's features may be many.
    if key not in stored and all(session.store.has(table, key) for table in tables):
        stored.add(key)
    return key in stored


def missing_jobs(
    session: Session, cell: Cell, targets: Collection[int]
) -> tuple[Iterator[Job], int]:
    """The (target, repeat) jobs of a cell that the store lacks, one by one, and their number."""
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
