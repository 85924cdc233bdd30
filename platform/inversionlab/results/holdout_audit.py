"""The recommended setting on targets or random starts that the search never used, from the run that audited it."""

from dataclasses import dataclass

from inversionlab.metrics import Estimate
from inversionlab.results.guessing import MANY
from inversionlab.results.load import RunData
from inversionlab.results.ranking import Headline
from inversionlab.results.run_results import RunResults


@dataclass(frozen=True)
class HoldoutAudit:
    """What the audit found."""

    run: str
    success: Estimate
    """Success of the strongest attack by the headline evaluator."""
    attack: str
    """In words."""
    evaluator: str
    accuracy: Estimate | None
    loss: float
    """Percentage points; NaN where it is not known."""
    undefended: Estimate | None
    """Success of the strongest attack on the undefended victim, on the same targets."""
    targets: int
    guesses: int = MANY
    """k: a try succeeds if the right person is among the evaluator's first k."""


def read_holdout_audit(run: RunData, headline: Headline) -> HoldoutAudit | None:
    """The audit of a setting; None while no attack on the defended model is evaluated.

    Args:
        run: the run that audited it.
        headline: which evaluator decides in the search.
    """
    results = RunResults.of(run, frechet=False, headline=headline)
    defended = results.strongest(r for r in results.rows if r.kind == "defended")
    if defended is None:
        return None
    return HoldoutAudit(
        run=run.record.run,
        success=defended.success,
        attack=defended.attack.by,
        evaluator=results.evaluators[defended.evaluator],
        accuracy=defended.attack.accuracy_all,
        loss=defended.attack.loss_points,
        undefended=results.undefended.success if results.undefended else None,
        targets=len(run.record.jobs.targets),
        guesses=results.guesses,
    )
