"""How one figure of ours is found in stored runs: a small frozen object for each kind of figure."""

import math
from abc import abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from inversionlab.metrics import Estimate, by_person, wilson
from inversionlab.metrics.mean_by_person import mean_by_person
from inversionlab.metrics.paired import person_shares
from inversionlab.results.models import Model
from inversionlab.results.rows import Row
from inversionlab.results.run_record import Kind
from inversionlab.results.run_results import RunResults
from inversionlab.results.verdicts import Verdicts, numbers

Measured = Mapping[str, Any]
"""What a measure found, by name: numbers, or lists of them for charts."""
ANSWERS = "answers"
"""The measure that people's answers are (`blind.py`)."""
DECOYS = "decoy_labels"
"""The measure of whom Gong's defense leads to (`measures.py`)."""
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
    run: str = ""
    """The run that it was found in."""
    of_person: Mapping[int, float] = field(default_factory=dict)
    """The same for each person, where people are its unit; figures of the same people are compared in pairs."""
    pictures_of: Mapping[int, float] = field(default_factory=dict)
    """Of an accuracy the test pictures of each of these people, by which they count."""


@dataclass(frozen=True)
class Finder:
    """Finds one figure in the run of one recipe; each kind reads those of the fields that it needs."""

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
    def compares(self) -> bool:
        """Whether ours less the paper's says anything. Of single people, or by an evaluator's scale, no."""
        return True

    @property
    def measure(self) -> str:
        """What has to be measured besides the attacks; empty: nothing."""
        return ""

    @property
    def costly(self) -> bool:
        """Whether it needs the numbers of a run that take long, such as Fréchet distances."""
        return False

    @abstractmethod
    def estimate(self, results: RunResults, measured: Measured) -> Estimate:
        """The figure; raises NotRunError where it is not there."""

    def find(self, results: RunResults, measured: Measured) -> Value:
        """The figure in a run; raises NotRunError where it is not there."""
        found = self.estimate(results, measured)
        if math.isnan(found.value):
            raise NotRunError("not measured in this run")
        people = self.of_person(results, measured)
        run = results.run.record.run
        return Value(found, self.share, run, people, self.pictures_of(results))

    def of_person(self, results: RunResults, measured: Measured) -> Mapping[int, float]:
        """The figure for each person; empty where people are not its unit."""
        return {}

    def pictures_of(self, results: RunResults) -> Mapping[int, float]:
        """The test pictures of each of these people, where people count by them."""
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
        return pa.concat_tables(self.tables(results).values())

    def tables(self, results: RunResults) -> dict[int | None, pa.Table]:
        """The same by the seed of the victim, None where the run has one; raises as `row` does."""
        cells: dict[int | None, list[str]] = {}
        for cell in self.row(results).cells:
            cells.setdefault(cell.seed, []).append(cell.cell)
        stored = results.run.reconstructions
        return {
            seed: stored.filter(pc.is_in(stored["cell"], value_set=pa.array(mine)))
            for seed, mine in cells.items()
        }

    def first_table(self, results: RunResults) -> pa.Table:
        """Those on the only victim, or on the first of several; raises as `row` does."""
        return next(iter(self.tables(results).values()))

    def evaluator_of(self, results: RunResults) -> str:
        """The evaluator's name; raises NotRunError where there is none of this name."""
        if not results.evaluators or self.evaluator not in ("", *results.evaluators):
            raise NotRunError(f"there is no evaluator `{self.evaluator}`")
        return self.evaluator or results.evaluators[0]


@dataclass(frozen=True)
class Accuracy(Finder):
    """How many test pictures a model recognizes; of several models for as many people, or victims, the mean."""

    people: Literal["all", "targets"] = "all"

    @property
    def share(self) -> bool:
        """See `Finder`."""
        return True

    def estimate(self, results: RunResults, measured: Measured) -> Estimate:
        """See `Finder`."""
        row = self.rows(results)[0]
        share = row.accuracy_all if self.people == "all" else row.accuracy_targets
        if share is None or not share.count:
            raise NotRunError("the model has not been measured")
        return share

    def of_person(self, results: RunResults, measured: Measured) -> Mapping[int, float]:
        """See `Finder`."""
        correct_of, total_of, _ = self._counts(results)
        pairs = enumerate(zip(correct_of, total_of, strict=True))
        return {person: correct / total for person, (correct, total) in pairs if total}

    def pictures_of(self, results: RunResults) -> Mapping[int, float]:
        """See `Finder`."""
        _, total_of, models = self._counts(results)
        return {person: total / models for person, total in enumerate(total_of) if total}

    def _counts(self, results: RunResults) -> tuple[tuple[int, ...], tuple[int, ...], int]:
        """Of each person the test pictures that are recognized, and all of them; how often each was shown."""
        model = results.measured_models.get(self.rows(results)[0].protected, Model())
        if self.people == "all":
            return model.correct_of, model.total_of, model.models
        return model.aimed_correct_of, model.aimed_total_of, model.victims


