"""The text lists that come with published sets: who is on which picture, where the face is, and where its
points."""

import csv
import io
import math
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence

from inversionlab.core.settings import ConfigError
from inversionlab.core.text import printable
from inversionlab.data.manifest import Listing, PictureFile
from inversionlab.data.roots import Root

Box = tuple[float, float, float, float]
_FARTHEST = 1e9  # pixels; no picture is as large, and sums of such numbers stay finite


class Line(list[str]):
    """What a line of a list says of a picture."""

    __slots__ = ("_list", "number")  # A list may have millions of lines.

    def __init__(self, values: Iterable[str], of: str, number: int) -> None:
        """The values in line `number` of the list `of`."""
        super().__init__(values)
        self._list, self.number = of, number

    @property
    def where(self) -> str:
        """The list, and the number of the line."""
        return f"{self._list}: line {self.number}"


def rows(
    root: Root, where: str, name: str, columns: int, *, delimiter: str = ","
) -> Iterator[tuple[int, list[str]]]:
    """The lines of a list with their numbers, each with at least `columns` values; several blanks are one.

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
            if len(values) < columns:
                raise ConfigError(
                    f"{where}/{name}: line {number} has {len(values)} values, not {columns}"
                )
            yield number, values
    except csv.Error as error:
        raise ConfigError(f"{where}/{name}: is not a list: {error}") from error


def by_picture(where: str, lines: Iterable[tuple[int, list[str]]], columns: int) -> dict[str, Line]:
    """What a list says of each picture, which is the first of a line's `columns` values.

    Raises:
        ConfigError: two lines say different things of one picture; the text names both.
    """
    found: dict[str, Line] = {}
    for number, (picture, *values) in lines:
        line = Line(values[: columns - 1], where, number)
        if (known := found.setdefault(picture, line)) != line:
            raise ConfigError(
                f"{where}: lines {known.number} and {number} say different things of {picture}: "
                f"{' '.join(known)} and {' '.join(line)}; take one out"
            )
    return found


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
