"""Accuracy against attack success: every trial as a mark, and the front as a line."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from inversionlab.metrics import Estimate
from inversionlab.report.charts.axes import Scale, linear, nice_ticks
from inversionlab.report.charts.labels import Label, place
from inversionlab.report.search.wording import summary
from inversionlab.results.search import Search, Trial
from inversionlab.results.wording import percent, words

WIDTH, HEIGHT = 860, 430
LEFT, RIGHT, TOP, BOTTOM = 54, 844, 16, 376
CLOSE_UP = 6.0
"""The close-up shows this many times the allowed loss."""


@dataclass(frozen=True)
class Mark:
    """One trial in the chart."""

    trial: Trial
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
    """Drawn in this order, so the last ones are on top."""
    labels: tuple[Label, ...]
    front: str
    """The front as an SVG path in steps; empty with fewer than two points."""
    shaded: tuple[tuple[float, float, float, float, str], ...]
    """What the constraints exclude: (x, y, width, height, text)."""
    null: tuple[float, str] | None
    x_ticks: tuple[tuple[float, str], ...]
    y_ticks: tuple[tuple[float, str], ...]
    hidden: int
    """Trials left of the chart's edge."""


def front_charts(search: Search) -> list[FrontChart]:
    """The whole range, and a close-up of the accurate trials where the whole squeezes them."""
    shown = [t for t in _drawn(search) if t.accuracy and t.success]
    if not shown:
        return []
    lowest = min(_accuracy(t) for t in shown)
    charts = [_front_chart(search, shown, lowest, "All trials")]
    edge, loss = _edge(search), search.max_loss
    if edge is not None and loss:
        start = edge + loss / 100 - CLOSE_UP * loss / 100
        near = [t for t in shown if _accuracy(t) >= start]
        if lowest < start - CLOSE_UP * loss / 100 and len(near) >= 3:
            title = f"Close-up: at most {CLOSE_UP * loss:g} points lost"
            charts.append(_front_chart(search, near, start, title, len(shown) - len(near)))
    return charts


def _drawn(search: Search) -> list[Trial]:
    open_trial = [search.undefended] if search.undefended else []
    return [t for t in search.trials if t.state in ("complete", "stopped")] + open_trial


def _accuracy(trial: Trial) -> float:
    assert trial.accuracy is not None
    return trial.accuracy.value


def _success(trial: Trial) -> Estimate:
    assert trial.success is not None
    return trial.success


def _edge(search: Search) -> float | None:
    """The least accuracy that the constraint allows."""
    open_trial = search.undefended
    if search.max_loss is None or open_trial is None or open_trial.accuracy is None:
        return None
    return open_trial.accuracy.value - search.max_loss / 100


def _front_chart(
    search: Search, shown: Sequence[Trial], lowest: float, title: str, hidden: int = 0
) -> FrontChart:
    edge = _edge(search)
    accuracies = [_accuracy(t) for t in shown] + ([edge] if edge is not None else [])
    start, stop = min(lowest, *accuracies), max(accuracies)
    margin = max((stop - start) * 0.04, 0.002)
    start, stop = start - margin, min(stop + margin, 1.0 + margin)
    place_x, place_y = linear(start, stop, LEFT, RIGHT), linear(0.0, 1.0, BOTTOM, TOP)
    marks = [_mark(search, t, place_x, place_y) for t in shown]
    marks.sort(
        key=lambda m: ("stopped", "other", "front", "open", "paper", "recommended").index(m.style)
    )
    ticks = _fine_ticks(start, stop)
    return FrontChart(
        title=title,
        marks=tuple(marks),
        labels=_labels(marks),
        front=_steps([(m.x, m.y) for t in search.front for m in marks if m.trial is t]),
        shaded=tuple(_shaded(search, place_x, place_y)),
        null=_null(search, place_y),
        x_ticks=tuple((place_x(t), f"{t * 100:.4g}%") for t in ticks),
        y_ticks=tuple((place_y(t), f"{t * 100:g}%") for t in nice_ticks(0.0, 1.0)),
        hidden=hidden,
    )


def _fine_ticks(start: float, stop: float) -> list[float]:
    """Round numbers inside a range, about twice as many as a small chart has."""
    step = nice_ticks(0.0, (stop - start) / 2)[1]
    first, last = math.ceil(start / step), math.floor(min(stop, 1.0) / step)
    return [i * step for i in range(first, last + 1)]


def _mark(search: Search, trial: Trial, place_x: Scale, place_y: Scale) -> Mark:
    success = _success(trial)
    return Mark(
        trial=trial,
        style=_style(search, trial),
        x=place_x(_accuracy(trial)),
        y=place_y(success.value),
        low=place_y(success.low),
        high=place_y(success.high),
        title=summary(search, trial),
    )


def _style(search: Search, trial: Trial) -> str:
    if trial is search.undefended:
        return "open"
    if trial is search.recommended:
        return "recommended"
    if trial.paper:
        return "paper"
    if not trial.complete:
        return "stopped"
    return "front" if trial in search.front else "other"


def _steps(spots: Sequence[tuple[float, float]]) -> str:
    """What the front's points attain: up to the next one's success, then over to its accuracy."""
    if len(spots) < 2:
        return ""
    head, *rest = spots
    return f"M{head[0]} {head[1]}" + "".join(f"V{y}H{x}" for x, y in rest)


def _shaded(
    search: Search, place_x: Scale, place_y: Scale
) -> list[tuple[float, float, float, float, str]]:
    found, edge = [], _edge(search)
    if edge is not None and (right := place_x(edge)) > LEFT:
        text = f"more than {search.max_loss:g} {'point' if search.max_loss == 1 else 'points'} lost"
        found.append((float(LEFT), float(TOP), round(right - LEFT, 1), float(BOTTOM - TOP), text))
    bound = (search.record["constraints"] or {}).get("attack_success")
    if bound is not None and bound < 1:
        height = round(place_y(bound) - TOP, 1)
        text = f"more than {percent(bound)} attack success"
        found.append((float(LEFT), float(TOP), float(RIGHT - LEFT), height, text))
    return found


def _null(search: Search, place_y: Scale) -> tuple[float, str] | None:
    if search.null is None:
        return None
    attack, _, share = search.null
    return place_y(share.value), f"{words(attack)}: {percent(share.value)}"


def _labels(marks: Sequence[Mark]) -> tuple[Label, ...]:
    """The named marks' texts."""
    names = [(m.x, m.y, _name(m)) for m in sorted(marks, key=lambda m: m.y) if _name(m)]
    return place(names, [(m.x, m.y) for m in marks], (LEFT, 0, WIDTH, BOTTOM))


def _name(mark: Mark) -> str:
    both = mark.style == "recommended" and mark.trial.paper
    names = {"recommended": "recommended", "paper": "paper’s point", "open": "undefended"}
    return "paper’s point, recommended" if both else names.get(mark.style, "")
