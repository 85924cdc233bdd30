"""The axes of charts: the places of values and of ticks."""

import math
from collections.abc import Callable, Sequence

WIDTH, HEIGHT = 480, 300
LEFT, RIGHT, TOP, BOTTOM = 46, 464, 14, 250
SLOT, SLOT_AT = 84, 430
"""Room at the right for a value that is not on the axis, and that value's x."""

Scale = Callable[[float], float]
"""Takes a value to its place."""


def linear(start: float, stop: float, at_start: float, at_stop: float) -> Scale:
    """A scale that takes `start` to `at_start` and `stop` to `at_stop`, rounded to a tenth."""
    span = (stop - start) or 1.0
    return lambda v: round(at_start + (v - start) / span * (at_stop - at_start), 1)


def nice_ticks(start: float, stop: float) -> list[float]:
    """About five round numbers from just below `start` to `stop` or just above."""
    if stop <= start:
        return [start]
    raw = (stop - start) / 5
    power = 10.0 ** math.floor(math.log10(raw))
    step = next(m * power for m in (1, 2, 5, 10) if m * power >= raw * (1 - 1e-9))
    first = math.floor(start / step + 1e-9)
    last = math.ceil(stop / step - 1e-9)
    return [round(i * step, 10) for i in range(first, last + 1)]


def x_scale(xs: Sequence[float], slot: bool, log: bool) -> Scale:
    """The places of the sorted values `xs`; a `slot` leaves room at the right."""
    end = RIGHT - SLOT if slot else RIGHT
    if not xs:
        return lambda _: float(LEFT)
    if log:
        place = linear(math.log10(xs[0]), math.log10(xs[-1]), LEFT + 8, end)
        return lambda v: place(math.log10(v))
    start, stop = _x_range(xs)
    return linear(start, stop, LEFT, end)


def x_ticks(xs: Sequence[float], place_x: Scale, log: bool) -> list[tuple[float, str]]:
    """The ticks of that axis: place and text; whole powers of ten where it is logarithmic."""
    if not xs:
        return []
    if log:
        powers = range(math.ceil(math.log10(xs[0])), math.floor(math.log10(xs[-1])) + 1)
        return [(place_x(10.0**p), f"{10.0**p:g}") for p in powers]
    start, stop = _x_range(xs)
    return [(place_x(t), f"{t:g}") for t in nice_ticks(start, stop) if start <= t <= stop]


def _x_range(xs: Sequence[float]) -> tuple[float, float]:
    """0 to 1 for shares, else the values' own range."""
    return (0.0, 1.0) if xs[0] >= 0 and 0.3 < xs[-1] <= 1 else (xs[0], xs[-1])
