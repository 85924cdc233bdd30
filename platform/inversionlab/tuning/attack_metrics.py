"""Further metrics of what attacks found, for searches that name them: acceptance, likeness, sets of pictures.

They are those of `results.evaluator_results.METRICS` that say which way a defender wants them, by the recipe's
headline evaluator; `denied` is by the other evaluators. Of several attacks, and of several evaluators, the value
that is worst for a defender counts: a setting is only as good as against the attack that does most by this metric.
"""

import math
from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import Literal

from inversionlab.experiment import Experiment
from inversionlab.metrics import Estimate
from inversionlab.pipeline.cell import Cell
from inversionlab.pipeline.measure import evaluator_key
from inversionlab.pipeline.session import Session
from inversionlab.results.evaluator_results import METRICS, Known, evaluator_results
from inversionlab.results.load import of_jobs
from inversionlab.results.run_record import JobsRecord
from inversionlab.store.tables import SCHEMAS

ATTACK_METRICS: dict[str, Literal["max", "min"]] = {m.key: m.better for m in METRICS if m.better}
"""Metric -> which way a defender wants it."""
SETS = frozenset({"precision", "recall", "density", "coverage"})
"""Those that compare sets of pictures, which takes longest."""
BY_GALLERY = frozenset({"accepted_1", "accepted_01", "distance"})
"""Those that compare with a gallery."""
_GALLERY = (
    "it takes a headline evaluator with a gallery (protocol `embedding` or `nearest_identity`)"
)
NEEDS = {
    **dict.fromkeys(BY_GALLERY, f"{_GALLERY}, and 100 impostors (1,000 for `accepted_01`)"),
    **dict.fromkeys(SETS, "it takes two private pictures or more, and finite features of them"),
    **dict.fromkeys(
        ("strangers_taken", "strangers_accepted"),
        "it takes evaluator-only people, or public people with a single picture; an endpoint is not asked about "
        "people whom it does not know",
    ),
}
"""Why a metric may not be known."""


def unfit_metrics(experiment: Experiment, named: Collection[str]) -> Iterator[str]:
    """Why some metrics that a search names cannot be known of a recipe's models, a line each."""
    evaluators = experiment.evaluators
    heads = evaluators if experiment.headline == "worst" else evaluators[:1]
    gallery = any(e.protocol in ("embedding", "nearest_identity") for e in heads)
    for metric in named:
        if metric in BY_GALLERY and not gallery:
            yield f"{metric}: {_GALLERY}; the recipe `{experiment.name}` has none"
        if metric == "denied" and len(evaluators) < 2:
            yield f"{metric}: it takes a second evaluator, which may contradict the first one"


def attack_metrics(
    session: Session, cells: Sequence[Cell], targets: Collection[int], wanted: Collection[str]
) -> dict[str, float]:
    """The wanted ones of `ATTACK_METRICS`, of attacks on one model over these targets; NaN where one is not known.

    Attacks on several victims are pooled. Where no picture convinces an evaluator, there is nothing to deny, and
    `denied` is 1.
    """
    keys = [key for key in ATTACK_METRICS if key in wanted]
    if not keys:
        return {}
    settings = session.experiment.targets
    jobs = JobsRecord(
        targets=tuple(targets), repeats=settings.repeats, first_repeat=settings.first_repeat
    )
    judges = [_known(session, evaluator.name) for evaluator in session.experiment.evaluators]
    found: dict[str, list[float]] = {key: [] for key in keys}
    attackers: dict[str, list[str]] = {}
    for cell in cells:
        attackers.setdefault(cell.attacker, []).append(cell.id)
    for victims in attackers.values():
        table = of_jobs(session.store.reconstructions(victims), jobs)
        full = table.num_rows // len(victims)
        said = evaluator_results(table, judges, full, costly=not SETS.isdisjoint(keys))
        first = said if session.experiment.headline == "worst" else said[:1]
        for key in keys:
            by = said[1:] if key == "denied" else first
            found[key] += [_value(key, result.metrics) for result in by]
    return {key: _worst(ATTACK_METRICS[key], values) for key, values in found.items()}


def _known(session: Session, name: str) -> Known:
    """What an evaluator knows of real people, as it was stored when it was measured."""
    key, store = evaluator_key(session, name), session.store
    has_gallery = session.plan.evaluators[name].has_gallery
    galleries = store.read("galleries", key) if has_gallery else SCHEMAS["galleries"].empty_table()
    return Known.of_tables(store.read("features", key), galleries, name)


def _value(key: str, metrics: Mapping[str, Estimate | float]) -> float:
    value = metrics[key]
    if not isinstance(value, Estimate):
        return value
    return 1.0 if key == "denied" and not value.count else value.value


def _worst(better: Literal["max", "min"], values: Sequence[float]) -> float:
    known = [value for value in values if not math.isnan(value)]
    return (min if better == "max" else max)(known, default=math.nan)
