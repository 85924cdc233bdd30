"""Where names of dots stand: beside their dots, inside the chart, on no other name and on no other dot."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

LETTER = 6.4
"""Width of a letter, about."""
LINE = 13.0
"""Height of a line of text."""
GAP = 10.0
"""Between a dot and its name; a ring fits in."""
BASELINE = 4.0
"""How far the baseline is below the middle of the letters."""
SHIFTS = (0, *(sign * step for step in range(1, 19) for sign in (-1, 1)))
"""Lines up or down from the dot that are tried, nearest first."""

Dot = tuple[float, float]
"""x and y."""
Name = tuple[float, float, str]
"""x and y of a dot, and what stands beside it."""
Frame = tuple[float, float, float, float]
"""left, top, right, bottom."""


@dataclass(frozen=True)
class Label:
    """Text beside a dot."""

    x: float
    y: float
    """Of the baseline."""
    text: str
    anchor: Literal["start", "end"]
    dot: Dot | None
    """Where a thin line leads to, from a name that stands above or below its dot's height."""


def place(names: Sequence[Name], dots: Sequence[Dot], frame: Frame) -> tuple[Label, ...]:
    """A place for every name, in the order given; where all are crowded, over a dot, at last over a name."""
    labels: list[Label] = []
    marks = [(x - 4, y - 4, x + 4, y + 4) for x, y in dots]
    for name in names:
        spots = list(_spots(name, frame))
        texts = [_box(label) for label in labels]
        labels.append(_free(spots, marks + texts) or _free(spots, texts) or spots[0])
    return tuple(labels)


def _free(spots: Sequence[Label], taken: Sequence[Frame]) -> Label | None:
    return next((s for s in spots if not any(_overlap(_box(s), box) for box in taken)), None)


def _spots(name: Name, frame: Frame) -> Iterator[Label]:
    """Places inside the frame, the best first; a name too long for it is put where it sticks out least."""
    inside = False
    for shift in SHIFTS:
        for after in (True, False):
            label = _label(name, shift, after)
            if _within(_box(label), frame):
                inside = True
                yield label
    if not inside:
        yield _label(name, 0, after=name[0] < (frame[0] + frame[2]) / 2)


def _label(name: Name, shift: int, after: bool) -> Label:
    x, y, text = name
    return Label(
        x=round(x + GAP if after else x - GAP, 1),
        y=round(y + shift * LINE + BASELINE, 1),
        text=text,
        anchor="start" if after else "end",
        dot=(x, y) if shift else None,
    )


def _box(label: Label) -> Frame:
    width = LETTER * len(label.text)
    left = label.x if label.anchor == "start" else label.x - width
    middle = label.y - BASELINE
    return left, middle - LINE / 2, left + width, middle + LINE / 2


def _within(box: Frame, frame: Frame) -> bool:
    return box[0] >= frame[0] and box[1] >= frame[1] and box[2] <= frame[2] and box[3] <= frame[3]


def _overlap(a: Frame, b: Frame) -> bool:
    return a[0] < b[2] and b[0] < a[2] and a[1] < b[3] and b[1] < a[3]
