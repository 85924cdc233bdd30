"""Reconstructions that are stored with the verdicts of some of a recipe's evaluators: only the others judge them.

Rows hold verdicts, so a cell's id depends on the evaluators. A recipe that gains an evaluator has new cells, but
the pictures are those of the old ones: nothing is attacked, and no endpoint is asked, again.
"""

from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any

import torch

from inversionlab.core.images import from_png
from inversionlab.pipeline.cell import Cell
from inversionlab.pipeline.evaluate import Evaluator, verdicts
from inversionlab.pipeline.session import Session
from inversionlab.store.tables import Job


def files_of_pictures(session: Session, cell: Cell, stored: frozenset[str]) -> dict[Job, str]:
    """The files with pictures of a cell's jobs that other verdicts belong to; `stored`: see `stored_cells`."""
    files: dict[Job, str] = {}
    for id in cell.judged_otherwise:
        if id in stored:
            files = session.store.where(id) | files
    return files


def pictures_stored(
    session: Session, cell: Cell, missing: Iterable[Job], stored: frozenset[str]
) -> int:
    """How many of the jobs that a cell lacks have a picture that only needs more verdicts."""
    # Nothing is read for a cell that lacks nothing, nor where no other evaluators have judged it.
    todo = [] if stored.isdisjoint(cell.judged_otherwise) else list(missing)
    files = files_of_pictures(session, cell, stored) if todo else {}
    return sum(job in files for job in todo)


def judged_again(
    session: Session,
    cell: Cell,
    jobs: Collection[Job],
    files: Iterable[str],
    evaluators: Sequence[Evaluator],
) -> dict[Job, dict[str, Any]]:
    """The rows of these jobs out of files of other cells, with the verdicts of all evaluators."""
    rows = session.store.rows(files, jobs)
    device = session.builder.device
    return {
        job: {**row, "cell": cell.id, "verdicts": _verdicts(row, evaluators, device)}
        for job, row in rows.items()
    }


def _verdicts(
    row: Mapping[str, Any], evaluators: Sequence[Evaluator], device: torch.device
) -> list[dict[str, Any]]:
    """The row's own verdicts and those that it lacks, in the order of the evaluators."""
    known = {verdict["evaluator"]: verdict for verdict in row["verdicts"] or ()}
    lacking = [evaluator for evaluator in evaluators if evaluator.name not in known]
    (new,) = verdicts(lacking, from_png(row["picture"])[None], [row["target"]], device)
    known |= {verdict["evaluator"]: verdict for verdict in new}
    return [known[evaluator.name] for evaluator in evaluators]
