"""How the estimates of a search narrow as more targets are attacked."""

from __future__ import annotations

from inversionlab.report.charts.line_chart import (
    Chart,
    ChartSpec,
    Point,
    ReferenceLine,
    Series,
    draw,
)
from inversionlab.results.search import SearchRecord, TrialRecord
from inversionlab.results.wording import estimate_text, words

MAX_CURVES = 4
"""Curves in one chart; more intervals on top of each other cannot be told apart."""


def convergence_chart(search: SearchRecord) -> Chart | None:
    """Success over the targets attacked, for the recommended trial and others of the front."""
    shown = _shown(search)
    front = len(search.front_trials)
    series = []
    for i, trial in enumerate(shown):
        tags = ["recommended"] * (trial is search.best) + ["paper"] * trial.paper
        name = f"trial {trial.number}" + (f" ({', '.join(tags)})" if tags else "")
        points = [
            Point(float(p.targets), p.value, p.low, p.high, estimate_text(p.success))
            for p in trial.curve
        ]
        series.append(Series(name, f"s{i}", tuple(points)))
    references: tuple[ReferenceLine, ...] = ()
    if (guess := search.guess) is not None:
        name = f"{words(guess.attack)} (no model asked)"
        references = (
            ReferenceLine(name, "null", guess.success.value, estimate_text(guess.success)),
        )
    whose = (
        f"{len(shown)} of the front’s {front} trials"
        if len(shown) < front
        else "the front’s trials"
    )
    return draw(
        ChartSpec(
            title="How the estimates narrowed",
            about=f"Attack success after so many targets, with 95% intervals, for {whose}.",
            x_name="targets",
            x_label="targets attacked",
            series=tuple(series),
            references=references,
        )
    )


def _shown(search: SearchRecord) -> list[TrialRecord]:
    """The recommended trial, then trials spread along the front."""
    first = [search.best] if search.best is not None and search.best.curve else []
    others = [t for t in search.front_trials if t.curve and t is not search.best]
    room = MAX_CURVES - len(first)
    if len(others) > room:
        step = (len(others) - 1) / max(room - 1, 1)
        others = [others[round(i * step)] for i in range(room)]
    return first + others
