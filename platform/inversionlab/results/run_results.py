"""A run's rows, which of them are strongest, and which defense setting to recommend."""

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Self

from inversionlab.metrics import Estimate, paired
from inversionlab.metrics.difference import Difference, paired_difference
from inversionlab.results import ranking
from inversionlab.results.comparison_rows import ComparisonRow, comparison_rows
from inversionlab.results.evaluator_results import PROTOCOL_NOTES, Metric, metrics_at
from inversionlab.results.guessing import key_of
from inversionlab.results.load import RunData
from inversionlab.results.models import STRANGER_SCORE, Model, models_of
from inversionlab.results.priors import Prior, near_ceiling, priors_of
from inversionlab.results.ranking import Headline, Strongest
from inversionlab.results.rows import Row, headline_rows, run_guesses

MAX_LOSS_POINTS = 1.0
"""Recognition accuracy that a recommended setting may cost, in percentage points."""


@dataclass(frozen=True)
class RunResults:
    """A run and its rows, ranked at the headline evaluator."""

    run: RunData
    rows: tuple[Row, ...]
    headline: Headline = "first"

    @classmethod
    def of(cls, run: RunData, headline: Headline | None = None, frechet: bool = True) -> Self:
        """The results of a run; without `headline` its recipe says which evaluator decides.

        Without `frechet` that costly distance is NaN.
        """
        rows = tuple(headline_rows(run, frechet=frechet))
        return cls(run, rows, headline or run.record.headline)

    @property
    def judged(self) -> bool:
        """Whether private pictures were at hand; else no attack can be called the strongest."""
        return self.run.record.judged

    @cached_property
    def guesses(self) -> int:
        """k: a try succeeds if the right person is among an evaluator's first k."""
        return run_guesses(self.run)

    @property
    def success_key(self) -> str:
        """The metric that says how often tries succeed."""
        return key_of(self.guesses)

    @property
    def metrics(self) -> tuple[Metric, ...]:
        """The metrics that tables show."""
        return metrics_at(self.guesses)

    @property
    def by_own_score(self) -> list[Row]:
        """The attacks on the undefended model whose pictures it scores, in the rows' order."""
        bare = (row for row in self.rows if row.kind == "undefended")
        return [row for row in bare if not math.isnan(row.confidence)]

    @property
    def evaluators(self) -> list[str]:
        """The evaluators' names in the recipe's order."""
        return list(self.run.evaluators["evaluator"].to_pylist())

    @cached_property
    def comparisons(self) -> list[ComparisonRow]:
        """The ceiling and chance, which every table of success holds beside attacks; none without evaluators."""
        return comparison_rows(self.run)

    @property
    def evaluator_notes(self) -> list[str]:
        """What the evaluators are, in words, in the recipe's order; "" for those that were trained here."""
        table = self.run.evaluators.select(["protocol", "network"]).to_pylist()
        return [PROTOCOL_NOTES.get(e["protocol"] or "", "").format(e["network"]) for e in table]

    @cached_property
    def measured_models(self) -> dict[str, Model]:
        """Every measured model by its id; several that are one row by the first one's."""
        return models_of(self.run)

    @cached_property
    def stranger_score(self) -> float:
        """How sure the undefended model is of strangers' faces, 0 to 1; NaN where it is not known."""
        known, rows = self.measured_models, (r for r in self.rows if r.kind == "undefended")
        found = (known[r.protected].facts.get(STRANGER_SCORE) for r in rows if r.protected in known)
        return next((score for score in found if score is not None), math.nan)

    @cached_property
    def priors(self) -> list[Prior]:
        """The attackers' generators whose ceilings are measured."""
        return priors_of(self.run, self.guesses)

    @cached_property
    def near_ceiling(self) -> list[tuple[Row, Prior]]:
        """The attacks on the undefended model that find nearly all that their generators can make."""
        return near_ceiling(self.rows, self.priors)

    @cached_property
    def models(self) -> dict[str, list[Row]]:
        """The attacks on each released model, by the model's id, the undefended one first."""
        found: dict[str, list[Row]] = {}
        for row in sorted(self.rows, key=lambda row: row.kind != "undefended"):
            if row.kind != "null":
                found.setdefault(row.protected, []).append(row)
        return found

    @property
    def defended(self) -> bool:
        """Whether any model is defended."""
        return any(row.kind == "defended" for row in self.rows)

    def strongest(self, rows: Iterable[Row], evaluator: int | None = None) -> Strongest[Row] | None:
        """The attack that succeeds most often among `rows`; None where none was evaluated.

        Args:
            rows: attacks on one model.
            evaluator: the evaluator that decides, by its place; None: the headline evaluator.
        """

        def success(row: Row) -> list[Estimate]:
            shares = [result.success for result in row.by_evaluator]
            return shares if evaluator is None else shares[evaluator : evaluator + 1]

        among = list(rows)
        floors = all(row.kind == "null" or row.cell.floor for row in among)
        found = ranking.strongest(
            among,
            success,
            headline=self.headline,
            aside=lambda row: row.inverts_outputs or (row.cell.floor and not floors),
        )
        return found if found is None or evaluator is None else replace(found, evaluator=evaluator)

    @cached_property
    def undefended(self) -> Strongest[Row] | None:
        """The strongest attack on the undefended model."""
        return self.strongest(r for r in self.rows if r.kind == "undefended")

    def null_by(self, evaluator: int | None) -> Strongest[Row] | None:
        """What succeeds most often by one evaluator without inverting: a null attack, or a public look-alike."""
        floors = (r for r in self.rows if r.kind == "null" or (r.cell.floor and r.cell.baseline))
        return self.strongest(floors, evaluator)

    @cached_property
    def null(self) -> Strongest[Row] | None:
        """The null attack that succeeds most often, by the evaluator that decides on the undefended model."""
        return self.null_by(self.headline_evaluator if self.undefended else None)

    @cached_property
    def best(self) -> Strongest[Row] | None:
        """The finalist with the lowest success of its strongest attack; of equals, the more accurate."""
        return min(
            self.finalists, key=lambda f: (f.success.value, f.attack.loss_points), default=None
        )

    @cached_property
    def finalists(self) -> list[Strongest[Row]]:
        """The strongest attacks on the defended models that may be recommended.

        These lose at most `MAX_LOSS_POINTS` of accuracy, and every attack on them is finished.
        """
        finalists = []
        for rows in self.models.values():
            # An idle defense releases the undefended model, so rows of both kinds may be here.
            group = [row for row in rows if row.kind == "defended"]
            # An unknown loss (NaN) fails the comparison. The 1e-9 lets a computed loss of 1 point pass.
            if all(r.complete and r.loss_points <= MAX_LOSS_POINTS + 1e-9 for r in group):
                found = self.strongest(group)
                finalists += [found] if found else []
        return finalists

    @property
    def helps(self) -> bool:
        """Whether `best` leaves clearly less than the undefended model, as `by_chance` tells."""
        return self.by_chance < paired.CLEAR

    @cached_property
    def by_chance(self) -> float:
        """How likely `best` leaves as much less than the undefended model by chance alone; 1 if there is neither.

        p of a paired test on the same people, corrected for the number of finalists.
        """
        if self.best is None or self.undefended is None:
            return 1.0
        chances = [paired.fewer(_found(self.undefended), _found(f)) for f in self.finalists]
        return paired.holm(chances)[self.finalists.index(self.best)]

    @cached_property
    def beats_look_alike(self) -> dict[str, float]:
        """Of each attack on the undefended model how likely it beats a look-alike by so much by chance alone.

        The one-sided p of a paired test on the same people, corrected for the number of attacks (Holm), by the
        attack's title; empty where no look-alike was tried.
        """
        place = self.headline_evaluator
        bare = [row for row in self.rows if row.kind == "undefended" and row.by_evaluator]
        floor = next((row for row in bare if row.cell.floor), None)
        tried = [row for row in bare if not row.cell.floor]
        if floor is None:
            return {}
        least = floor.by_evaluator[place].success_of
        chances = [paired.fewer(row.by_evaluator[place].success_of, least) for row in tried]
        return dict(zip((row.attack for row in tried), paired.holm(chances), strict=True))

    def above_guess(self, found: Strongest[Row]) -> bool:
        """Whether an attack finds clearly more than guessing does: the interval of the difference lies above 0."""
        above = self.above(found)
        return above is not None and above.clear

    def above(self, found: Strongest[Row]) -> Difference | None:
        """How much more an attack finds than guessing without the model, by the same evaluator."""
        null = self.null_by(found.evaluator)
        return None if null is None else _difference(found, null)

    def spared(self, found: Strongest[Row]) -> Difference | None:
        """How much more the strongest attack finds undefended; None where another evaluator decided there."""
        bare = self.undefended
        if bare is None or bare.evaluator != found.evaluator:
            return None
        return _difference(bare, found)

    def chance(self, evaluator: int) -> float:
        """The success of blind guesses among the people whom an evaluator knows; NaN where that is not known."""
        blind = next((row for row in self.comparisons if row.kind == "chance"), None)
        found = blind and blind.by_evaluator[evaluator].get(self.success_key)
        return found.value if isinstance(found, Estimate) else math.nan

    @property
    def recommended(self) -> str | None:
        """Id of the recommended model; None where no defense clearly helps."""
        return self.best.attack.protected if self.best and self.helps else None

    @property
    def headline_evaluator(self) -> int:
        """The place of the evaluator that decides; with `headline: worst` the one that decides undefended."""
        return self.undefended.evaluator if self.undefended else 0


def _difference(first: Strongest[Row], second: Strongest[Row]) -> Difference:
    return paired_difference(first.success, second.success, _found(first), _found(second))


def _found(found: Strongest[Row]) -> Mapping[int, float]:
    """The share of the tries at each target that succeeded."""
    return found.attack.by_evaluator[found.evaluator].success_of
