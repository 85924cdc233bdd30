"""Charts of a search's trials."""

from collections.abc import Sequence
from typing import Any

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
    picked,
    series_in,
    share,
)
from inversionlab.report.charts.theme import NARROW, WIDE, color, legend

STAR = "M0,-1L.26,-.34L.95,-.31L.41,.13L.59,.81L0,.42L-.59,.81L-.41,.13L-.95,-.31L-.26,-.34Z"
CROSS = "M-.7,-.7L.7,.7M-.7,.7L.7,-.7"
KINDS = {
    "recommended": ("recommended", "s2", STAR, 240),
    "best": ("best tried", "s2", STAR, 240),
    "paper": ("paper’s point", "s3", "diamond", 130),
    "open": ("undefended", "s1", "square", 90),
    "front": ("on the front", "s0", "circle", 70),
    "other": ("dominated", "soft", "circle", 40),
    "stopped": ("stopped early", "soft", CROSS, 40),
}
"""How trials are drawn: text, colour, shape, size; see `report.search.wording.style`."""
WEIGHTS = {"recommended": 3, "best": 3, "paper": 2.2, "front": 1.5}
FAINT = {"other": 0.3, "stopped": 0.3, "front": 0.75}
LINE_DASHES = {"paper": [7, 3], "stopped": [2, 3]}


def trial_chart(
    rows: Sequence[Row],
    *,
    x_domain: tuple[float, float],
    front: Sequence[Row],
    excluded: Sequence[Row],
    null: Row | None,
) -> Drawing:
    """Accuracy to the right, attack success upward; every trial as a mark, and the front as a line in steps.

    Args:
        rows: {kind, x, y, low, high, text, name, same}; `kind` is a key of `KINDS`, `same` is "×3" where three
            coincide. The last ones are on top.
        x_domain: both ends of the accuracy.
        front: {x, y} in order of accuracy.
        excluded: {x, x2, y, y2, text} of what the constraints exclude.
        null: {y, text} of the best guess.
    """
    kinds = [kind for kind in KINDS if any(row["kind"] == kind for row in rows)]
    titles, colors, shapes, _ = zip(*(KINDS[kind] for kind in kinds), strict=True)
    shown, y = legend(titles, NARROW), share("y", title="← attack success")
    x = alt.X(
        "x:Q",
        title="recognition accuracy on all people →",
        scale=across(x_domain),
        axis=alt.Axis(format=".4~%", tickCount=8, labelOverlap=True),
    )
    base = chart_of("rows").encode(
        x=x, color=series_in(alt.Color, titles, map(color, colors), shown)
    )
    layers: list[alt.Chart] = []
    if excluded:
        out = chart_of("excluded").encode(x=alt.X("x:Q"))
        text = out.mark_text(align="left", baseline="top", dx=6, dy=6, fill=color("soft"), **MUTE)
        shade = out.mark_rect(fill=color("soft"), opacity=0.1)
        layers = [
            shade.encode(x2=alt.X2("x2:Q"), y=share("y"), y2=alt.Y2("y2:Q"), **TIP),
            text.encode(y=share("y2"), text=alt.Text("text:N")),
        ]
    if front:
        steps: dict[str, Any] = {"interpolate": "step-before", "strokeWidth": 1.5, "opacity": 0.7}
        line = chart_of("front").mark_line(color=color("s0"), **steps, **MUTE)
        layers.append(line.encode(x=alt.X("x:Q"), y=y, order=alt.Order("x:Q")))
    telling = base.transform_filter("datum.kind != 'other' && datum.kind != 'stopped'")
    points = base.mark_point(filled=True).encode(
        y=y,
        shape=series_in(alt.Shape, titles, shapes, shown),
        size=alt.Size("size:Q", scale=None),
        opacity=picked(0.8),
        **TIP,
    )
    same = base.transform_filter("datum.same != null").mark_text(dy=13, fontSize=10, **MUTE)
    layers += [
        base.mark_rule(**MUTE).encode(**ends(), opacity=picked(0.2)),
        telling.mark_rule(strokeWidth=1.5, **MUTE).encode(**ends(), opacity=picked(0.6)),
        points.add_params(*interaction()),
        same.encode(y=y, text=alt.Text("same:N"), opacity=picked(1)),
    ]
    # Names point to the middle, where there is room.
    sides: tuple[tuple[str, Any, int], ...] = (("<=", "left", 9), (">", "right", -9))
    for side, align, dx in sides:
        mine = base.transform_filter(f"datum.name != null && datum.x {side} {sum(x_domain) / 2}")
        text = mine.mark_text(align=align, dx=dx, dy=-9, fontWeight="bold", **OUTSIDE)
        layers.append(text.encode(y=y, text=alt.Text("name:N"), opacity=picked(1)))
    if null:
        guess = chart_of("null").encode(y=share("y"))
        text = guess.mark_text(align="left", baseline="top", dy=4, fill=color("soft"), **MUTE)
        layers += [
            guess.mark_rule(strokeDash=[4, 4], strokeWidth=1.5, **MUTE),
            text.encode(x=alt.XValue(6), text=alt.Text("text:N")),
        ]
    named = [{**r, "series": KINDS[r["kind"]][0], "size": KINDS[r["kind"]][3]} for r in rows]
    chart = alt.layer(*layers).properties(width="container", height=360)
    guesses = [null] if null else []
    return drawing(chart, rows=named, front=front, excluded=excluded, null=guesses)


