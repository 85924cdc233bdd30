"""Line charts as geometry; `chart.html.j2` draws them as inline SVG.

The SVG is our own, not plotly's: the page stays near 100 kB, needs no network, prints, and follows the
reader's light or dark scheme. Coordinates are in a box of WIDTH x HEIGHT; shares are in [0, 1].
"""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Self

from inversionlab.metrics import Estimate
from inversionlab.report.charts import axes
from inversionlab.report.charts.axes import BOTTOM, SLOT_AT, TOP, Scale, linear, nice_ticks
from inversionlab.report.charts.labels import Label, Name, place
from inversionlab.results.wording import MISSING, estimate_text, words

STYLES = 6
"""Line styles s0 to s5 in the style sheet."""


@dataclass(frozen=True)
class Point:
    """One value with its interval; with x None it stands in the slot at the right."""

    x: float | None
    y: float
    low: float
    high: float
    text: str
    name: str = ""
    """Text at the dot."""
    ring: bool = False
    """Whether the dot has a ring: the undefended model."""

    @classmethod
    def of(cls, x: float | None, share: Estimate, text: str = "", **more: Any) -> Self:
        """A share at `x`; without `text` the share and its interval are the text."""
        return cls(x, share.value, share.low, share.high, text or estimate_text(share), **more)


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
class ReferenceLine:
    """A horizontal line across the chart."""

    name: str
    style: str
    y: float
    text: str

    @classmethod
    def guess(cls, attack: str, share: Estimate) -> Self:
        """The success of a null attack."""
        return cls(f"{words(attack)} (no model asked)", "null", share.value, estimate_text(share))


@dataclass(frozen=True)
class ChartSpec:
    """What a chart shows, before it has coordinates; `x_name` is short, `x_label` stands at the axis."""

    title: str
    about: str
    x_name: str
    x_label: str
    series: tuple[Series, ...]
    references: tuple[ReferenceLine, ...] = ()
    mark: tuple[float, str] | None = None
    """An x and the text at the vertical line there."""
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
    """A spec with coordinates, and its numbers for the hover text and the table below it."""

    spec: ChartSpec
    lines: tuple[Line, ...]
    references: tuple[tuple[ReferenceLine, float], ...]
    labels: tuple[Label, ...]
    mark: tuple[float, str] | None
    x_ticks: tuple[tuple[float, str], ...]
    y_ticks: tuple[tuple[float, str], ...]
    stops: tuple[dict[str, Any], ...]
    """For each x: {x, title, texts}, with one text for each series, then one for each reference line."""


def draw_all(specs: Iterable[ChartSpec]) -> list[Chart]:
    """The charts of the specs that have a value to show."""
    return [chart for spec in specs if (chart := draw(spec))]


def draw(spec: ChartSpec) -> Chart | None:
    """A spec with coordinates; None where it has no value to show."""
    points = [p for s in spec.series for p in s.points if math.isfinite(p.y)]
    if not points:
        return None
    references = [r for r in spec.references if math.isfinite(r.y)]
    xs = sorted({p.x for p in points if p.x is not None})
    slot = any(p.x is None for p in points)
    place_x = axes.x_scale(xs, slot, spec.log)
    lowest = min([p.low for p in points] + [r.y for r in references])
    # The y axis starts at 0, or higher where nothing comes near that.
    y_ticks = nice_ticks(0.0 if lowest < 0.5 else math.floor(lowest * 20) / 20, 1.0)
    place_y = linear(y_ticks[0], 1.0, BOTTOM, TOP)
    lines = tuple(_line(s, place_x, place_y) for s in spec.series)
    return Chart(
        spec=spec,
        lines=lines,
        references=tuple((r, place_y(r.y)) for r in references),
        labels=place(
            [name for line in lines for name in line.names],
            [dot for line in lines for dot in line.dots],
            # The mark's own text stands above the chart.
            (axes.LEFT, TOP if spec.mark else 0, axes.WIDTH, BOTTOM),
        ),
        mark=(place_x(spec.mark[0]), spec.mark[1]) if spec.mark and xs else None,
        x_ticks=(*axes.x_ticks(xs, place_x, spec.log), *[(float(SLOT_AT), spec.end)] * slot),
        y_ticks=tuple((place_y(t), f"{t * 100:g}%") for t in y_ticks),
        stops=tuple(_stop(spec, references, x, place_x) for x in [*xs, *[None] * slot]),
    )


def _line(series: Series, place_x: Scale, place_y: Scale) -> Line:
    known = [p for p in series.points if math.isfinite(p.y)]
    placed = [(place_x(p.x), p) for p in known if p.x is not None]
    spots = sorted(placed, key=lambda spot: spot[0])
    dots = [(float(SLOT_AT) if p.x is None else place_x(p.x), place_y(p.y)) for p in known]
    path, band = "", ""
    if not series.joined:
        path = "".join(f"M{x} {place_y(p.low)}V{place_y(p.high)}" for x, p in spots)
    elif len(spots) > 1:
        path = "M" + "L".join(f"{x} {place_y(p.y)}" for x, p in spots)
        if any(p.high != p.low for _, p in spots):
            rim = [f"{x} {place_y(p.high)}" for x, p in spots]
            rim += [f"{x} {place_y(p.low)}" for x, p in reversed(spots)]
            band = "M" + "L".join(rim) + "Z"
    return Line(
        series=series,
        path=path,
        band=band,
        dots=tuple(dots) if series.dots else (),
        rings=tuple(dot for dot, p in zip(dots, known, strict=True) if p.ring),
        names=tuple((*dot, p.name) for dot, p in zip(dots, known, strict=True) if p.name),
    )


def _stop(
    spec: ChartSpec, references: Sequence[ReferenceLine], x: float | None, place_x: Scale
) -> dict[str, Any]:
    texts = ["; ".join(p.text for p in s.points if p.x == x) or MISSING for s in spec.series]
    return {
        "x": float(SLOT_AT) if x is None else place_x(x),
        "title": spec.end if x is None else f"{spec.x_name} = {x:.4g}",
        "texts": texts + [r.text for r in references],
    }
