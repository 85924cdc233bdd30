"""Reconstructions that are stored with the verdicts of some of a recipe's evaluators: only the others judge them.

Rows hold verdicts, so a cell's id depends on the evaluators. A recipe that gains an evaluator has new cells, but
the pictures are those of the old ones: nothing is attacked, and no endpoint is asked, again.
"""

from collections.abc import Collection, Mapping, Sequence
from typing import Any

import torch

from inversionlab.core.images import from_png
from inversionlab.pipeline.cell import Cell
from inversionlab.pipeline.evaluate import Evaluator, verdicts
from inversionlab.pipeline.session import Session, missing_jobs
from inversionlab.store.tables import Job


def pictures_stored(session: Session, cell: Cell, targets: Collection[int]) -> int:
    """How many of the jobs that a cell lacks have a picture that only needs more verdicts."""
    jobs, count = missing_jobs(session, cell, targets)
    if not count:
        return 0
    stored = {job for id in cell.judged_by_fewer for job in session.store.done(id)}
    return sum(job in stored for job in jobs)


def judged_again(
    session: Session, cell: Cell, jobs: Sequence[Job], evaluators: Sequence[Evaluator]
) -> dict[Job, dict[str, Any]]:
    """The rows of those of these jobs whose pictures are stored, with the verdicts of all evaluators."""
    rows: dict[Job, dict[str, Any]] = {}
    for id in cell.judged_by_fewer:
        rows |= session.store.rows(id, set(jobs) - rows.keys())
    return {
        job: {
            **row,
            "cell": cell.id,
            "verdicts": _verdicts(row, evaluators, session.builder.device),
        }
        for job, row in rows.items()
    }


def _verdicts(
    row: Mapping[str, Any], evaluators: Sequence[Evaluator], device: torch.device
) -> list[dict[str, Any]]:
    """The row's own verdicts and those that it lacks, in the order of the evaluators."""
    known = {verdict["evaluator"]: verdict for verdict in row["verdicts"]}
    lacking = [evaluator for evaluator in evaluators if evaluator.name not in known]
    images_NCHW = from_png(row["picture"])[None]
    (new,) = verdicts(lacking, images_NCHW, [row["target"]], device)
    known |= {verdict["evaluator"]: verdict for verdict in new}
    return [known[evaluator.name] for evaluator in evaluators]
