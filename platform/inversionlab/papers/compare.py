"""Ours beside the paper's: every cell of a table, its difference with the interval, and whether claims hold."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

import numpy as np

from inversionlab.metrics.difference import Difference, difference, paired_difference
from inversionlab.metrics.mean_by_person import mean_by_person
from inversionlab.metrics.paired import fewer
from inversionlab.metrics.paired_accuracy import paired_accuracy
from inversionlab.papers.finder import Measured, NotRunError, Value
from inversionlab.papers.paper import Claim, Reason, Table
from inversionlab.papers.printed import Printed
from inversionlab.results.run_results import RunResults

Verdict = Literal["shown", "contradicted", "open", "not run"]
"""Of a claim: its interval lies on the right side, on the wrong side, on both, or a figure is missing."""
Status = Literal[
    "reproduced",
    "partly reproduced",
    "not reproduced",
    "open",
    "no claim",
    "pictures",
    "not run",
]


@dataclass(frozen=True)
class RecipeRun:
    """The stored run of one recipe."""

    results: RunResults | None = None
    measured: Measured = field(default_factory=dict)
    """What was measured on it besides attacks, by the measure's name."""
    why_not: str = ""
    """Why there is none."""


Runs = Mapping[str, RecipeRun]
ONE_SIDED = 0.025
"""The p-value of a one-sided test that goes with one side of a 95 % interval."""


@dataclass(frozen=True)
class ComparedCell:
    """One cell of a table."""

    row: str
    column: str
    ours: Value | None
    why: str
    """Why ours is missing."""
    printed: Printed | None
    compares: bool = True
    """Whether ours less the paper's says anything."""
    reasons: tuple[Reason, ...] = ()
    """Of the table."""

    @property
    def unit(self) -> str:
        """ "%" where ours or the paper's figure is a share."""
        shared = self.ours is not None and self.ours.share
        return "%" if shared or (self.printed is not None and self.printed.unit == "%") else ""

    @property
    def apart(self) -> Difference | None:
        """Ours less the paper's, as stored: shares are 0 to 1. None where one of them is missing."""
        if self.ours is None or self.printed is None or not self.compares:
            return None
        if self.ours.share and (share := self.printed.share) is not None:
            return difference(self.ours.estimate, share)
        ours, theirs = self.ours.estimate, self.printed.value
        return Difference(ours.value - theirs, ours.low - theirs, ours.high - theirs)

    @property
    def beyond_noise(self) -> str:
        """ "above" or "below" where the difference is not noise, against what the paper says; else ""."""
        apart, sign = self.apart, "" if self.printed is None else self.printed.sign
        if apart is None:
            return ""
        if apart.low > 0 and sign not in (">", ">="):
            return "above"
        return "below" if apart.high < 0 and sign not in ("<", "<=") else ""

    @property
    def reason(self) -> str:
        """Why ours differs beyond noise; empty where it does not, or where nobody has written why."""
        side = self.beyond_noise
        fitting = (r.text for r in self.reasons if r.fits(self.row, self.column, side))
        return next(fitting, "") if side else ""


@dataclass(frozen=True)
class ComparedClaim:
    """A claim of the paper, and what our figures say of it."""

    claim: Claim
    verdict: Verdict
    apart: Difference | None
    """The larger figure less the smaller one, plus the slack."""
    p: float | None = None
    """Where the interval leaves it open and the sign-flip test of the same people decides: its p-value."""


@dataclass(frozen=True)
class ComparedTable:
    """A table with both figures in every cell."""

    table: Table
    cells: tuple[ComparedCell, ...]
    claims: tuple[ComparedClaim, ...]
    pictured: bool = False
    """Whether an experiment of its pictures was run."""
    victims: int = 0
    """From how many seeds the victim was trained, the least of its experiments; 0 where none was run."""

    @property
    def rows(self) -> tuple[str, ...]:
        """The headings of the rows, in order."""
        return tuple(dict.fromkeys(cell.row for cell in self.cells))

    @property
    def columns(self) -> tuple[str, ...]:
        """The headings of the columns, in order."""
        return tuple(dict.fromkeys(cell.column for cell in self.cells))

    @property
    def by_place(self) -> dict[tuple[str, str], ComparedCell]:
        """The cells by row and column."""
        return {(cell.row, cell.column): cell for cell in self.cells}

    @property
    def shown_rows(self) -> tuple[str, ...]:
        """The rows that a page shows."""
        told = {cell.row for cell in self.cells if cell.printed is not None}
        step, rows = self.table.every, self.rows
        return tuple(row for i, row in enumerate(rows) if i % step == 0 or row in told)

    @property
    def status(self) -> Status:
        """Whether the paper's claims hold here."""
        said = [claim.verdict for claim in self.claims if not claim.claim.ours]
        if not any(cell.ours is not None for cell in self.cells):
            return "pictures" if self.pictured else "not run"
        if not said:
            return "no claim"
        if all(verdict == "shown" for verdict in said):
            return "reproduced"
        if "shown" in said:
            return "partly reproduced"
        return "not reproduced" if "contradicted" in said else "open"


