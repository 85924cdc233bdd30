"""The recommended setting's second judgement, out of the run that audited it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from inversionlab.metrics import Estimate
from inversionlab.results.load import RunData
from inversionlab.results.rows import Row, headline_rows


@dataclass(frozen=True)
class HoldoutAudit:
    """The recommended setting on targets or random starts that the search never saw."""

    run: str
    success: Estimate
    """Top-5 share of the strongest attack by the judge that finds most."""
    attack: str
    """In words."""
    judge: str
    accuracy: Estimate | None
    loss: float
    """Percentage points; NaN where it is not known."""
    undefended: Estimate | None
    """What the strongest attack finds on the undefended victim, on the same targets."""
    targets: int


def read_holdout_audit(run: RunData) -> HoldoutAudit | None:
    """The run's defended model as a search measures it; None while nothing of it was judged."""
    rows = headline_rows(run, frechet=False)
    found = _worst([r for r in rows if r.kind == "defended"])
    if found is None:
        return None
    row, judge, success = found
    bare = _worst([r for r in rows if r.kind == "undefended"])
    return HoldoutAudit(
        run=run.record.run,
        success=success,
        attack=row.by,
        judge=judge,
        accuracy=row.accuracy_all,
        loss=row.loss_points,
        undefended=bare[2] if bare else None,
        targets=len(run.record.jobs.targets),
    )


def _worst(rows: Sequence[Row]) -> tuple[Row, str, Estimate] | None:
    """The attack and judge that find most."""
    judged = [(r, j.evaluator, j.top5) for r in rows for j in r.by_evaluator if j.top5.count]
    return max(judged, key=lambda found: found[2].value) if judged else None
