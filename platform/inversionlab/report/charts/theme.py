"""How charts look. Colours are the style sheet's own variables, so a page's charts follow the reader's scheme."""

import re
from collections.abc import Mapping, Sequence
from typing import Any

import altair as alt

LIGHT = {
    "page": "#f6f7f9",
    "card": "#ffffff",
    "ink": "#1a2230",
    "soft": "#566072",
    "line": "#dde2ea",
    "s0": "#0b62b8",
    "s1": "#c2410c",
    "s2": "#0f7a55",
    "s3": "#7c3aed",
    "s4": "#8a6a00",
    "s5": "#be185d",
}
"""The variables of `style.css` in its light scheme, which files have."""
SERIES = ("s0", "s1", "s2", "s3", "s4", "s5")
DASHES = ([1, 0], [7, 3], [2, 3], [9, 3, 2, 3], [12, 4], [4, 2])
NULL_DASH = [4, 4]
SHAPES = ("circle", "square", "diamond", "triangle-up", "cross", "triangle-down")
WIDTH, HEIGHT = 470, 240
"""Of a chart that stands beside others; in a browser its width is that of its place."""
WIDE = 780
NARROW = 400
"""Of a legend that fits on a phone, too."""
LETTER = 6.4
"""Width of a letter, about."""


def color(name: str) -> str:
    """The colour as the style sheet has it."""
    return f"var(--{name})"


def in_light(text: str) -> str:
    """A specification with the light scheme's own colours in place of variables."""
    return re.sub(r"var\(--(\w+)\)", lambda found: LIGHT[found[1]], text)


def series_styles(names: Sequence[str], special: Mapping[str, str]) -> tuple[list[str], list[Any]]:
    """A colour and a dash for each series; `special` names the colour of those that do not take the next one."""
    colors, dashes, taken = [], [], 0
    for name in names:
        if name in special:
            colors.append(color(special[name]))
            dashes.append(NULL_DASH if special[name] == "soft" else DASHES[0])
            continue
        colors.append(color(SERIES[taken % len(SERIES)]))
        dashes.append(DASHES[(taken + taken // len(SERIES)) % len(DASHES)])
        taken += 1
    return colors, dashes


def legend(names: Sequence[str], width: float, **more: Any) -> alt.Legend:
    """A legend above the chart, in as many columns as fit."""
    longest = max((len(name) for name in names), default=1) * LETTER + 40
    columns = max(1, min(len(names), int((width - 60) // longest)))
    return alt.Legend(
        orient="top", title=None, columns=columns, labelLimit=width - 100, symbolOpacity=1, **more
    )


def themed(chart: Any) -> Any:
    """The chart with fonts, lines and colours set."""
    ink, soft, line = color("ink"), color("soft"), color("line")
    return chart.configure(
        background="transparent",
        font="system-ui, sans-serif",
        # At the right the last dot and half of its label need room.
        padding={"left": 4, "top": 4, "bottom": 4, "right": 14},
        view=alt.ViewConfig(stroke=None),
        axis=alt.AxisConfig(
            labelColor=soft,
            titleColor=ink,
            titleFontWeight="normal",
            titleFontSize=12,
            labelFontSize=11.5,
            gridColor=line,
            domainColor=soft,
            tickColor=soft,
            labelFlush=False,
        ),
        axisX=alt.AxisConfig(grid=False),
        axisY=alt.AxisConfig(domain=False, ticks=False),
        legend=alt.LegendConfig(labelColor=ink, labelFontSize=12, columnPadding=14, rowPadding=3),
        text=alt.MarkConfig(fill=ink, fontSize=11.5),
        rule=alt.MarkConfig(stroke=soft),
        title=alt.TitleConfig(color=ink, fontSize=12, fontWeight="normal", anchor="start"),
    )
