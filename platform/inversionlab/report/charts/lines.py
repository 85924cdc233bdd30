"""Charts of figure width: lines over a setting or a count, and dots of models."""

from collections.abc import Mapping, Sequence

import altair as alt

from inversionlab.report.charts.marks import (
    MUTE,
    OUTSIDE,
    TIP,
    Drawing,
    Row,
    across,
    chart_of,
    drawing,
    ends,
    interaction,
    line_legend,
    marked,
    picked,
    series_in,
    share,
)
from inversionlab.report.charts.theme import HEIGHT, SHAPES, WIDTH, color, legend, series_styles

SLOT = 84
"""Room at the right for values that are not on the axis."""
LOG_FROM = 50
"""From this ratio of the largest to the smallest value on, an axis is logarithmic."""
Mark = tuple[float, str]
"""An x, and the text at the vertical line there."""


def line_chart(
    rows: Sequence[Row],
    *,
    x_title: str,
    floor: float = 0.0,
    x_domain: tuple[float, float] | None = None,
    log: bool = False,
    special: Mapping[str, str] | None = None,
    mark: Mark | None = None,
    end: str = "",
) -> Drawing:
    """Lines with bands of their intervals.

    Args:
        rows: {series, place, x, y, low, high, text}; `place` is "axis", "end" (in the room at the right, which is
            called `end`) or "level" (a horizontal line). With `dot` False in a row no dot is drawn.
        x_title: at the axis.
        floor: where the vertical axis starts; it ends at 1.
        x_domain: both ends of the horizontal axis; by default those of the values.
        log: whether it is logarithmic.
        special: series -> colour of those that are no ordinary series; "soft" is dashed.
        mark: a vertical line.
        end: what the values in the room at the right are.
    """
    names = list(dict.fromkeys(row["series"] for row in rows))
    colors, dashes = series_styles(names, special or {})
    places = {row["place"] for row in rows}
    xs = [row["x"] for row in rows if row["place"] == "axis"]
    domain = x_domain or (min(xs, default=0.0), max(xs, default=1.0))
    room = {"rangeMax": alt.ExprRef(f"width - {SLOT}")} if "end" in places else {}
    scale = across(domain, log=log, **room)
    shown = line_legend(names, WIDTH)
    x = alt.X("x:Q", title=x_title, scale=scale, axis=alt.Axis(tickCount=6, labelOverlap=True))
    y, dash = share("y", floor), series_in(alt.StrokeDash, names, dashes, shown)
    base = chart_of("rows").encode(color=series_in(alt.Color, names, colors, shown))
    placed = base.transform_filter("datum.place == 'axis'").encode(x=x)
    layers = [
        placed.mark_area(strokeWidth=0, **MUTE).encode(**ends(floor), opacity=picked(0.13)),
        placed.mark_line(**MUTE).encode(y=y, strokeDash=dash, opacity=picked(1)).add_params(*interaction()),
    ]  # fmt: skip
    if any(row.get("dot") is False for row in rows):
        hidden = placed.mark_circle(size=60, **MUTE)
        layers.append(
            hidden.encode(y=y, opacity=alt.OpacityValue(0), tooltip=alt.Tooltip("text:N"))
        )
    else:
        layers.append(placed.mark_circle(size=45).encode(y=y, opacity=picked(1), **TIP))
    if "level" in places:
        level = base.transform_filter("datum.place == 'level'").mark_rule(strokeWidth=1.5)
        layers.append(level.encode(y=y, strokeDash=dash, opacity=picked(1), **TIP))
    if "end" in places:
        at = alt.XValue(alt.ExprRef(f"width - {SLOT // 2}"))
        apart = base.transform_filter("datum.place == 'end'").encode(x=at)
        name = chart_of("end").mark_text(baseline="top", fill=color("soft"), **OUTSIDE)
        layers += [
            apart.mark_rule(**MUTE).encode(**ends(floor), opacity=picked(0.4)),
            apart.mark_circle(size=45).encode(y=y, opacity=picked(1), **TIP),
            name.encode(x=at, y=alt.YValue(alt.ExprRef("height + 7")), text=alt.Text("text:N")),
        ]
    layers += marked(x) if mark else []
    chart = alt.layer(*layers).properties(width="container", height=HEIGHT)
    return drawing(chart, rows=rows, end=[{"text": end}], mark=_at(mark))


