"""How one figure of ours is found in stored runs: a small frozen object for each kind of figure."""

import math
from abc import abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Literal

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from inversionlab.metrics import Estimate, by_person, wilson
from inversionlab.metrics.mean_by_person import mean_by_person
from inversionlab.metrics.paired import person_shares
from inversionlab.results.models import Model, models_of
from inversionlab.results.rows import Row
from inversionlab.results.run_record import Kind
from inversionlab.results.run_results import RunResults
from inversionlab.results.verdicts import Verdicts, numbers

Measured = Mapping[str, Any]
"""What a measure found, by name: numbers, or lists of them for charts."""
ANSWERS = "answers"
"""The measure that people's answers are (`blind.py`)."""
NO_ANSWERS = "nobody has answered the page of blind pictures"
NO_MODEL = "no model"
"""The `model` of null attacks."""
KINDS: Mapping[str, Kind] = {"none": "undefended", NO_MODEL: "null"}
UNKNOWN = Estimate(math.nan, math.nan, math.nan, 0)


class NotRunError(Exception):
    """A figure is not there; the text says why."""


@dataclass(frozen=True)
class Value:
    """One of our figures. A share is 0 to 1; ends of an interval that is not known are NaN."""

    estimate: Estimate
    share: bool
    runs: tuple[str, ...] = ()
    """The runs that it was found in."""
    of_person: Mapping[int, float] = field(default_factory=dict)
    """The same for each attacked person, where people are its unit; figures of the same people are compared in
    pairs."""


@dataclass(frozen=True)
class Finder:
    """Finds one figure in the runs of one recipe; each kind reads those of the fields that it needs."""

    recipe: str
    """The recipe's name in the paper's file of recipes."""
    model: str = "none"
    """The defense's title in the recipe; "none" is the undefended model, "no model" no model at all."""
    attack: str = ""
    """The attack's title in the recipe."""
    evaluator: str = ""
    """Whose verdict; empty: the recipe's first evaluator."""
    point: float | None = None
    """The value of the swept setting."""

    @property
    def share(self) -> bool:
        """Whether the figure is a share, 0 to 1."""
        return False

    @property
    def measure(self) -> str:
        """What has to be measured besides the attacks; empty: nothing."""
        return ""

    @abstractmethod
    def estimate(self, runs: Sequence[RunResults], measured: Sequence[Measured]) -> Estimate:
        """The figure; raises NotRunError where it is not there."""

    def find(self, runs: Sequence[RunResults], measured: Sequence[Measured]) -> Value:
        """The figure in these runs, one or more; raises NotRunError where it is not there."""
        found = self.estimate(runs, measured)
        if math.isnan(found.value):
            raise NotRunError("not measured in this run")
        return Value(found, self.share, tuple(r.run.record.run for r in runs), self.of_person(runs))

    def of_person(self, runs: Sequence[RunResults]) -> Mapping[int, float]:
        """The figure for each attacked person; empty where people are not its unit."""
        return {}

    def rows(self, results: RunResults) -> list[Row]:
        """The attacks on the model as it is released; raises NotRunError without any."""
        found = [row for row in results.rows if self._is_mine(row)]
        if not found:
            where = "" if self.point is None else f" at {self.point:g}"
            raise NotRunError(f"`{self.model}`{where} is not in the run")
        return found

    def _is_mine(self, row: Row) -> bool:
        if self.model in KINDS:
            return row.kind == KINDS[self.model]
        titled = (row.cell.title or row.cell.defense) == self.model
        return row.kind == "defended" and titled and not row.stripped and row.point == self.point

    def row(self, results: RunResults) -> Row:
        """The attack's row; raises NotRunError where it is not there or not finished."""
        found = [row for row in self.rows(results) if row.attack == self.attack]
        if not found:
            raise NotRunError(f"`{self.attack}` on `{self.model}` is not in the run")
        if not found[0].complete:
            raise NotRunError(f"only {found[0].done} of {found[0].wanted} tries are stored")
        return found[0]

    def table(self, results: RunResults) -> pa.Table:
        """The attack's reconstructions; raises as `row` does."""
        cells = pa.array([cell.cell for cell in self.row(results).cells])
        stored = results.run.reconstructions
        return stored.filter(pc.is_in(stored["cell"], value_set=cells))

    def evaluator_of(self, results: RunResults) -> str:
        """The evaluator's name; raises NotRunError where there is none of this name."""
        if not results.evaluators or self.evaluator not in ("", *results.evaluators):
            raise NotRunError(f"there is no evaluator `{self.evaluator}`")
        return self.evaluator or results.evaluators[0]


@dataclass(frozen=True)
class Accuracy(Finder):
    """How many test pictures a model recognizes; of several runs the mean, as each has the same pictures."""

    people: Literal["all", "targets"] = "all"

    @property
    def share(self) -> bool:
        """See `Finder`."""
        return True

    def estimate(self, runs: Sequence[RunResults], measured: Sequence[Measured]) -> Estimate:
        """See `Finder`."""
        found = []
        for results in runs:
            row = self.rows(results)[0]
            share = row.accuracy_all if self.people == "all" else row.accuracy_targets
            if share is None or not share.count:
                raise NotRunError("the model has not been measured")
            found.append(share)
        if self.people == "targets" and len(found) > 1:
            # Each run has another person, so these are other pictures.
            hits = sum(round(share.value * share.count) for share in found)
            return wilson(hits, sum(share.count for share in found))
        value, low, high = np.array([(s.value, s.low, s.high) for s in found]).mean(0).tolist()
        return Estimate(value, low, high, found[0].count)