def parallel_chart(rows: Sequence[Row], ticks: Sequence[Row]) -> Drawing:
    """Parallel coordinates: every trial as a line through its settings and its results.

    Args:
        rows: {axis, y, trial, kind, text}, the last kind on top; y is in 0 to 1, and None breaks the line.
        ticks: {axis, y, label, whole}; `label` is short, `whole` is the whole value.
    """
    axes = list(dict.fromkeys(tick["axis"] for tick in ticks))
    kinds = [kind for kind in KINDS if any(row["kind"] == kind for row in rows)]
    titles, colors, *_ = zip(*(KINDS[kind] for kind in kinds), strict=True)
    pick = alt.selection_point(name="pick", fields=["series"], bind="legend", empty=True)
    hover = alt.selection_point(name="hover", fields=["trial"], on="pointerover", empty=False)
    shown = line_legend(titles, WIDE)
    labels = alt.Axis(
        orient="top", labelAngle=0, labelLimit=130, domain=False, ticks=False, labelPadding=14
    )
    x = alt.X("axis:N", sort=axes, title=None, scale=alt.Scale(padding=0.6), axis=labels)
    y = alt.Y("y:Q", scale=alt.Scale(domain=[0, 1], nice=False), axis=None)
    # What is said of a trial stands once, not at each of its places.
    told = {row["trial"]: _told(row) for row in rows}
    spots = [{key: row[key] for key in ("axis", "y", "trial")} for row in rows]
    of_trial = alt.LookupData(alt.NamedData("trials"), "trial", list(_told(rows[0])))
    over = {"param": "hover", "empty": False, "value": 4}
    thick = alt.StrokeWidth("weight:Q", scale=None, condition=over)
    faint = {"field": "faint", "type": "quantitative", "scale": None}
    dashes = [LINE_DASHES.get(kind, [1, 0]) for kind in kinds]
    lines = (
        chart_of("spots")
        .transform_lookup("trial", of_trial)
        .mark_line(**MUTE)
        .encode(
            x=x,
            y=y,
            detail=alt.Detail("trial:N"),
            color=series_in(alt.Color, titles, map(color, colors), shown),
            strokeDash=series_in(alt.StrokeDash, titles, dashes, shown),
            strokeWidth=thick,
            opacity=alt.OpacityValue(0.04, condition={"param": "pick", **faint}),
            tooltip=alt.Tooltip("text:N"),
        )
        .add_params(pick, hover)
    )
    marks = chart_of("ticks").encode(x=x, y=y)
    halo = marks.mark_text(align="right", dx=-8, stroke=color("card"), strokeWidth=4, **MUTE)
    text = marks.mark_text(align="right", dx=-8, **MUTE)
    chart = alt.layer(
        chart_of("axes").mark_rule(**MUTE).encode(x=x),
        lines,
        marks.mark_tick(orient="horizontal", width=8, color=color("soft"), **MUTE),
        halo.encode(text=alt.Text("label:N")),
        text.encode(text=alt.Text("label:N"), tooltip=alt.Tooltip("whole:N")),
    ).properties(width=alt.Step(130), height=280)
    named = [{"axis": axis} for axis in axes]
    drawn, sources = drawing(chart, trials=told.values(), ticks=ticks, axes=named)
    # A None stays in the data: it is where a line breaks.
    return drawn, {**sources, "spots": spots}


def _told(row: Row) -> dict[str, Any]:
    kind = row["kind"]
    return {"trial": row["trial"], "text": row["text"], "series": KINDS[kind][0]} | {
        "weight": WEIGHTS.get(kind, 1),
        "faint": FAINT.get(kind, 1),
    }
