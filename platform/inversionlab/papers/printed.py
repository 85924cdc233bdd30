"""The figures that a paper prints, out of `printed/NAME.csv`, which a page, a test and a reader share.

Columns: `table`, `row`, `column` (where it stands in our tables), `sign` ("<=": "at most" in the paper), `value`,
`unit` ("%" or ""), `text` (as printed), `tries` (how many it is a share of, where the paper says), `units` (how
many of these count as independent), `where` (section or table of the paper), `quote` (for a figure out of a
sentence, the words around it; a figure without one stands in a row of a table, with its neighbours) and `note`.
"""

import csv
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from inversionlab.core.settings import ConfigError
from inversionlab.metrics import Estimate
from inversionlab.metrics.wilson import Z_95, wilson_ends

FOLDER = Path(__file__).resolve().parent / "printed"
COLUMNS = (
    *("table", "row", "column", "sign", "value", "unit", "text", "tries", "units"),
    *("where", "quote", "note"),
)
SIGNS = ("", "<", "<=", ">", ">=")
UNITS = ("", "%")
Place = tuple[str, str, str]
"""Table, row, column."""


@dataclass(frozen=True)
class Printed:
    """One figure as a paper prints it."""

    table: str
    row: str
    column: str
    sign: str
    value: float
    """In its unit: 80 for 80 %."""
    unit: str
    text: str
    tries: int | None
    units: int | None
    where: str
    quote: str
    note: str

    @property
    def place(self) -> Place:
        """Where it stands in our tables."""
        return self.table, self.row, self.column

    @property
    def shown(self) -> str:
        """With its sign, as a page shows it."""
        return f"{self.sign} {self.text}".strip()

    @property
    def share(self) -> Estimate | None:
        """A percentage as a share; its interval is a point where the paper does not say of how many tries."""
        if self.unit != "%":
            return None
        share = self.value / 100
        low, high = wilson_ends(share, self.units, Z_95) if self.units else (share, share)
        return Estimate(share, low, high, self.tries or 0)


def read_printed(path: Path) -> tuple[Printed, ...]:
    """The figures of a file, in its order.

    Raises:
        ConfigError: the file is missing, has other columns, or a line is wrong; the text names file and line.
    """
    try:
        with path.open(encoding="utf-8", newline="") as file:
            lines = csv.DictReader(file)
            if tuple(lines.fieldnames or ()) != COLUMNS:
                raise ConfigError(f"{path}: the columns should be {', '.join(COLUMNS)}")
            found = [_figure(path, lines.line_num, line) for line in lines]
    except OSError as error:
        raise ConfigError(f"{path}: cannot be read: {error}") from error
    seen: set[Place] = set()
    for figure in found:
        if figure.place in seen:
            raise ConfigError(f"{path}: {' / '.join(figure.place)} is there twice")
        seen.add(figure.place)
    return tuple(found)


def printed(paper: str) -> tuple[Printed, ...]:
    """The figures of a paper by its name; raises as `read_printed` does."""
    return read_printed(FOLDER / f"{paper}.csv")


def _figure(path: Path, number: int, line: Mapping[str, str]) -> Printed:
    def wrong(column: str, right: str) -> ConfigError:
        return ConfigError(f"{path}, line {number}: {column} = {line[column]}: should be {right}")

    def count(column: str) -> int | None:
        if not (text := line[column]):
            return None
        if not text.isdecimal() or int(text) < 1:
            raise wrong(column, "a whole number from 1 on, or empty")
        return int(text)

    if None in line.values() or None in line:
        raise ConfigError(f"{path}, line {number}: should have {len(COLUMNS)} columns")
    try:
        value = float(line["value"])
    except ValueError:
        raise wrong("value", "a number") from None
    if line["sign"] not in SIGNS:
        raise wrong("sign", f"one of {', '.join(filter(None, SIGNS))}, or empty")
    if line["unit"] not in UNITS:
        raise wrong("unit", "% or empty")
    for column in ("table", "row", "column", "text", "where"):
        if not line[column]:
            raise wrong(column, "given")
    return Printed(
        table=line["table"],
        row=line["row"],
        column=line["column"],
        sign=line["sign"],
        value=value,
        unit=line["unit"],
        text=line["text"],
        tries=count("tries"),
        units=count("units"),
        where=line["where"],
        quote=line["quote"],
        note=line["note"],
    )
