"""The recommended setting on targets or random starts that the search never used, from the run that audited it."""

from __future__ import annotations

from dataclasses import dataclass

from inversionlab.metrics import Estimate
from inversionlab.results.load import RunData
from inversionlab.results.ranking import Headline, strongest
from inversionlab.results.rows import Row, headline_rows


@dataclass(frozen=True)
class HoldoutAudit:
    """What the audit found."""

    run: str
    success: Estimate
    """Top-5 share of the strongest attack by the headline evaluator."""
    attack: str
    """In words."""
    evaluator: str
    accuracy: Estimate | None
    loss: float
    """Percentage points; NaN where it is not known."""
    undefended: Estimate | None
    """What the strongest attack on the undefended victim finds, on the same targets."""
    targets: int


def read_holdout_audit(run: RunData, headline: Headline) -> HoldoutAudit | None:
    """The run's defended model as the search measured its trials; None while no attack on it is evaluated.

    Args:
        run: the run.
        headline: which evaluator decides in the search.
    """
    rows = headline_rows(run, frechet=False)
    defended, undefended = (
        strongest(
            [row for row in rows if row.kind == kind],
            lambda row: [result.top5 for result in row.by_evaluator],
            headline=headline,
            inverts_outputs=lambda row: row.inverts_outputs,
        )
        for kind in ("defended", "undefended")
    )
    if defended is None:
        return None
    row: Row = defended.attack
    return HoldoutAudit(
        run=run.record.run,
        success=defended.success,
        attack=row.by,
        evaluator=row.by_evaluator[defended.evaluator].evaluator,
        accuracy=row.accuracy_all,
        loss=row.loss_points,
        undefended=undefended.success if undefended is not None else None,
        targets=len(run.record.jobs.targets),
    )
