"""Line charts as geometry; `chart.html.j2` draws them as inline SVG.

Hand-made SVG and not plotly: the page stays near 100 kB, needs no network, prints, and follows the
reader's light or dark scheme. Coordinates are in a box of WIDTH x HEIGHT; shares are in [0, 1].
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from inversionlab.report.charts import axes
from inversionlab.report.charts.axes import BOTTOM, SLOT_AT, TOP, Scale, linear, nice_ticks
from inversionlab.report.charts.labels import Label, Name, place
from inversionlab.results.wording import MISSING

STYLES = 6
"""Line styles s0 to s5 in the style sheet."""


@dataclass(frozen=True)
class Point:
    """One value with its interval; x None puts it into the slot at the right."""

    x: float | None
    y: float
    low: float
    high: float
    text: str
    name: str = ""
    """Stands beside the dot."""
    ring: bool = False
    """Whether a ring is around the dot: the undefended model."""


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
    rings: tuple[tuple[float, float], ...]
    names: tuple[Name, ...]


@dataclass(frozen=True)
class Chart:
    """A plan with coordinates, and its numbers for the hover text and the table below it."""

    plan: Plan
    lines: tuple[Line, ...]
    levels: tuple[tuple[Level, float], ...]
    labels: tuple[Label, ...]
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
    place_x = axes.x_scale(xs, slot, plan.log)
    y_ticks = nice_ticks(_floor(plan, points), 1.0)
    place_y = linear(y_ticks[0], 1.0, BOTTOM, TOP)
    lines = tuple(_line(s, place_x, place_y) for s in plan.series)
    return Chart(
        plan=plan,
        lines=lines,
        levels=tuple((v, place_y(v.y)) for v in plan.levels if math.isfinite(v.y)),
        labels=place(
            [name for line in lines for name in line.names],
            [dot for line in lines for dot in line.dots],
            # The mark's own text stands above the chart.
            (axes.LEFT, TOP if plan.mark else 0, axes.WIDTH, BOTTOM),
        ),
        mark=(place_x(plan.mark[0]), plan.mark[1]) if plan.mark and xs else None,
        x_ticks=(
            *axes.x_ticks(xs, place_x, plan.log),
            *([(float(SLOT_AT), plan.end)] if slot else []),
        ),
        y_ticks=tuple((place_y(t), f"{t * 100:g}%") for t in y_ticks),
        stops=_stops(plan, xs, slot, place_x),
    )


def _floor(plan: Plan, points: Sequence[Point]) -> float:
    """Where the y axis starts: 0, or higher where nothing comes near that."""
    lowest = min([p.low for p in points] + [v.y for v in plan.levels if math.isfinite(v.y)])
    return 0.0 if lowest < 0.5 else math.floor(lowest * 20) / 20


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
        rings=tuple(dot for dot, p in zip(dots, known, strict=True) if p.ring),
        names=tuple((*dot, p.name) for dot, p in zip(dots, known, strict=True) if p.name),
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