def dot_chart(
    rows: Sequence[Row],
    *,
    x_title: str,
    floor: float = 0.0,
    x_domain: tuple[float, float],
    mark: Mark | None = None,
    joined: bool = False,
) -> Drawing:
    """Dots with bars of their intervals; the legend tells them by colour and shape.

    Args:
        rows: {series, x, y, low, high, text, name, hollow}; `name` is written at the dot, `hollow` is 1 or 0.
        x_title: at the axis.
        floor: where the vertical axis starts; it ends at 1.
        x_domain: both ends of the horizontal axis.
        mark: a vertical line.
        joined: whether a line passes the dots of a series, by `order`.
    """
    names = list(dict.fromkeys(row["series"] for row in rows))
    colors, _ = series_styles(names, {"undefended": "ink"})
    shapes = [SHAPES[(i + i // len(SHAPES)) % len(SHAPES)] for i in range(len(names))]
    x = alt.X("x:Q", title=x_title, scale=across(x_domain))
    y, shown = share("y", floor), legend(names, WIDTH)
    base = chart_of("rows").encode(x=x, color=series_in(alt.Color, names, colors, shown))
    dots = {"y": y, "shape": series_in(alt.Shape, names, shapes, shown), "opacity": picked(0.9)}
    filled, hollow, named = (
        base.transform_filter(f"datum.{test}")
        for test in ("hollow !== 1", "hollow === 1", "name != null")
    )
    bars = base.mark_rule(**MUTE).encode(**ends(floor), opacity=picked(0.35))
    layers = [bars.add_params(*interaction())]
    if joined:
        line = base.mark_line(strokeWidth=1, **MUTE)
        layers.append(line.encode(y=y, order=alt.Order("order:Q"), opacity=picked(0.6)))
    layers.append(filled.mark_point(filled=True, size=70).encode(**dots, **TIP))
    if any(row.get("hollow") for row in rows):
        layers.append(hollow.mark_point(filled=False, size=70).encode(**dots, **TIP))
    if any(row.get("name") for row in rows):
        text = named.mark_text(align="left", dx=7, dy=-6, **OUTSIDE)
        layers.append(text.encode(y=y, text=alt.Text("name:N"), opacity=picked(1)))
    layers += marked(x) if mark else []
    chart = alt.layer(*layers).properties(width="container", height=HEIGHT)
    return drawing(chart, rows=rows, mark=_at(mark))


def loss_chart(rows: Sequence[Row]) -> Drawing:
    """Losses over the epochs of a training; the axis is logarithmic where they span powers of ten.

    Args:
        rows: {series, x, y, text}.
    """
    names = list(dict.fromkeys(row["series"] for row in rows))
    colors, dashes = series_styles(names, {})
    xs, ys = [row["x"] for row in rows], [row["y"] for row in rows]
    log = min(ys) > 0 and max(ys) / min(ys) >= LOG_FROM
    shown = line_legend(names, WIDTH)
    scale = alt.Scale(type="log") if log else alt.Scale(zero=False)
    base = chart_of("rows").encode(
        x=alt.X("x:Q", title="epoch", scale=across((min(xs), max(xs))), axis=alt.Axis(tickCount=6)),
        y=alt.Y("y:Q", title="loss", scale=scale, axis=alt.Axis(tickCount=5)),
        color=series_in(alt.Color, names, colors, shown),
    )
    dash = series_in(alt.StrokeDash, names, dashes, shown)
    line = base.mark_line(**MUTE).encode(strokeDash=dash, opacity=picked(1))
    dots = base.mark_circle(size=60).encode(opacity=alt.OpacityValue(0), **TIP)
    chart = alt.layer(line.add_params(*interaction()), dots)
    return drawing(chart.properties(width="container", height=HEIGHT - 60), rows=rows)


def _at(mark: Mark | None) -> list[Row]:
    return [{"x": mark[0], "text": mark[1]}] if mark else []
