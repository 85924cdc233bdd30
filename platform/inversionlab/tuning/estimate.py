"""What the store says of a protected model: its accuracy, and how often attacks on it succeed, so far."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from inversionlab.attacks import ATTACKS
from inversionlab.metrics import Estimate, wilson
from inversionlab.pipeline.measure import model_key
from inversionlab.pipeline.plan import Cell
from inversionlab.pipeline.session import Session
from inversionlab.store.tables import Job

TOP = 5
"""Guesses that a judge has."""


@dataclass(frozen=True)
class Leak:
    """What attacks on one model found, over some targets."""

    success: Mapping[str, Mapping[str, Estimate]]
    """Attack -> judge -> top-5 share."""
    reconstructions: int

    @property
    def strongest(self) -> tuple[str, str]:
        """The attack, and the judge, with the highest share; the first of equals."""
        pairs = [(a, j) for a, evaluators in self.success.items() for j in evaluators]
        return max(pairs, key=lambda pair: self.success[pair[0]][pair[1]].value)

    @property
    def worst(self) -> Estimate:
        """The highest share."""
        attack, evaluator = self.strongest
        return self.success[attack][evaluator]


Ranks = Mapping[str, Mapping[Job, Mapping[str, int]]]
"""Cell -> job -> judge -> rank."""


def read_ranks(session: Session, cells: Sequence[Cell]) -> Ranks:
    """What the judges say of the stored reconstructions of some cells."""
    return {cell.id: session.store.ranks(cell.id) for cell in cells}


def leak(
    session: Session, cells: Sequence[Cell], targets: Collection[int], read: Ranks | None = None
) -> Leak:
    """The top-5 shares of the stored reconstructions of `targets`.

    The intervals take reconstructions as independent; several of one person are not quite, so with more than
    one repeat they are somewhat too narrow. An attack that overhears the answers to private pictures faces
    an easier question than one that starts from a class, and counts only where there is no other.

    Args:
        session: the experiment.
        cells: attacks on one model.
        targets: whose reconstructions count.
        read: what `read_ranks` returned for these cells, if it is at hand.

    Raises:
        ValueError: a cell has none, so that there is nothing to say.
    """
    wanted = session.experiment.targets
    repeats = range(wanted.first_repeat, wanted.first_repeat + wanted.repeats)
    read = read_ranks(session, cells) if read is None else read
    chosen, total = set(targets), 0
    aimed = [c for c in cells if not ATTACKS[c.attack.name].inverts_outputs_at(c.attack)]
    success: dict[str, dict[str, Estimate]] = {}
    for cell in aimed or cells:
        ranks = [
            evaluators
            for (target, repeat), evaluators in read[cell.id].items()
            if target in chosen and repeat in repeats
        ]
        if not ranks:
            raise ValueError(f"{cell.label}: no reconstruction is stored")
        total += len(ranks)
        success[cell.attacker] = {
            evaluator.name: wilson(sum(r[evaluator.name] <= TOP for r in ranks), len(ranks))
            for evaluator in session.experiment.evaluators
        }
    return Leak(success, total)


def measured(session: Session, protected: str) -> dict[str, Any]:
    """What is stored of a measured model."""
    row: dict[str, Any]
    (row,) = session.store.read("models", model_key(session, protected)).to_pylist()
    return row


def accuracy(session: Session, protected: str) -> Estimate:
    """Recognition accuracy of a measured model on all private people's test pictures."""
    row = measured(session, protected)
    return wilson(row["correct_all"], row["total_all"])


def log_distortion(session: Session, protected: str) -> float:
    """Mean absolute change of a measured model's log-scores against the undefended victim's, in nats."""
    return float(measured(session, protected)["log_distortion"])


def defended_cells(session: Session) -> list[Cell]:
    """The cells of the experiment's own defense; where that is idle, the undefended victim's."""
    with_model = [cell for cell in session.plan.cells if cell.defense is not None]
    return [cell for cell in with_model if not cell.baseline] or with_model


def score(
    attack_success: float, metrics: Mapping[str, float], bounds: Mapping[str, float]
) -> float:
    """One number, lower is better: the success, or more than any success where a bound is broken."""
    excess = max((metrics[name] - bound for name, bound in bounds.items()), default=0.0)
    return attack_success if excess <= 1e-9 else 1 + excess / 100


def plain(estimate: Estimate) -> dict[str, float]:
    """An estimate as a record holds it."""
    return {"value": estimate.value, "low": estimate.low, "high": estimate.high}


def plain_success(found: Leak) -> dict[str, Any]:
    """All shares as a record holds them."""
    return {
        a: {j: plain(e) for j, e in evaluators.items()} for a, evaluators in found.success.items()
    }
