"""Places for the names of dots: next to their dots, inside the chart, clear of other names and dots."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import product
from typing import Literal

LETTER = 6.4
"""Width of a letter, about."""
LINE = 13.0
"""Height of a line of text."""
GAP = 10.0
"""Distance of a name from its dot, enough for a ring."""
BASELINE = 4.0
"""Distance of the baseline from the middle of the letters above it."""
SHIFTS = (0, *(sign * step for step in range(1, 19) for sign in (-1, 1)))
"""The shifts that are tried, in lines up or down from the dot, nearest first."""

Dot = tuple[float, float]
"""x and y."""
Name = tuple[float, float, str]
"""x and y of a dot, and its name."""
Frame = tuple[float, float, float, float]
"""left, top, right, bottom."""


@dataclass(frozen=True)
class Label:
    """Text next to a dot."""

    x: float
    y: float
    """Of the baseline."""
    text: str
    anchor: Literal["start", "end"]
    dot: Dot | None
    """The end of a thin line from a name that stands above or below its dot; None: no line."""


def place(names: Sequence[Name], dots: Sequence[Dot], frame: Frame) -> tuple[Label, ...]:
    """A place for every name, in the order given.

    Where all places are taken, a name covers a dot, and as a last resort another name.
    """
    labels: list[Label] = []
    marks = [(x - 4, y - 4, x + 4, y + 4) for x, y in dots]
    for name in names:
        spots = _spots(name, frame)
        texts = [_box(label) for label in labels]
        labels.append(_free(spots, marks + texts) or _free(spots, texts) or spots[0])
    return tuple(labels)


def _spots(name: Name, frame: Frame) -> list[Label]:
    """Places inside the frame, the best first; a name too long for it is put where it sticks out least."""
    left, top, right, bottom = frame
    inside = []
    for shift, after in product(SHIFTS, (True, False)):
        label = _label(name, shift, after)
        x1, y1, x2, y2 = _box(label)
        if left <= x1 and top <= y1 and x2 <= right and y2 <= bottom:
            inside.append(label)
    return inside or [_label(name, 0, after=name[0] < (left + right) / 2)]


def _label(name: Name, shift: int, after: bool) -> Label:
    x, y, text = name
    return Label(
        x=round(x + GAP if after else x - GAP, 1),
        y=round(y + shift * LINE + BASELINE, 1),
        text=text,
        anchor="start" if after else "end",
        dot=(x, y) if shift else None,
    )


def _free(spots: Sequence[Label], taken: Sequence[Frame]) -> Label | None:
    """The first label that overlaps nothing."""

    def overlap(a: Frame, b: Frame) -> bool:
        return a[0] < b[2] and b[0] < a[2] and a[1] < b[3] and b[1] < a[3]

    return next((s for s in spots if not any(overlap(_box(s), box) for box in taken)), None)


def _box(label: Label) -> Frame:
    width = LETTER * len(label.text)
    left = label.x if label.anchor == "start" else label.x - width
    middle = label.y - BASELINE
    return left, middle - LINE / 2, left + width, middle + LINE / 2
