"""What the kinds of charts share: their rows, axes of shares, legends that pick, and zoom."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import altair as alt

from inversionlab.report.charts.theme import color, legend

Row = Mapping[str, Any]
"""A row of a tidy table. Its `text` is what a reader hears or sees at the mark; shares are in [0, 1]."""
Drawing = tuple[alt.TopLevelMixin, dict[str, list[dict[str, Any]]]]
"""A chart, and the rows that it shows, by the names that its marks have for them."""
TIP: dict[str, Any] = {
    "tooltip": alt.Tooltip("text:N"),
    "description": alt.Description("text:N"),
}
MUTE: dict[str, Any] = {"aria": False}
"""Of marks that have nothing to say."""
OUTSIDE: dict[str, Any] = {"clip": False, "aria": False}
"""Of texts that may stand outside the axes."""
ROOM = 0.025
"""Beyond both ends of an axis of shares, as a share of it."""
EDGE = 7
"""Pixels beyond both ends of every other axis: a live chart cuts marks at its edge."""
ZOOM = "wheel![event.ctrlKey || event.metaKey]"
"""With a key: a wheel alone scrolls the page."""
MOVE = "[pointerdown[event.pointerType == 'mouse'], window:pointerup] > window:pointermove!"


def chart_of(source: str) -> alt.Chart:
    """An empty chart of the rows that have this name."""
    return alt.Chart(alt.NamedData(source))


def drawing(chart: alt.TopLevelMixin, **sources: Iterable[Row]) -> Drawing:
    """A chart with its rows, without what is not known; places need six digits."""
    return chart, {
        name: [
            {k: round(v, 6) if isinstance(v, float) else v for k, v in r.items() if v is not None}
            for r in rows
        ]
        for name, rows in sources.items()
    }


def interaction() -> tuple[alt.Parameter, alt.Parameter]:
    """A legend whose entries single out their `series` by a click, and zoom; both to be added to one mark."""
    pick = alt.selection_point(name="pick", fields=["series"], bind="legend", empty=True)
    zoom = alt.selection_interval(
        name="zoom", bind="scales", encodings=["x", "y"], zoom=ZOOM, translate=MOVE
    )
    return pick, zoom


def picked(value: float) -> alt.OpacityValue:
    """An opacity of marks whose series is picked; the others are faint."""
    # Not `alt.condition`, whose mapping costs Altair a search through its whole schema.
    return alt.OpacityValue(value / 6, condition={"param": "pick", "value": value})


def series_in(
    kind: type, names: Sequence[str], values: Iterable[Any], shown: alt.Legend | None
) -> Any:
    """The series as a channel, such as `alt.Color`, with a value for each name."""
    return kind("series:N", scale=alt.Scale(domain=list(names), range=list(values)), legend=shown)


def share(name: str, floor: float = 0.0, title: str | None = None) -> alt.Y:
    """A share on the vertical axis, from `floor` to 1 and a little beyond, so that no dot is cut."""
    room = ROOM * (1 - floor)
    scale = alt.Scale(domain=[floor - room, 1 + room], nice=False, zero=False)
    return alt.Y(f"{name}:Q", title=title, scale=scale, axis=alt.Axis(format=".0%", tickCount=5))


def across(domain: Sequence[float], *, log: bool = False, **more: Any) -> alt.Scale:
    """The scale of a horizontal axis, with room for the marks at both ends of its domain."""
    kind: Any = "log" if log else "linear"
    return alt.Scale(type=kind, domain=list(domain), padding=EDGE, nice=False, zero=False, **more)


def ends(floor: float = 0.0) -> dict[str, Any]:
    """Both ends of an interval."""
    return {"y": share("low", floor), "y2": alt.Y2("high:Q")}


def marked(x: Any) -> list[alt.Chart]:
    """A vertical line at the rows of `mark`, with their texts above the chart."""
    at = chart_of("mark").encode(x=x)
    text = at.mark_text(baseline="bottom", align="left", dx=4, fill=color("soft"), **OUTSIDE)
    above = alt.YValue(alt.ExprRef("-1"))
    return [at.mark_rule(strokeDash=[2, 3], **MUTE), text.encode(y=above, text=alt.Text("text:N"))]


def line_legend(names: Sequence[str], width: float) -> alt.Legend:
    """A legend of lines."""
    return legend(names, width, symbolType="stroke", symbolSize=400, symbolStrokeWidth=2)
