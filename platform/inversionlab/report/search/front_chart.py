"""Accuracy against attack success: every trial as a mark, and the front as a line."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

from inversionlab.metrics import Estimate
from inversionlab.report.charts.axes import Scale, linear, nice_ticks
from inversionlab.report.charts.labels import Label, place
from inversionlab.report.search.wording import style, summary
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
    """recommended, paper, open (the undefended victim), front, other or stopped."""
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


class _Spot(NamedTuple):
    trial: TrialRecord
    accuracy: float
    success: Estimate


def front_charts(search: SearchRecord) -> list[FrontChart]:
    """The whole range, and a close-up of the accurate trials if the whole range squeezes them."""
    drawn = [t for t in search.trials if t.state in ("complete", "stopped")]
    drawn += [search.undefended] if search.undefended else []
    spots = [
        _Spot(t, t.accuracy.value, t.attack_success)
        for t in drawn
        if t.accuracy and t.attack_success
    ]
    if not spots:
        return []
    lowest = min(spot.accuracy for spot in spots)
    charts = [_front_chart(search, spots, lowest, "All trials")]
    edge, loss = _edge(search), search.constraints.get("accuracy_loss")
    if edge is not None and loss:
        start = edge + loss / 100 - CLOSE_UP * loss / 100
        near = [spot for spot in spots if spot.accuracy >= start]
        if lowest < start - CLOSE_UP * loss / 100 and len(near) >= 3:
            title = f"Close-up: at most {CLOSE_UP * loss:g} points lost"
            charts.append(_front_chart(search, near, start, title, len(spots) - len(near)))
    return charts


def _edge(search: SearchRecord) -> float | None:
    """The least accuracy that the constraint allows."""
    loss = search.constraints.get("accuracy_loss")
    if loss is None or search.undefended is None or search.undefended.accuracy is None:
        return None
    return search.undefended.accuracy.value - loss / 100


def _front_chart(
    search: SearchRecord, spots: Sequence[_Spot], lowest: float, title: str, hidden: int = 0
) -> FrontChart:
    edge = _edge(search)
    accuracies = [s.accuracy for s in spots] + ([edge] if edge is not None else [])
    start, stop = min(lowest, *accuracies), max(accuracies)
    margin = max((stop - start) * 0.04, 0.002)
    start, stop = start - margin, min(stop + margin, 1.0 + margin)
    place_x, place_y = linear(start, stop, LEFT, RIGHT), linear(0.0, 1.0, BOTTOM, TOP)
    marks = [
        Mark(
            trial=spot.trial,
            style=style(search, spot.trial),
            x=place_x(spot.accuracy),
            y=place_y(spot.success.value),
            low=place_y(spot.success.low),
            high=place_y(spot.success.high),
            title=summary(search, spot.trial),
        )
        for spot in spots
    ]
    marks.sort(
        key=lambda m: ("stopped", "other", "front", "open", "paper", "recommended").index(m.style)
    )
    null, guess = None, search.guess
    if guess is not None:
        share = guess.success.value
        null = (place_y(share), f"{words(guess.attack)}: {percent(share)}")
    # About twice as many ticks as a small chart has.
    tick = nice_ticks(0.0, (stop - start) / 2)[1]
    first, last = math.ceil(start / tick), math.floor(min(stop, 1.0) / tick)
    return FrontChart(
        title=title,
        marks=tuple(marks),
        labels=_labels(marks),
        front=_steps([(m.x, m.y) for t in search.front_trials for m in marks if m.trial is t]),
        shaded=tuple(_shaded(search, place_x, place_y)),
        null=null,
        x_ticks=tuple(
            (place_x(i * tick), f"{i * tick * 100:.4g}%") for i in range(first, last + 1)
        ),
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


def _steps(spots: Sequence[tuple[float, float]]) -> str:
    """What the front's points attain: up to the next one's success, then over to its accuracy."""
    if len(spots) < 2:
        return ""
    head, *rest = spots
    return f"M{head[0]} {head[1]}" + "".join(f"V{y}H{x}" for x, y in rest)


def _shaded(
    search: SearchRecord, place_x: Scale, place_y: Scale
) -> list[tuple[float, float, float, float, str]]:
    found, edge = [], _edge(search)
    if edge is not None and (right := place_x(edge)) > LEFT:
        loss = search.constraints["accuracy_loss"]
        text = f"more than {loss:g} {'point' if loss == 1 else 'points'} lost"
        found.append((float(LEFT), float(TOP), round(right - LEFT, 1), float(BOTTOM - TOP), text))
    bound = search.constraints.get("attack_success")
    if bound is not None and bound < 1:
        height = round(place_y(bound) - TOP, 1)
        text = f"more than {percent(bound)} attack success"
        found.append((float(LEFT), float(TOP), float(RIGHT - LEFT), height, text))
    return found
