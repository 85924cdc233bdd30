"""What every figure of ours has in common: where it is found, and how it compares with the paper's."""

import math
from abc import abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from inversionlab.metrics import Estimate
from inversionlab.results.rows import Row
from inversionlab.results.run_record import Kind
from inversionlab.results.run_results import RunResults

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


def target_at(results: RunResults, place: int) -> int:
    """The number of the target at this place of the draw; raises NotRunError where there are fewer."""
    targets = results.run.record.jobs.targets
    if place >= len(targets):
        raise NotRunError(f"the run has {len(targets)} targets only")
    return targets[place]
