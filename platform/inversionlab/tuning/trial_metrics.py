"""The metrics of a trial: what a search can optimize and bound.

A new metric takes an entry in METRICS and a line in `trial_metrics` here; with a field of its name in
`results.search.TrialRecord` it is stored as well.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal

from inversionlab.defenses.none import NoneSettings
from inversionlab.metrics import Estimate, wilson
from inversionlab.pipeline.measure import model_key
from inversionlab.pipeline.session import Session
from inversionlab.tuning.leakage import Leak, defended_cells

METRICS: dict[str, Literal["max", "min"] | None] = {
    # Share of the private people's test pictures that the protected model names rightly, 0 to 1.
    "accuracy": "max",
    # Percentage points of accuracy lost against the undefended victim.
    "accuracy_loss": "min",
    # Mean absolute change of a log-score against the undefended victim, in nats.
    "log_distortion": "min",
    # Top-5 share of the strongest listed attack by the recipe's headline evaluator, 0 to 1.
    "attack_success": "min",
    # The ends of its 95 % Wilson interval, 0 to 1.
    "attack_success_low": "min",
    "attack_success_high": "min",
    # People attacked so far, and reconstructions of them.
    "targets": None,
    "reconstructions": None,
    # Time that the last step of the trial took, in seconds.
    "seconds": None,
    # For one objective: attack_success where the constraints hold, else 1 + the largest excess over a bound / 100.
    "score": "min",
}
"""What a trial reports, all finite numbers -> which way a defender wants it; None: it says how much was done."""


def trial_metrics(
    session: Session, found: Leak, targets: Sequence[int], bounds: Mapping[str, float]
) -> dict[str, float]:
    """METRICS, except `seconds`, of a trial whose reconstructions are stored.

    Args:
        session: the trial's experiment.
        found: what its attacks found.
        targets: the targets attacked so far.
        bounds: the constraints: metric -> upper bound.
    """
    released = defended_cells(session)[0].protected
    victim = session.plan.defense_specs.model(NoneSettings()).id
    with_defense, success = accuracy(session, released).value, found.strongest.success
    numbers = {
        "accuracy": with_defense,
        "accuracy_loss": 100 * (accuracy(session, victim).value - with_defense),
        "log_distortion": float(measured(session, released)["log_distortion"]),
        "attack_success": success.value,
        "attack_success_low": success.low,
        "attack_success_high": success.high,
        "targets": len(targets),
        "reconstructions": found.reconstructions,
    }
    excess = max((numbers[name] - bound for name, bound in bounds.items()), default=0.0)
    # 1e-9: a bound that is just met must pass as computed.
    return numbers | {"score": success.value if excess <= 1e-9 else 1 + excess / 100}


def accuracy(session: Session, protected: str) -> Estimate:
    """Recognition accuracy of a measured model on all private people's test pictures."""
    row = measured(session, protected)
    return wilson(row["correct_all"], row["total_all"])


def measured(session: Session, protected: str) -> dict[str, Any]:
    """The stored measurements of a model."""
    row: dict[str, Any]
    (row,) = session.store.read("models", model_key(session, protected)).to_pylist()
    return row