@dataclass(frozen=True)
class OfMeasurements(Finder):
    """A number of `results.models.Model`, such as `log_distortion`; of several runs, the unit, the mean."""

    key: str = "log_distortion"

    def estimate(self, runs: Sequence[RunResults], measured: Sequence[Measured]) -> Estimate:
        """See `Finder`."""
        found = []
        for results in runs:
            known = models_of(results.run)
            model = known.get(self.rows(results)[0].protected, Model())
            found.append(float(getattr(model, self.key)))
        return mean_by_person(np.array(found), np.arange(len(found)))


@dataclass(frozen=True)
class Success(Finder):
    """Share of the tries whose target is among the evaluator's first `top`; the unit is the person."""

    top: int = 1
    place: int | None = None
    """Only the target of this place in the draw, whose tries are then the unit; None: all."""

    @property
    def share(self) -> bool:
        """See `Finder`."""
        return True

    def estimate(self, runs: Sequence[RunResults], measured: Sequence[Measured]) -> Estimate:
        """See `Finder`."""
        hit_N, person_N = self._hits(runs)
        if not hit_N.size:
            raise NotRunError("there are no reconstructions of this person")
        if self.place is not None:
            return wilson(int(hit_N.sum()), len(hit_N))
        return by_person(hit_N, person_N)

    def of_person(self, runs: Sequence[RunResults]) -> Mapping[int, float]:
        """See `Finder`."""
        return {} if self.place is not None else person_shares(*self._hits(runs))

    def _hits(self, runs: Sequence[RunResults]) -> tuple[NDArray[np.bool_], NDArray[np.int64]]:
        """Whether each try hits, and at whom it is."""
        hits, people = [], []
        for results in runs:
            said = Verdicts.read(self.table(results), self.evaluator_of(results))
            mine_N = np.ones(len(said.rank_N), bool)
            if self.place is not None:
                mine_N = said.person_N == target_at(results, self.place)
            hits.append(said.rank_N[mine_N] <= self.top)
            people.append(said.person_N[mine_N])
        return np.concatenate(hits), np.concatenate(people)


@dataclass(frozen=True)
class InvertedError(Finder):
    """Mean squared error per pixel to the pictures whose score vectors were inverted; the unit is the person."""

    def estimate(self, runs: Sequence[RunResults], measured: Sequence[Measured]) -> Estimate:
        """See `Finder`."""
        return mean_by_person(*self._errors(runs))

    def of_person(self, runs: Sequence[RunResults]) -> Mapping[int, float]:
        """See `Finder`."""
        error_N, person_N = self._errors(runs)
        return {int(p): float(error_N[person_N == p].mean()) for p in np.unique(person_N)}

    def _errors(self, runs: Sequence[RunResults]) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
        """The error of each try, and at whom it is."""
        table = pa.concat_tables([self.table(results) for results in runs])
        return numbers(table["error"]), numbers(table["target"]).astype(np.int64)


@dataclass(frozen=True)
class OfPictures(Finder):
    """A metric of a row's pictures by its key, such as `frechet`; of several runs the mean."""

    key: str = "frechet"

    def estimate(self, runs: Sequence[RunResults], measured: Sequence[Measured]) -> Estimate:
        """See `Finder`."""
        found = []
        for results in runs:
            place = results.evaluators.index(self.evaluator_of(results))
            value = self.row(results).by_evaluator[place].metrics[self.key]
            found.append(value.value if isinstance(value, Estimate) else value)
        return replace(UNKNOWN, value=sum(found) / len(found), count=len(found))


@dataclass(frozen=True)
class EvaluatorAccuracy(Finder):
    """How many real test pictures an evaluator recognizes."""

    @property
    def share(self) -> bool:
        """See `Finder`."""
        return True

    def estimate(self, runs: Sequence[RunResults], measured: Sequence[Measured]) -> Estimate:
        """See `Finder`."""
        for row in runs[0].run.evaluators.to_pylist():
            if self.evaluator in ("", row["evaluator"]) and row["total"]:
                return wilson(row["correct"], row["total"])
        raise NotRunError(f"the evaluator `{self.evaluator}` has not been measured")


@dataclass(frozen=True)
class OfMeasure(Finder):
    """A number of a measure in `measures.py`."""

    of: str = ""
    """The measure's name."""
    key: str = ""
    is_share: bool = False

    @property
    def measure(self) -> str:
        """See `Finder`."""
        return self.of

    @property
    def share(self) -> bool:
        """See `Finder`."""
        return self.is_share

    def estimate(self, runs: Sequence[RunResults], measured: Sequence[Measured]) -> Estimate:
        """See `Finder`."""
        known = measured[0].get(self.of) if measured else None
        if known is None or self.key not in known:
            why = f"`{self.of}` has not been measured"
            raise NotRunError(NO_ANSWERS if self.of == ANSWERS else why)
        found = known[self.key]
        return Estimate(found["value"], found["low"], found["high"], found["count"])


def target_at(results: RunResults, place: int) -> int:
    """The number of the target at this place of the draw; raises NotRunError where there are fewer."""
    targets = results.run.record.jobs.targets
    if place >= len(targets):
        raise NotRunError(f"the run has {len(targets)} targets only")
    return targets[place]
