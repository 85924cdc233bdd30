"""How the estimates of a search narrowed as more targets were attacked."""

from __future__ import annotations

from inversionlab.report.charts.line_chart import (
    Chart,
    ChartSpec,
    Point,
    ReferenceLine,
    Series,
    draw,
)
from inversionlab.results.search import Search, Trial
from inversionlab.results.wording import estimate_text, words

FOLLOWED = 4
"""Curves in one chart; more intervals on each other cannot be told apart."""


def convergence_chart(search: Search) -> Chart | None:
    """Success over the targets attacked, for the recommended trial and others of the front."""
    shown = _followed(search)
    series = tuple(
        Series(
            _followed_name(search, trial),
            f"s{i}",
            tuple(
                Point(float(n), e.value, e.low, e.high, estimate_text(e)) for n, e in trial.curve
            ),
        )
        for i, trial in enumerate(shown)
    )
    references: tuple[ReferenceLine, ...] = ()
    if search.null is not None:
        attack, _, share = search.null
        name = f"{words(attack)} (no model asked)"
        references = (ReferenceLine(name, "null", share.value, estimate_text(share)),)
    return draw(
        ChartSpec(
            title="How the estimates narrowed",
            about="Attack success after so many targets, with 95% intervals, for "
            f"{len(shown)} of the front’s {len(search.front)} trials."
            if len(shown) < len(search.front)
            else "Attack success after so many targets, with 95% intervals, for the front’s trials.",
            x_name="targets",
            x_label="targets attacked",
            series=series,
            references=references,
        )
    )


def _followed(search: Search) -> list[Trial]:
    """The recommended trial, then trials spread along the front."""
    best = search.recommended
    first = [best] if best is not None and best.curve else []
    others = [t for t in search.front if t.curve and t is not best]
    room = FOLLOWED - len(first)
    if len(others) > room:
        step = (len(others) - 1) / max(room - 1, 1)
        others = [others[round(i * step)] for i in range(room)]
    return first + others


def _followed_name(search: Search, trial: Trial) -> str:
    tags = ["recommended"] * (trial is search.recommended) + ["paper"] * trial.paper
    return f"trial {trial.number}" + (f" ({', '.join(tags)})" if tags else "")