def compare(table: Table, printed: Sequence[Printed], runs: Runs) -> ComparedTable:
    """A table with ours and the paper's figures; what one of them lacks is there too, and says why."""
    theirs = {(p.row, p.column): p for p in printed if p.table == table.key}
    cells = []
    for cell in table.cells:
        ours, why = None, cell.why
        if cell.finder is not None:
            ran = runs.get(cell.finder.recipe, RecipeRun(why_not="its experiment was not run"))
            try:
                if ran.results is None:
                    raise NotRunError(ran.why_not)
                ours = cell.finder.find(ran.results, ran.measured)
            except NotRunError as error:
                why = str(error)
        compares = cell.finder is None or cell.finder.compares
        printed_here = theirs.pop(cell.place, None)
        cells.append(ComparedCell(*cell.place, ours, why, printed_here, compares, table.reasons))
    why = table.why_not or "nothing of ours corresponds to it yet"
    cells += [ComparedCell(*place, None, why, figure) for place, figure in theirs.items()]
    placed = {(cell.row, cell.column): cell for cell in cells}
    pictured = any(p.recipe in runs and runs[p.recipe].results for p in table.pictures)
    claims = tuple(_claim(claim, placed) for claim in table.claims)
    found = [runs[name].results for name in table.recipes if name in runs]
    victims = min((len(r.run.record.seeds) or 1 for r in found if r is not None), default=0)
    return ComparedTable(table, tuple(cells), claims, pictured, victims)


def _claim(claim: Claim, cells: Mapping[tuple[str, str], ComparedCell]) -> ComparedClaim:
    smaller, larger = (
        cells[place].ours if place in cells else None for place in (claim.smaller, claim.larger)
    )
    if smaller is None or larger is None:
        return ComparedClaim(claim, "not run", None)
    found, slack = _apart(larger, smaller), claim.slack
    apart = Difference(found.value + slack, found.low + slack, found.high + slack)
    if apart.low > 0:
        return ComparedClaim(claim, "shown", apart)
    if apart.high < 0:
        return ComparedClaim(claim, "contradicted", apart)
    if larger.share and not larger.pictures_of and not claim.slack:
        # Where an attack finds nobody the interval cannot know how alike the tries at a person are.
        if (p := fewer(larger.of_person, smaller.of_person)) <= ONE_SIDED:
            return ComparedClaim(claim, "shown", apart, p)
        if (p := fewer(smaller.of_person, larger.of_person)) <= ONE_SIDED:
            return ComparedClaim(claim, "contradicted", apart, p)
    return ComparedClaim(claim, "open", apart)


def _apart(larger: Value, smaller: Value) -> Difference:
    """How much larger one figure is than another; those of the same people are paired."""
    one, other = larger.estimate, smaller.estimate
    people = sorted(larger.of_person.keys() & smaller.of_person.keys())
    alike = bool(people) and larger.of_person.keys() == smaller.of_person.keys()
    if alike and larger.pictures_of and larger.pictures_of.keys() == smaller.pictures_of.keys():
        first_M, second_M, pictures_M = (
            np.array([of[p] for p in people])
            for of in (larger.of_person, smaller.of_person, larger.pictures_of)
        )
        return paired_accuracy(first_M, second_M, pictures_M)
    if larger.share and smaller.share:
        return paired_difference(one, other, larger.of_person, smaller.of_person)
    if alike:
        apart_M = np.array([larger.of_person[p] - smaller.of_person[p] for p in people])
        paired = mean_by_person(apart_M, np.array(people))
        return Difference(paired.value, paired.low, paired.high)
    # Independent estimates: the half-lengths add up by squares. An end that is not known (NaN) decides nothing.
    value = one.value - other.value
    return Difference(
        value,
        value - math.hypot(one.value - one.low, other.high - other.value),
        value + math.hypot(one.high - one.value, other.value - other.low),
    )
