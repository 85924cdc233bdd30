"""Of all tries at a person the best one: by the evaluator, as Khosravy picks it, or by the attacked model's
score."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from inversionlab.metrics import Estimate, by_person
from inversionlab.metrics.mean_by_person import mean_by_person
from inversionlab.metrics.paired import person_means
from inversionlab.papers.finder import UNKNOWN, Finder, Measured, NotRunError, target_at
from inversionlab.results.run_results import RunResults

Figure = Literal["rank", "score", "own"]
BestFigure = Literal["first", "score", "own"]
Chooser = Literal["evaluator", "attacker"]


@dataclass(frozen=True)
class BestClone(Finder):
    """Of all tries at one person the one that an evaluator, or the attacker, likes best: its rank or a score.

    Of several victims the first counts.
    """

    place: int = 0
    figure: Figure = "rank"
    """The evaluator's rank of the person, its score, or the attacked model's own score."""
    chosen_by: Chooser = "evaluator"

    @property
    def compares(self) -> bool:
        """See `Finder`: it is of one person."""
        return False

    def estimate(self, results: RunResults, measured: Measured) -> Estimate:
        """See `Finder`."""
        best = best_clone(
            self.first_table(results),
            target_at(results, self.place),
            self.evaluator_of(results),
            self.chosen_by,
        )
        return replace(UNKNOWN, value=float(best[self.figure]), count=int(best["tries"]))


@dataclass(frozen=True)
class BestOfClones(Finder):
    """Over all targets, how good the try is that an evaluator likes best; the unit is the person."""

    figure: BestFigure = "first"
    """The share of people whose best try has the evaluator's first rank, or the mean of its score, or of the
    attacked model's own."""

    @property
    def share(self) -> bool:
        """See `Finder`."""
        return self.figure == "first"

    def estimate(self, results: RunResults, measured: Measured) -> Estimate:
        """See `Finder`."""
        figure_N, person_N = self._best(results)
        if self.figure == "first":
            return by_person(figure_N == 1, person_N)
        mean = mean_by_person(figure_N, person_N)
        # A score lies in [0, 1], whatever Student's interval of few people says.
        return replace(mean, low=max(mean.low, 0.0), high=min(mean.high, 1.0))

    def of_person(self, results: RunResults, measured: Measured) -> Mapping[int, float]:
        """See `Finder`."""
        return person_means(*self._best(results))

    def _best(self, results: RunResults) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
        """The figure of each person's best try on each victim, and at whom it is."""
        evaluator, figures, people = self.evaluator_of(results), [], []
        for table in self.tables(results).values():
            for person in sorted(set(table["target"].to_pylist())):
                clone = best_clone(table, person, evaluator, "evaluator")
                first = self.figure == "first"
                figures.append(float(clone["rank"] == 1 if first else clone[self.figure]))
                people.append(person)
        return np.array(figures), np.array(people, np.int64)


def best_clone(table: pa.Table, target: int, evaluator: str, chosen_by: Chooser) -> dict[str, Any]:
    """Of the tries at a target the one of best rank, then score, by the evaluator, or of highest own score.

    Its `rank`, `score` and `own` score, `repeat`, `picture`, and how many `tries` there are; raises NotRunError
    without any.
    """
    columns = ["repeat", "confidence", "picture", "verdicts"]
    mine = table.filter(pc.equal(table["target"], target)).select(columns)
    tries = []
    for item in mine.to_pylist():
        said = next((v for v in item["verdicts"] or () if v["evaluator"] == evaluator), None)
        if said is not None:
            known = {"rank": said["rank"], "score": said["score"], "own": item["confidence"]}
            tries.append({**known, "repeat": item["repeat"], "picture": item["picture"]})
    if not tries:
        raise NotRunError("there are no reconstructions of this person")

    def order(clone: dict[str, Any]) -> tuple[float, float]:
        if chosen_by == "attacker":
            return -clone["own"], clone["repeat"]
        return clone["rank"], -clone["score"]

    best: dict[str, Any] = min(tries, key=order)
    return best | {"tries": len(tries)}
