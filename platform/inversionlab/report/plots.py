"""Line charts as geometry; `chart.html.j2` draws them as inline SVG.

Hand-made SVG and not plotly: the page stays near 100 kB, needs no network, prints, and follows the
reader's light or dark scheme. Coordinates are in a box of WIDTH x HEIGHT; shares are in [0, 1].
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from inversionlab.report.wording import MISSING

WIDTH, HEIGHT = 480, 300
LEFT, RIGHT, TOP, BOTTOM = 46, 464, 14, 250
SLOT, SLOT_AT = 84, 430
"""Room at the right for a value that has no place on the axis, and where it stands."""

Scale = Callable[[float], float]


@dataclass(frozen=True)
class Point:
    """One value with its interval; x None puts it into the slot at the right."""

    x: float | None
    y: float
    low: float
    high: float
    text: str


@dataclass(frozen=True)
class Series:
    """One line. `style` is a class in the style sheet: s0 to s5, accuracy, null."""

    name: str
    style: str
    points: tuple[Point, ...]
    dots: bool = True
    joined: bool = True
    """False: single points, each with its interval as a bar."""


@dataclass(frozen=True)
class Level:
    """A horizontal line across the chart."""

    name: str
    style: str
    y: float
    text: str


@dataclass(frozen=True)
class Plan:
    """What a chart shows, before it has coordinates; `x_name` is short, `x_label` at the axis."""

    title: str
    about: str
    x_name: str
    x_label: str
    series: tuple[Series, ...]
    levels: tuple[Level, ...] = ()
    mark: tuple[float, str] | None = None
    """An x and the text beside the vertical line there."""
    end: str = ""
    """What the slot at the right stands for."""
    log: bool = False


@dataclass(frozen=True)
class Line:
    """A drawn series: SVG paths and dots."""

    series: Series
    path: str
    band: str
    dots: tuple[tuple[float, float], ...]


@dataclass(frozen=True)
class Chart:
    """A plan with coordinates, and its numbers for the hover text and the table below it."""

    plan: Plan
    lines: tuple[Line, ...]
    levels: tuple[tuple[Level, float], ...]
    mark: tuple[float, str] | None
    x_ticks: tuple[tuple[float, str], ...]
    y_ticks: tuple[tuple[float, str], ...]
    stops: tuple[dict[str, Any], ...]
    """For each x: {x, title, texts}, with one text a series, then one a level."""


def draw(plan: Plan) -> Chart | None:
    """Give a plan coordinates; None where it has no value to show."""
    points = [p for s in plan.series for p in s.points if math.isfinite(p.y)]
    if not points:
        return None
    xs = sorted({p.x for p in points if p.x is not None})
    slot = any(p.x is None for p in points)
    place_x = _x_scale(xs, slot, plan.log)
    y_ticks = nice_ticks(_floor(plan, points), 1.0)
    place_y = linear(y_ticks[0], 1.0, BOTTOM, TOP)
    return Chart(
        plan=plan,
        lines=tuple(_line(s, place_x, place_y) for s in plan.series),
        levels=tuple((v, place_y(v.y)) for v in plan.levels if math.isfinite(v.y)),
        mark=(place_x(plan.mark[0]), plan.mark[1]) if plan.mark and xs else None,
        x_ticks=(*_x_ticks(xs, place_x, plan.log), *([(float(SLOT_AT), plan.end)] if slot else [])),
        y_ticks=tuple((place_y(t), f"{t * 100:g}%") for t in y_ticks),
        stops=_stops(plan, xs, slot, place_x),
    )


def _floor(plan: Plan, points: Sequence[Point]) -> float:
    """Where the y axis starts: 0, or higher where nothing comes near that."""
    lowest = min([p.low for p in points] + [v.y for v in plan.levels if math.isfinite(v.y)])
    return 0.0 if lowest < 0.5 else math.floor(lowest * 20) / 20


def linear(start: float, stop: float, at_start: float, at_stop: float) -> Scale:
    """A scale that takes `start` to `at_start` and `stop` to `at_stop`, to a tenth."""
    span = (stop - start) or 1.0
    return lambda v: round(at_start + (v - start) / span * (at_stop - at_start), 1)


def _x_scale(xs: Sequence[float], slot: bool, log: bool) -> Scale:
    end = RIGHT - SLOT if slot else RIGHT
    if not xs:
        return lambda _: float(LEFT)
    if log:
        place = linear(math.log10(xs[0]), math.log10(xs[-1]), LEFT + 8, end)
        return lambda v: place(math.log10(v))
    start, stop = _x_range(xs)
    return linear(start, stop, LEFT, end)


def _x_range(xs: Sequence[float]) -> tuple[float, float]:
    """Shares get the whole of 0 to 1; anything else what it spans."""
    return (0.0, 1.0) if xs[0] >= 0 and 0.3 < xs[-1] <= 1 else (xs[0], xs[-1])


def _x_ticks(xs: Sequence[float], place_x: Scale, log: bool) -> list[tuple[float, str]]:
    if not xs:
        return []
    if log:
        powers = range(math.ceil(math.log10(xs[0])), math.floor(math.log10(xs[-1])) + 1)
        return [(place_x(10.0**p), f"{10.0**p:g}") for p in powers]
    start, stop = _x_range(xs)
    return [(place_x(t), f"{t:g}") for t in nice_ticks(start, stop) if start <= t <= stop]


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


def _line(series: Series, place_x: Scale, place_y: Scale) -> Line:
    known = [p for p in series.points if math.isfinite(p.y)]
    placed = [(place_x(p.x), p) for p in known if p.x is not None]
    spots = sorted(placed, key=lambda spot: spot[0])
    dots = [(float(SLOT_AT) if p.x is None else place_x(p.x), place_y(p.y)) for p in known]
    return Line(
        series=series,
        path=(_joined if series.joined else _bars)(spots, place_y),
        band=_band(spots, place_y) if series.joined else "",
        dots=tuple(dots) if series.dots else (),
    )


def _joined(spots: Sequence[tuple[float, Point]], place_y: Scale) -> str:
    return "M" + "L".join(f"{x} {place_y(p.y)}" for x, p in spots) if len(spots) > 1 else ""


def _bars(spots: Sequence[tuple[float, Point]], place_y: Scale) -> str:
    return "".join(f"M{x} {place_y(p.low)}V{place_y(p.high)}" for x, p in spots)


def _band(spots: Sequence[tuple[float, Point]], place_y: Scale) -> str:
    if len(spots) < 2 or all(p.high == p.low for _, p in spots):
        return ""
    rim = [f"{x} {place_y(p.high)}" for x, p in spots]
    rim += [f"{x} {place_y(p.low)}" for x, p in reversed(spots)]
    return "M" + "L".join(rim) + "Z"


def _stops(
    plan: Plan, xs: Sequence[float], slot: bool, place_x: Scale
) -> tuple[dict[str, Any], ...]:
    stops = []
    for x in [*xs, *([None] if slot else [])]:
        texts = ["; ".join(p.text for p in s.points if p.x == x) or MISSING for s in plan.series]
        title = plan.end if x is None else f"{plan.x_name} = {x:.4g}"
        place = float(SLOT_AT) if x is None else place_x(x)
        texts += [v.text for v in plan.levels if math.isfinite(v.y)]
        stops.append({"x": place, "title": title, "texts": texts})
    return tuple(stops)
