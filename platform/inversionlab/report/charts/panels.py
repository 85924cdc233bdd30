"""Small charts above each other that share the horizontal axis."""

from collections.abc import Sequence
from typing import Any

import altair as alt

from inversionlab.report.charts.marks import (
    MUTE,
    Drawing,
    Row,
    across,
    chart_of,
    drawing,
    series_in,
)
from inversionlab.report.charts.theme import WIDE, color, series_styles


def panel_chart(
    rows: Sequence[Row], spans: Sequence[Row], *, panels: Sequence[str], unit: str
) -> Drawing:
    """Each value holds until the next one.

    Args:
        rows: {panel, series, x, y}.
        spans: {x, x2} that are shaded in every panel.
        panels: their titles in order.
        unit: at the axis.
    """
    start, stop = min(row["x"] for row in rows), max(row["x"] for row in rows)
    alone: Any = {"color": "independent", "strokeDash": "independent"}
    made = []
    for panel in panels:
        mine = [row for row in rows if row["panel"] == panel]
        names = list(dict.fromkeys(row["series"] for row in mine))
        colors, dashes = series_styles(names, {})
        last = panel == panels[-1]
        x = alt.X(
            "x:Q",
            title=unit if last else None,
            scale=across((start, stop)),
            axis=alt.Axis(labels=last, ticks=last),
        )
        top = max(1.0, *(row["y"] for row in mine))
        shown = None
        if len(names) > 1:
            stroke: dict[str, Any] = {"symbolType": "stroke", "symbolSize": 300, "offset": 2}
            shown = alt.Legend(orient="top-left", title=None, direction="horizontal", **stroke)
        lines = chart_of("rows").transform_filter(f"datum.panel == '{panel}'")
        lines = lines.mark_line(interpolate="step-after", **MUTE).encode(
            x=x,
            y=alt.Y(
                "y:Q",
                title=None,
                scale=alt.Scale(domain=[0, top]),
                axis=alt.Axis(tickCount=3, tickMinStep=1, format=",.0f", minExtent=44),
            ),
            color=series_in(alt.Color, names, colors, shown),
            strokeDash=series_in(alt.StrokeDash, names, dashes, shown),
        )
        layers = [lines]
        if spans:
            shade = chart_of("spans").mark_rect(fill=color("s4"), opacity=0.14, **MUTE)
            layers.insert(0, shade.encode(x=x, x2=alt.X2("x2:Q")))
        chart = alt.layer(*layers).resolve_scale(**alone)
        made.append(chart.properties(width=WIDE, height=84, title=panel))
    return drawing(alt.vconcat(*made, spacing=8).resolve_scale(**alone), rows=rows, spans=spans)
