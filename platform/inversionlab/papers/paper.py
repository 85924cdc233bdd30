"""What a paper's file declares: its tables and figures, what ours are found by, and what they should show."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from typing import Literal

from inversionlab.papers.finder import DECOYS, Finder

Scale = Literal["tiny", "small", "paper"]
SCALES: tuple[Scale, ...] = ("tiny", "small", "paper")
"""tiny: made-up faces, in minutes. small: LFW, ORL and MNIST, in hours. paper: its own data sets and sizes."""


@dataclass(frozen=True)
class Cell:
    """One figure of ours."""

    row: str
    column: str
    finder: Finder | None = None
    """How it is found in the stored runs; None: it is not run, and `why` says why."""
    why: str = ""

    @property
    def place(self) -> tuple[str, str]:
        """Row and column."""
        return self.row, self.column


@dataclass(frozen=True)
class Claim:
    """What a paper says of two figures: `larger` exceeds `smaller`, or falls short of it by `slack` at most.

    Both are cells of the claim's table, by row and column.
    """

    text: str
    """In words."""
    smaller: tuple[str, str]
    larger: tuple[str, str]
    slack: float = 0.0
    """In the cells' unit as stored: shares are 0 to 1."""
    ours: bool = False
    """Whether it is ours: the paper does not say so, and the table's status does not count it."""


@dataclass(frozen=True)
class Reason:
    """Why figures of ours differ from the paper's, where that is more than noise."""

    text: str
    """A sentence."""
    rows: str = "*"
    """The rows that it is about, a pattern as of file names."""
    columns: str = "*"
    """The columns, likewise."""
    side: Literal["", "above", "below"] = ""
    """Only where ours is above the paper's, or below; empty: both."""

    def fits(self, row: str, column: str, side: str) -> bool:
        """Whether it is about a figure of ours in this cell, on this side of the paper's."""
        mine = fnmatchcase(row, self.rows) and fnmatchcase(column, self.columns)
        return mine and self.side in ("", side)


@dataclass(frozen=True)
class Pictures:
    """A grid of pictures: a row for each attack on a model, a column for each person."""

    recipe: str
    rows: tuple[tuple[str, str, str, float | None], ...]
    """Heading, attack, model, and the value of the swept setting."""
    real: bool = True
    """Whether a row shows the people's real pictures."""
    synthetic: bool = False
    """Whether a row shows what the defense leads to."""
    decoys: bool = False
    """Whether a row shows the public people of the protected labels (`face_distances.py`)."""
    clones: int = 0
    """Not 0: so many tries at each person below one another, of the only row."""
    best_by_evaluator: bool = False
    """Whether of several tries the one that the evaluator ranks best is shown, not the attacker's choice."""


@dataclass(frozen=True)
class Blind:
    """Pictures that a page shows blind to people (`blind.py`)."""

    title: str
    recipe: str
    attacks: tuple[tuple[str, str], ...]
    """Headings and titles of the attacks on the undefended model."""


@dataclass(frozen=True)
class Table:
    """A table or figure of a paper."""

    key: str
    """What `--only` takes: "table2", "fig5"."""
    title: str
    cells: tuple[Cell, ...] = ()
    claims: tuple[Claim, ...] = ()
    pictures: tuple[Pictures, ...] = ()
    drawn: str = ""
    """The name of the column that a chart has at its x axis; rows end with the number: "alpha = 0.25"."""
    stand_in: str = ""
    """What our data at the small scale stands in for."""
    differs: tuple[str, ...] = ()
    """What is not as in the paper, whatever the scale: sentences."""
    reasons: tuple[Reason, ...] = ()
    """Why figures at the scale `small` differ beyond noise; the first that fits a cell is shown beside it."""
    why_not: str = ""
    """Why nothing of it is run."""
    every: int = 1
    """A page shows every so many-th row, and all that the paper prints; the other tables hold all."""
    wants: tuple[str, ...] = field(default=())
    """Recipes that it needs besides those of its cells and pictures."""

    @property
    def recipes(self) -> tuple[str, ...]:
        """The recipes that it needs, each once."""
        finders = (cell.finder for cell in self.cells if cell.finder is not None)
        named = (*(f.recipe for f in finders), *(p.recipe for p in self.pictures), *self.wants)
        return tuple(dict.fromkeys(named))

    @property
    def measures(self) -> tuple[tuple[str, str], ...]:
        """What is measured besides attacks: pairs of a recipe and a measure."""
        finders = [cell.finder for cell in self.cells if cell.finder is not None]
        asked = [(f.recipe, f.measure) for f in finders if f.measure]
        return tuple(
            dict.fromkeys([*asked, *((p.recipe, DECOYS) for p in self.pictures if p.decoys)])
        )


@dataclass(frozen=True)
class Paper:
    """One paper."""

    name: str
    title: str
    cites: str
    tables: tuple[Table, ...]
    about: tuple[str, ...] = ()
    """What a reader of the tables should know of the paper itself: sentences."""
    blind: Blind | None = None
    """What people are asked, where a table needs their answers."""

    def table(self, key: str) -> Table:
        """One of its tables by its key; KeyError for another."""
        return {table.key: table for table in self.tables}[key]


def grid(
    rows: Sequence[tuple[str, Sequence[tuple[str, Finder | str]]]],
) -> tuple[Cell, ...]:
    """Cells by row; a text in place of a finder says why the cell is not run."""
    return tuple(
        Cell(row, column, why=how) if isinstance(how, str) else Cell(row, column, how)
        for row, cells in rows
        for column, how in cells
    )
