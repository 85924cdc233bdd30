"""Points of two numbers, with guide lines."""

from collections.abc import Sequence

import altair as alt

from inversionlab.report.charts.marks import (
    MUTE,
    TIP,
    Drawing,
    Row,
    chart_of,
    drawing,
    interaction,
    picked,
    series_in,
)
from inversionlab.report.charts.theme import HEIGHT, SHAPES, WIDTH, legend, series_styles

GUIDE_DASH = [4, 4]


def point_chart(
    rows: Sequence[Row],
    *,
    x_title: str,
    y_title: str,
    x_guide: float | None = None,
    y_guide: float | None = None,
) -> Drawing:
    """A point for each row; the legend tells series by colour and shape.

    Args:
        rows: {series, x, y, text}.
        x_title: at the horizontal axis.
        y_title: at the vertical axis.
        x_guide: where a vertical dashed line is.
        y_guide: where a horizontal dashed line is.
    """
    names = list(dict.fromkeys(row["series"] for row in rows))
    colors, _ = series_styles(names, {})
    shapes = [SHAPES[(i + i // len(SHAPES)) % len(SHAPES)] for i in range(len(names))]
    shown = legend(names, WIDTH)
    around = alt.Scale(zero=False, padding=8)
    x = alt.X("x:Q", title=x_title, scale=around, axis=alt.Axis(tickCount=6))
    y = alt.Y("y:Q", title=y_title, scale=around, axis=alt.Axis(tickCount=5))
    points = chart_of("rows").mark_point(filled=True, size=45).encode(
        x=x,
        y=y,
        color=series_in(alt.Color, names, colors, shown),
        shape=series_in(alt.Shape, names, shapes, shown),
        opacity=picked(0.9),
        **TIP,
    )  # fmt: skip
    layers = [points.add_params(*interaction())]
    guide = chart_of("guides").mark_rule(strokeDash=GUIDE_DASH, **MUTE)
    if x_guide is not None:
        layers.append(guide.transform_filter("datum.axis == 'x'").encode(x=alt.X("at:Q")))
    if y_guide is not None:
        layers.append(guide.transform_filter("datum.axis == 'y'").encode(y=alt.Y("at:Q")))
    guides = [
        {"axis": axis, "at": at} for axis, at in (("x", x_guide), ("y", y_guide)) if at is not None
    ]
    chart = alt.layer(*layers).properties(width="container", height=HEIGHT)
    return drawing(chart, rows=rows, guides=guides)
