"""How the estimates of a search narrow as more targets are attacked."""

from collections.abc import Mapping
from typing import Any

from inversionlab.metrics import Estimate
from inversionlab.report.audit.curves import level, swept
from inversionlab.report.charts.figure import Figure, pivoted, share_floor, with_known
from inversionlab.report.charts.lines import line_chart
from inversionlab.results.search import SearchRecord

MAX_CURVES = 4
"""Curves in one chart; more intervals on top of each other cannot be told apart."""


def convergence_figure(search: SearchRecord) -> Figure | None:
    """Success over the targets attacked, for the recommended trial and others spread along the front."""
    best, front = search.best, search.front_trials
    first = [best] if best is not None and best.curve else []
    others = [t for t in front if t.curve and t is not best]
    room = MAX_CURVES - len(first)
    if len(others) > room:
        step = (len(others) - 1) / max(room - 1, 1)
        others = [others[round(i * step)] for i in range(room)]
    shown = first + others
    rows: list[Mapping[str, Any]] = []
    for trial in shown:
        chosen = "recommended" if search.helps else "best tried"
        tags = [chosen] * (trial is best) + ["paper"] * trial.paper
        name = f"trial {trial.number}" + (f" ({', '.join(tags)})" if tags else "")
        for p in trial.curve:
            row = swept(name, float(p.targets), Estimate(p.value, p.low, p.high, 1))
            rows.append({**row, "text": f"{row['text']} after {p.targets} targets"})
    rows = with_known(rows)
    if not rows:
        return None
    special = {}
    if guess := search.guess:
        rows.append(level(guess.attack, guess.success))
        special = {rows[-1]["series"]: "soft"}
    part = f"{len(shown)} of the front’s {len(front)} trials"
    whose = part if len(shown) < len(front) else "the front’s trials"
    return Figure(
        name="convergence",
        title="How the estimates narrowed",
        about=f"Attack success after so many targets, with 95% intervals, for {whose}.",
        rows=rows,
        drawing=line_chart(
            rows,
            x_title="targets attacked",
            floor=share_floor([row["low"] for row in rows]),
            special=special,
        ),
        numbers=pivoted(rows, "targets"),
    )
