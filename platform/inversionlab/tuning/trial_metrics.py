"""What the stored attacks on a trial's model found, and the metrics that a search can optimize and bound.

The models' own numbers are those of `results.models.MODEL_METRICS`, and more of what attacks found are those of
`attack_metrics.ATTACK_METRICS`. Another metric takes an entry in METRICS and a line in `trial_metrics` here; with
a field of its name in `results.search.TrialRecord` it is stored as well.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from inversionlab.attacks import ATTACKS
from inversionlab.core.settings import ConfigError
from inversionlab.defenses import DefenseSettings
from inversionlab.defenses.none import NoneSettings
from inversionlab.metrics import Estimate, attack_accuracy, wilson
from inversionlab.metrics.paired import person_means
from inversionlab.pipeline.cell import Cell
from inversionlab.pipeline.measure import evaluator_key, model_key
from inversionlab.pipeline.session import Session, with_experiment
from inversionlab.results.guessing import guesses_of
from inversionlab.results.models import MODEL_METRICS, Model, mean_model
from inversionlab.results.ranking import Strongest, counting, strongest
from inversionlab.store.tables import Job
from inversionlab.tuning.attack_metrics import ATTACK_METRICS, NEEDS, attack_metrics

METRICS: dict[str, Literal["max", "min"] | None] = {
    # Share of the private people's test pictures that the protected model names rightly, 0 to 1.
    "accuracy": "max",
    # Percentage points of accuracy lost against the undefended victim.
    "accuracy_loss": "min",
    # The models' own numbers. log_distortion: the mean absolute change of a log-score against the undefended
    # victim, in nats. others_taken: other people's test pictures that are taken for an attacked person, the mean
    # over these. strangers_taken: share of strangers' pictures that are taken for one. strangers_accepted: share
    # that reaches the score that 95 % of the genuine test pictures reach.
    **{metric.key: metric.better for metric in MODEL_METRICS if metric.better},
    # Success of the strongest listed attack by the recipe's headline evaluator, 0 to 1: top-5, and top-1 where an
    # evaluator chooses among ten people or fewer.
    "attack_success": "min",
    # The ends of its 95 % interval by people, 0 to 1.
    "attack_success_low": "min",
    "attack_success_high": "min",
    # More of what attacks found, each by the attack that is worst for the defender; see `attack_metrics`.
    **ATTACK_METRICS,
    # People attacked so far, and reconstructions of them.
    "targets": None,
    "reconstructions": None,
    # Time that the last step of the trial took, in seconds.
    "seconds": None,
    # For one objective: attack_success where the constraints hold, else 1 + the largest excess over a bound / 100.
    "score": "min",
}
"""What a trial reports, all finite numbers -> which way a defender wants it; None: it says how much was done."""
Ranks = Mapping[str, Mapping[Job, Mapping[str, int]]]
"""Cell -> job -> evaluator -> rank of the target, 1 = best."""


def trial_metrics(
    session: Session,
    found: Leak,
    targets: Sequence[int],
    bounds: Mapping[str, float],
    objectives: Collection[str] = (),
) -> dict[str, float]:
    """METRICS, except `seconds`, of a trial from what attacks on these targets found, all finite.

    Of ATTACK_METRICS those that the search names. `bounds` are the constraints: metric -> upper bound.
    A metric that is not known is left out, and with it the score that a bound on it decides.
    """
    named = [*objectives, *bounds]
    defense, success = defended_cells(session)[0].defense, found.strongest.success
    model, with_defense = measured(session, defense), accuracy(session, defense).value
    own = {m.key: getattr(model, m.key) for m in MODEL_METRICS if m.better}
    numbers = {
        "accuracy": with_defense,
        "accuracy_loss": 100 * (accuracy(session, NoneSettings()).value - with_defense),
        **{key: value for key, value in own.items() if not math.isnan(value)},
        "attack_success": success.value,
        "attack_success_low": success.low,
        "attack_success_high": success.high,
        "targets": len(targets),
        "reconstructions": found.reconstructions,
        **attack_metrics(session, counting(defended_cells(session), _aside), targets, named),
    }
    known = {name: value for name, value in numbers.items() if math.isfinite(value)}
    if any(name not in known for name in bounds):
        return known
    excess = max((known[name] - bound for name, bound in bounds.items()), default=0.0)
    # 1e-9: a bound that is just met must pass as computed.
    return known | {"score": success.value if excess <= 1e-9 else 1 + excess / 100}


def refuse_unknown(numbers: Mapping[str, float], named: Collection[str], model: str) -> None:
    """Raise ConfigError if a metric that a search names is not among the numbers of a model."""
    for name in named:
        if name not in numbers:
            reason = NEEDS.get(name, "the store does not hold it")
            raise ConfigError(f"{name}: is not known for {model}; {reason}")


def accuracy(session: Session, defense: DefenseSettings | None) -> Estimate:
    """Recognition accuracy of a measured model on all private people's test pictures; see `measured`."""
    return measured(session, defense).accuracy_all or wilson(0, 0)


