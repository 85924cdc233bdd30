"""How the estimates of a search narrow as more targets are attacked."""

from inversionlab.metrics import Estimate
from inversionlab.report.charts.line_chart import ChartSpec, Point, ReferenceLine, Series
from inversionlab.results.search import SearchRecord

MAX_CURVES = 4
"""Curves in one chart; more intervals on top of each other cannot be told apart."""


def convergence_curves(search: SearchRecord) -> ChartSpec:
    """Success over the targets attacked, for the recommended trial and others spread along the front."""
    best, front = search.best, search.front_trials
    first = [best] if best is not None and best.curve else []
    others = [t for t in front if t.curve and t is not best]
    room = MAX_CURVES - len(first)
    if len(others) > room:
        step = (len(others) - 1) / max(room - 1, 1)
        others = [others[round(i * step)] for i in range(room)]
    shown = first + others
    series = []
    for i, trial in enumerate(shown):
        tags = ["recommended"] * (trial is best) + ["paper"] * trial.paper
        name = f"trial {trial.number}" + (f" ({', '.join(tags)})" if tags else "")
        points = [
            Point.of(float(p.targets), Estimate(p.value, p.low, p.high, 1)) for p in trial.curve
        ]
        series.append(Series(name, f"s{i}", tuple(points)))
    part = f"{len(shown)} of the front’s {len(front)} trials"
    whose = part if len(shown) < len(front) else "the front’s trials"
    guess = search.guess
    return ChartSpec(
        title="How the estimates narrowed",
        about=f"Attack success after so many targets, with 95% intervals, for {whose}.",
        x_name="targets",
        x_label="targets attacked",
        series=tuple(series),
        references=(ReferenceLine.guess(guess.attack, guess.success),) if guess else (),
    )
