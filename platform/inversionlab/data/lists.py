"""The text lists that come with published sets: who is on which picture, where the face is, and where its
points."""

import csv
import io
import math
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence

from inversionlab.core.settings import ConfigError
from inversionlab.data.manifest import Listing, PictureFile, printable
from inversionlab.data.roots import Root

Box = tuple[float, float, float, float]
_FARTHEST = 1e9  # pixels; no picture is as large, and sums of such numbers stay finite


class Line(list[str]):
    """The values in a line of a list."""

    where: str
    """The list, and the number of the line."""


def rows(
    root: Root, where: str, name: str, columns: int, *, delimiter: str = ","
) -> Iterator[Line]:
    """The lines of a list, each with at least `columns` values; several blanks are one.

    Raises:
        ConfigError: it cannot be read as text, or a line is too short; the text names both.
    """
    try:
        text = root.read(name).decode("utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"{where}/{name}: cannot be read: {error}") from error
    lines = csv.reader(io.StringIO(text), delimiter=delimiter, skipinitialspace=True)
    try:
        for number, values in enumerate(lines, 1):
            if not any(values):
                continue
            line = Line(values)
            line.where = f"{where}/{name}: line {number}"
            if len(line) < columns:
                raise ConfigError(f"{line.where} has {len(line)} values, not {columns}")
            yield line
    except csv.Error as error:
        raise ConfigError(f"{where}/{name}: is no list: {error}") from error


def numbers(where: str, values: Sequence[str]) -> tuple[float, ...]:
    """Values, in pixels, as numbers.

    Raises:
        ConfigError: one is none; `where` says in which line.
    """
    return tuple(_number(where, value) for value in values)


def _number(where: str, value: str) -> float:
    try:
        number = float(value)
    except ValueError:
        number = math.nan
    # Python reads `nan`, `inf` and `1e400` too.
    if not abs(number) <= _FARTHEST:
        raise ConfigError(f"{where}: {value!a} is no number of pixels")
    return number


def corners(left: float, top: float, width: float, height: float) -> Box:
    """A box as left, top, right, bottom."""
    return left, top, left + width, top + height


def by_person(
    files: Iterable[PictureFile], skipped: Iterable[str], most: int | None = None
) -> Listing:
    """A listing, sorted by person and name, with at most `most` pictures of each person."""
    kept, taken = [], Counter[str]()
    for file in sorted(files, key=lambda file: (file.person, file.name)):
        if most is None or taken[file.person] < most:
            taken[file.person] += 1
            kept.append(file)
    return Listing(tuple(kept), printable(skipped))


def missing(names: Iterable[str], what: str) -> list[str]:
    """A line that counts these names and shows the first; none if there are none."""
    every = sorted(names)
    return [f"{what}: {len(every)} (the first: {every[0]})"] if every else []