def measured(session: Session, defense: DefenseSettings | None) -> Model:
    """The stored measurements of the model that a defense releases; of several victims their means."""
    assert defense is not None, "a null attack has no model"
    names = [specs.model(defense).id for specs in session.plan.victims.values()]
    tables = [session.store.read("models", model_key(session, name)) for name in names]
    return mean_model([Model.model_validate(row) for t in tables for row in t.to_pylist()])


@dataclass(frozen=True)
class Leak:
    """What attacks on one model found over some targets."""

    success: Mapping[str, Mapping[str, Estimate]]
    """Attack -> evaluator, in the recipe's order -> share of the tries that succeed."""
    strongest: Strongest[str]
    success_of: Mapping[int, float]
    """Target -> the strongest attack's share of successes, by the evaluator that decides."""
    reconstructions: int
    """Of all these attacks together."""


def session_guesses(session: Session) -> int:
    """k: a try succeeds if the target is among an evaluator's first k; see `results/guessing.py`."""
    splits, plan = session.builder.splits, session.plan
    sizes = {
        "private_people": len(splits.people),
        "evaluator_people": len(splits.evaluator_people),
    }
    recipe = session.experiment.model_dump(mode="json", include={"evaluators", "targets"})
    return guesses_of(sizes, recipe, len(plan.targets), measured_people(session))


def measured_people(session: Session) -> dict[str, int]:
    """Evaluator -> among how many people it chooses, of those that are measured."""
    found: dict[str, int] = {}
    for evaluator in session.experiment.evaluators:
        key = evaluator_key(session, evaluator.name)
        if session.store.has("evaluators", key):
            for row in session.store.read("evaluators", key).to_pylist():
                if row["people"]:
                    found[evaluator.name] = row["people"]
    return found


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
    session: Session,
    cells: Sequence[Cell],
    targets: Collection[int],
    *,
    ranks: Ranks | None = None,
    k: int | None = None,
) -> Leak:
    """The success of the stored reconstructions of `targets`, for attacks on one model or for null attacks.

    Without `ranks` and `k`, the number of guesses, `read_ranks` and `session_guesses` read them now.

    Raises:
        ValueError: a cell has no stored reconstruction of these targets.
    """
    experiment = session.experiment
    first = experiment.targets.first_repeat
    repeats = range(first, first + experiment.targets.repeats)
    ranks = read_ranks(session, cells) if ranks is None else ranks
    k = session_guesses(session) if k is None else k
    chosen, total = set(targets), 0
    # Of several victims the tries on all of them count, and a person's are one cluster.
    tries: dict[str, list[tuple[int, Mapping[str, int]]]] = {}
    for cell in counting(cells, _aside):
        counted = [
            (target, by_evaluator)
            for (target, repeat), by_evaluator in ranks[cell.id].items()
            if target in chosen and repeat in repeats
        ]
        if not counted:
            raise ValueError(f"{cell.label}: no reconstruction is stored")
        total += len(counted)
        tries.setdefault(cell.attacker, []).extend(counted)
    success = {
        attacker: {
            evaluator.name: attack_accuracy(
                np.array([rank[evaluator.name] for _, rank in found]),
                np.array([target for target, _ in found]),
                top=k,
            )
            for evaluator in experiment.evaluators
        }
        for attacker, found in tries.items()
    }
    best = strongest(
        success, lambda attack: list(success[attack].values()), headline=experiment.headline
    )
    assert best is not None
    decides, found = experiment.evaluators[best.evaluator].name, tries[best.attack]
    hit_N = np.array([rank[decides] <= k for _, rank in found])
    success_of = person_means(hit_N, np.array([target for target, _ in found]))
    return Leak(success, best, success_of, total)


def real_pictures(session: Session) -> dict[str, Estimate]:
    """Evaluator -> share of real held-out pictures whose person is among its first k: the ceiling of every attack.

    An evaluator of an older store, which does not hold its ranks, is left out.
    """
    found, k = {}, session_guesses(session)
    for evaluator in session.experiment.evaluators:
        key = evaluator_key(session, evaluator.name)
        if session.store.has("held_out", key):
            rows = session.store.read("held_out", key)
            rank_N, person_N = (rows[name].to_numpy() for name in ("rank", "person"))
            found[evaluator.name] = attack_accuracy(rank_N, person_N, top=k)
    return found


def _aside(cell: Cell) -> bool:
    """Whether an attack counts only where there is no other; see `results.ranking.counting`."""
    attack = ATTACKS[cell.attack.name]
    return attack.floor or attack.inverts_outputs_at(cell.attack)
