"""What attacks have found out about the protected model of a trial, as far as they are stored."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

from inversionlab.attacks import ATTACKS
from inversionlab.defenses.none import NoneSettings
from inversionlab.metrics import Estimate, wilson
from inversionlab.pipeline.plan import Cell
from inversionlab.pipeline.session import Session, with_experiment
from inversionlab.results.ranking import Strongest, strongest
from inversionlab.store.tables import Job

TOP = 5
"""A reconstruction succeeds if the target is among an evaluator's first five guesses."""

Ranks = Mapping[str, Mapping[Job, Mapping[str, int]]]
"""Cell -> job -> evaluator -> rank of the target, 1 = best."""


@dataclass(frozen=True)
class Leak:
    """What attacks on one model found, over some targets."""

    success: Mapping[str, Mapping[str, Estimate]]
    """Attack -> evaluator, in the recipe's order -> top-5 share."""
    strongest: Strongest[str]
    reconstructions: int
    """Of all these attacks together."""


def undefended(session: Session) -> Session:
    """The experiment without its defense."""
    plain = session.experiment.model_copy(
        update={"defense": NoneSettings(), "defenses": (), "sweep": None}
    )
    return with_experiment(session, plain)


def defended_cells(session: Session) -> list[Cell]:
    """The attacks on the experiment's own defense; on the undefended victim where it changes nothing."""
    with_model = [cell for cell in session.plan.cells if cell.defense is not None]
    return [cell for cell in with_model if not cell.baseline] or with_model


def read_ranks(session: Session, cells: Sequence[Cell]) -> Ranks:
    """The ranks of all stored reconstructions of some cells."""
    return {cell.id: session.store.ranks(cell.id) for cell in cells}


def leak(
    session: Session, cells: Sequence[Cell], targets: Collection[int], ranks: Ranks | None = None
) -> Leak:
    """The top-5 shares of the stored reconstructions of `targets`.

    The intervals treat reconstructions as independent. Several of one person are not quite independent, so with
    more than one repeat the intervals are somewhat too narrow. An attack that inverts the model's answers to
    private pictures faces an easier question than one that starts from a class, so it counts only where there is
    no other.

    Args:
        session: the experiment.
        cells: attacks on one model, or null attacks.
        targets: the targets that count.
        ranks: what `read_ranks` returned for these cells; None: read them now.

    Raises:
        ValueError: nothing is stored of a cell.
    """
    experiment = session.experiment
    first = experiment.targets.first_repeat
    repeats = range(first, first + experiment.targets.repeats)
    ranks = read_ranks(session, cells) if ranks is None else ranks
    chosen, total = set(targets), 0
    success: dict[str, dict[str, Estimate]] = {}
    aimed = [c for c in cells if not ATTACKS[c.attack.name].inverts_outputs_at(c.attack)]
    for cell in aimed or cells:
        counted = [
            by_evaluator
            for (target, repeat), by_evaluator in ranks[cell.id].items()
            if target in chosen and repeat in repeats
        ]
        if not counted:
            raise ValueError(f"{cell.label}: no reconstruction is stored")
        total += len(counted)
        success[cell.attacker] = {
            evaluator.name: wilson(sum(r[evaluator.name] <= TOP for r in counted), len(counted))
            for evaluator in experiment.evaluators
        }
    found = strongest(
        success, lambda attack: list(success[attack].values()), headline=experiment.headline
    )
    assert found is not None
    return Leak(success, found, total)