@dataclass(frozen=True)
class OfMeasurements(Finder):
    """A number of `results.models.Model`, such as `log_distortion`, or its mean over the attacked people."""

    key: str = "log_distortion"

    def estimate(self, results: RunResults, measured: Measured) -> Estimate:
        """See `Finder`."""
        found_M = self._found(results)
        return mean_by_person(found_M, np.arange(len(found_M)))

    def of_person(self, results: RunResults, measured: Measured) -> Mapping[int, float]:
        """See `Finder`."""
        found_M, targets = self._found(results), results.run.record.jobs.targets
        # Where some of the networks that protect one person each are missing, nobody knows whose are there.
        whole = len(found_M) == len(targets) > 1
        return dict(zip(targets, found_M.tolist(), strict=True)) if whole else {}

    def _found(self, results: RunResults) -> NDArray[np.float64]:
        """The number, or one for each attacked person."""
        model = results.measured_models.get(self.rows(results)[0].protected, Model())
        return np.array(getattr(model, self.key), float).reshape(-1)


@dataclass(frozen=True)
class Success(Finder):
    """Share of the tries whose target is among the evaluator's first `top`; the unit is the person."""

    top: int = 1
    place: int | None = None
    """Only the target of this place in the draw, whose tries are then the unit; None: all."""

    @property
    def compares(self) -> bool:
        """See `Finder`."""
        return self.place is None

    @property
    def share(self) -> bool:
        """See `Finder`."""
        return True

    def estimate(self, results: RunResults, measured: Measured) -> Estimate:
        """See `Finder`."""
        hit_N, person_N = self._hits(results)
        if not hit_N.size:
            raise NotRunError("there are no reconstructions of this person")
        if self.place is not None:
            return wilson(int(hit_N.sum()), len(hit_N))
        return by_person(hit_N, person_N)

    def of_person(self, results: RunResults, measured: Measured) -> Mapping[int, float]:
        """See `Finder`."""
        return {} if self.place is not None else person_shares(*self._hits(results))

    def _hits(self, results: RunResults) -> tuple[NDArray[np.bool_], NDArray[np.int64]]:
        """Whether each try hits, and at whom it is."""
        said = Verdicts.read(self.table(results), self.evaluator_of(results))
        mine_N = np.ones(len(said.rank_N), bool)
        if self.place is not None:
            mine_N = said.person_N == target_at(results, self.place)
        return said.rank_N[mine_N] <= self.top, said.person_N[mine_N]


@dataclass(frozen=True)
class PeopleFound(Success):
    """The share of the attacked people at whom at most a share `most` of the tries succeeds."""

    most: float = 0.0

    def estimate(self, results: RunResults, measured: Measured) -> Estimate:
        """See `Finder`."""
        few = self.of_person(results, measured).values()
        if not few:
            raise NotRunError("there are no reconstructions")
        return wilson(round(sum(few)), len(few))

    def of_person(self, results: RunResults, measured: Measured) -> Mapping[int, float]:
        """See `Finder`: 1 for a person at whom so few succeed, else 0."""
        shares = super().of_person(results, measured)
        return {person: float(share <= self.most) for person, share in shares.items()}


@dataclass(frozen=True)
class InvertedError(Finder):
    """Mean squared error per pixel to the pictures whose score vectors were inverted; the unit is the person."""

    def estimate(self, results: RunResults, measured: Measured) -> Estimate:
        """See `Finder`."""
        return mean_by_person(*self._errors(results))

    def of_person(self, results: RunResults, measured: Measured) -> Mapping[int, float]:
        """See `Finder`."""
        error_N, person_N = self._errors(results)
        return {int(p): float(error_N[person_N == p].mean()) for p in np.unique(person_N)}

    def _errors(self, results: RunResults) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
        """The error of each try, and at whom it is."""
        table = self.table(results)
        return numbers(table["error"]), numbers(table["target"]).astype(np.int64)


@dataclass(frozen=True)
class EvaluatorAccuracy(Finder):
    """How many real test pictures an evaluator recognizes."""

    @property
    def share(self) -> bool:
        """See `Finder`."""
        return True

    def estimate(self, results: RunResults, measured: Measured) -> Estimate:
        """See `Finder`."""
        for row in results.run.evaluators.to_pylist():
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
    own_scale: bool = False
    """Whether its level depends on an evaluator, or on single people."""

    @property
    def compares(self) -> bool:
        """See `Finder`."""
        return not self.own_scale

    @property
    def measure(self) -> str:
        """See `Finder`."""
        return self.of

    @property
    def share(self) -> bool:
        """See `Finder`."""
        return self.is_share

    def estimate(self, results: RunResults, measured: Measured) -> Estimate:
        """See `Finder`."""
        known = measured.get(self.of)
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
