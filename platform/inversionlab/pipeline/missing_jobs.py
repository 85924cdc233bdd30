"""The reconstructions of a cell that the store lacks."""

from __future__ import annotations

from collections.abc import Collection, Iterator

import numpy as np

from inversionlab.pipeline.plan import Cell
from inversionlab.pipeline.session import Session
from inversionlab.store.tables import Job


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
