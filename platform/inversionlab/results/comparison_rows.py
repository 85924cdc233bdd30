"""The rows that every table of success holds beside attacks and null attacks: the ceiling, and chance.

Ceiling: real pictures of people whom an evaluator knows, judged by it as a reconstruction is. It has not learned
from them. (An embedding's gallery holds the test pictures, so it is shown some of the victim's own training
pictures.) No attack can be expected to do better. Chance: a blind guess among these people, k / N.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

import pyarrow as pa
import pyarrow.compute as pc

from inversionlab.metrics import Estimate, acceptance, ranks, wilson
from inversionlab.results.evaluator_results import Known, Metric
from inversionlab.results.guessing import known_people
from inversionlab.results.load import RunData
from inversionlab.results.verdicts import numbers
from inversionlab.results.wording import MISSING, percent

Numbers = Mapping[str, Estimate | float]
"""The metrics of `evaluator_results.METRICS` that are known, by their keys."""
TOPS = {"top1": 1, "top5": 5}


@dataclass(frozen=True)
class ComparisonRow:
    """One such row."""

    name: str
    """In words."""
    kind: Literal["real", "chance"]
    by_evaluator: tuple[Numbers, ...]
    """What each evaluator says, in the recipe's order."""

    def text(self, metric: Metric, place: int) -> str:
        """A metric by an evaluator as text; chance has no interval."""
        value = self.by_evaluator[place].get(metric.key)
        if value is None:
            return MISSING
        if self.kind == "chance" and isinstance(value, Estimate):
            return percent(value.value)
        return metric.cell(value)


def comparison_rows(run: RunData) -> list[ComparisonRow]:
    """Both rows; none without evaluators."""
    evaluators = run.evaluators.to_pylist()
    if not evaluators:
        return []
    return [
        ComparisonRow("real held-out pictures", "real", tuple(_real(run, e) for e in evaluators)),
        ComparisonRow("chance", "chance", tuple(_guess(_people(run, e)) for e in evaluators)),
    ]


def recognized(run: RunData) -> dict[str, Estimate | None]:
    """Each evaluator's accuracy on real held-out pictures, with an interval by person; None: it is not known."""
    evaluators = run.evaluators.to_pylist()
    found = {str(e["evaluator"]): _real(run, e)["top1"] for e in evaluators}
    return {n: e if isinstance(e, Estimate) and e.count else None for n, e in found.items()}


def _real(run: RunData, evaluator: Mapping[str, object]) -> Numbers:
    """What an evaluator says of the pictures; from an older store only how many it recognizes."""
    name = str(evaluator["evaluator"])
    mine = run.held_out.filter(pc.equal(run.held_out["evaluator"], name))
    if not mine.num_rows:
        correct, total = (int(str(evaluator[key] or 0)) for key in ("correct", "total"))
        return {"top1": wilson(correct, total)}
    rank_N, person_N = (
        mine[column].combine_chunks().cast(pa.int64()).to_numpy(zero_copy_only=False)
        for column in ("rank", "person")
    )
    found: dict[str, Estimate | float] = {
        key: ranks.attack_accuracy(rank_N, person_N, top=top) for key, top in TOPS.items()
    }
    found["median_rank"] = ranks.median_rank(rank_N)
    alike_N = numbers(mine["similarity"])
    if not any(math.isnan(alike) for alike in alike_N):
        found["distance"] = float(1 - alike_N.mean())
        for key, least in Known.of(run, name).least.items():
            found[key] = acceptance.accepted(alike_N, person_N, least)
    return found


def _people(run: RunData, evaluator: Mapping[str, object]) -> int:
    """Among how many people an evaluator chooses; 0 where that is not known."""
    record, people = run.record, evaluator.get("people")
    if isinstance(people, int):
        return people
    protocol, targets = evaluator["protocol"], len(record.jobs.targets)
    named = protocol if isinstance(protocol, str) else None
    return known_people(named, record.data, record.experiment, targets) or 0


def _guess(people: int) -> Numbers:
    """What a blind guess among so many people reaches."""
    if not people:
        return {}
    shares = {key: min(1.0, top / people) for key, top in TOPS.items()}
    exact = {key: Estimate(share, share, share, people) for key, share in shares.items()}
    return {**exact, "median_rank": (people + 1) / 2}
