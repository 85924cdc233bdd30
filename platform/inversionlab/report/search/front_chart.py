"""Accuracy against attack success: every trial as a mark, and the front as a line."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from inversionlab.metrics import Estimate
from inversionlab.report.charts.axes import Scale, linear, nice_ticks
from inversionlab.report.charts.labels import Label, place
from inversionlab.report.search.wording import DRAWN, style, summary
from inversionlab.results.search import SearchRecord, TrialRecord
from inversionlab.results.wording import percent, words

WIDTH = 860
LEFT, RIGHT, TOP, BOTTOM = 54, 844, 16, 376
CLOSE_UP = 6.0
"""The close-up shows this many times the allowed loss."""


@dataclass(frozen=True)
class Mark:
    """One trial in the chart."""

    trial: TrialRecord
    style: str
    """See `report.search.wording.style`."""
    x: float
    y: float
    low: float
    """The interval's ends on the chart."""
    high: float
    title: str


@dataclass(frozen=True)
class FrontChart:
    """Accuracy to the right, attack success upward; low and right is good."""

    title: str
    marks: tuple[Mark, ...]
    """In drawing order, so the last ones are on top."""
    labels: tuple[Label, ...]
    front: str
    """The front as an SVG path in steps; empty with fewer than two points."""
    shaded: tuple[tuple[float, float, float, float, str], ...]
    """What the constraints exclude: (x, y, width, height, text)."""
    null: tuple[float, str] | None
    """The best null attack: (y, text)."""
    x_ticks: tuple[tuple[float, str], ...]
    y_ticks: tuple[tuple[float, str], ...]
    hidden: int
    """Trials left of the chart's edge."""


def front_charts(search: SearchRecord) -> list[FrontChart]:
    """The whole range, and a close-up of the accurate trials if the whole range squeezes them."""
    bare = search.undefended
    drawn = [t for t in search.trials if t.state in ("complete", "stopped")]
    spots = [
        (t, t.accuracy.value, t.attack_success)
        for t in [*drawn, *([bare] if bare else [])]
        if t.accuracy and t.attack_success
    ]
    if not spots:
        return []
    loss, edge = search.constraints.get("accuracy_loss"), None
    if loss is not None and bare is not None and bare.accuracy is not None:
        edge = bare.accuracy.value - loss / 100
    lowest = min(accuracy for _, accuracy, _ in spots)
    charts = [_front_chart(search, spots, lowest, edge, "All trials")]
    if edge is not None and loss:
        start = edge + loss / 100 - CLOSE_UP * loss / 100
        near = [spot for spot in spots if spot[1] >= start]
        if lowest < start - CLOSE_UP * loss / 100 and len(near) >= 3:
            title = f"Close-up: at most {CLOSE_UP * loss:g} points lost"
            charts.append(_front_chart(search, near, start, edge, title, len(spots) - len(near)))
    return charts


def _front_chart(
    search: SearchRecord,
    spots: Sequence[tuple[TrialRecord, float, Estimate]],
    lowest: float,
    edge: float | None,
    title: str,
    hidden: int = 0,
) -> FrontChart:
    """A chart of trials with their accuracy and success; `edge` is the least accuracy that is allowed."""
    accuracies = [accuracy for _, accuracy, _ in spots] + ([edge] if edge is not None else [])
    start, stop = min(lowest, *accuracies), max(accuracies)
    margin = max((stop - start) * 0.04, 0.002)
    start, stop = start - margin, min(stop + margin, 1.0 + margin)
    place_x, place_y = linear(start, stop, LEFT, RIGHT), linear(0.0, 1.0, BOTTOM, TOP)
    marks = [
        Mark(
            trial=trial,
            style=style(search, trial),
            x=place_x(accuracy),
            y=place_y(success.value),
            low=place_y(success.low),
            high=place_y(success.high),
            title=summary(search, trial),
        )
        for trial, accuracy, success in spots
    ]
    marks.sort(key=lambda m: DRAWN.index(m.style))
    null, guess = None, search.guess
    if guess is not None:
        share = guess.success.value
        null = (place_y(share), f"{words(guess.attack)}: {percent(share)}")
    # Up to the next point's success, then over to its accuracy: what the front attains.
    steps = [(m.x, m.y) for t in search.front_trials for m in marks if m.trial is t]
    front = "".join(f"V{y}H{x}" if i else f"M{x} {y}" for i, (x, y) in enumerate(steps))
    # About twice as many ticks as a small chart has.
    tick = nice_ticks(0.0, (stop - start) / 2)[1]
    ticks = range(math.ceil(start / tick), math.floor(min(stop, 1.0) / tick) + 1)
    return FrontChart(
        title=title,
        marks=tuple(marks),
        labels=_labels(marks),
        front=front if len(steps) > 1 else "",
        shaded=tuple(_shaded(search, None if edge is None else place_x(edge), place_y)),
        null=null,
        x_ticks=tuple((place_x(i * tick), f"{i * tick * 100:.4g}%") for i in ticks),
        y_ticks=tuple((place_y(t), f"{t * 100:g}%") for t in nice_ticks(0.0, 1.0)),
        hidden=hidden,
    )


def _labels(marks: Sequence[Mark]) -> tuple[Label, ...]:
    """The texts of the marks that have a name."""
    texts = {"recommended": "recommended", "paper": "paper’s point", "open": "undefended"}
    names = []
    for mark in sorted(marks, key=lambda m: m.y):
        both = mark.style == "recommended" and mark.trial.paper
        name = "paper’s point, recommended" if both else texts.get(mark.style)
        if name:
            names.append((mark.x, mark.y, name))
    return place(names, [(m.x, m.y) for m in marks], (LEFT, 0, WIDTH, BOTTOM))


def _shaded(
    search: SearchRecord, right: float | None, place_y: Scale
) -> list[tuple[float, float, float, float, str]]:
    """The excluded regions: left of x = `right`, and above the bound on attack success."""
    found = []
    if right is not None and right > LEFT:
        loss = search.constraints["accuracy_loss"]
        text = f"more than {loss:g} {'point' if loss == 1 else 'points'} lost"
        found.append((float(LEFT), float(TOP), round(right - LEFT, 1), float(BOTTOM - TOP), text))
    bound = search.constraints.get("attack_success")
    if bound is not None and bound < 1:
        height = round(place_y(bound) - TOP, 1)
        text = f"more than {percent(bound)} attack success"
        found.append((float(LEFT), float(TOP), float(RIGHT - LEFT), height, text))
    return found
