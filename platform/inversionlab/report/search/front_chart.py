"""Accuracy against attack success: every trial as a mark, and the front as a line."""

from collections import defaultdict
from collections.abc import Sequence
from typing import Any

from inversionlab.report.charts.figure import Figure
from inversionlab.report.charts.trials import trial_chart
from inversionlab.report.search.wording import DRAWN, style, summary
from inversionlab.results.search import SearchRecord
from inversionlab.results.trial_record import TrialRecord
from inversionlab.results.wording import percent, words

CLOSE_UP = 6.0
"""The close-up shows this many times the allowed loss."""
NAMES = {
    "recommended": "recommended",
    "best": "best tried",
    "paper": "paper’s point",
    "open": "undefended",
}


def front_figures(search: SearchRecord) -> list[Figure]:
    """The whole range, and a close-up of the accurate trials if the whole range squeezes them."""
    bare = search.undefended
    drawn = [t for t in search.trials if t.state in ("complete", "stopped")]
    rows = _rows(search, [*drawn, *([bare] if bare else [])])
    if not rows:
        return []
    loss, edge = search.constraints.get("accuracy_loss"), None
    if loss is not None and bare is not None and bare.accuracy is not None:
        edge = bare.accuracy.value - loss / 100
    lowest = min(row["x"] for row in rows)
    figures = [_figure(search, rows, lowest, edge, "front", "All trials")]
    if edge is not None and loss:
        start = edge + loss / 100 - CLOSE_UP * loss / 100
        near = [row for row in rows if row["x"] >= start]
        if lowest < start - CLOSE_UP * loss / 100 and len(near) >= 3:
            title = f"Close-up: at most {CLOSE_UP * loss:g} points lost"
            hidden = len(rows) - len(near)
            figures.append(_figure(search, near, start, edge, "front-close", title, hidden))
    return figures


def _rows(search: SearchRecord, trials: Sequence[TrialRecord]) -> list[dict[str, Any]]:
    """The trials that have both results, in drawing order: the last ones are on top."""
    rows: list[dict[str, Any]] = []
    at: dict[tuple[float, float], list[dict[str, Any]]] = defaultdict(list)
    for trial in trials:
        if not (trial.accuracy and trial.attack_success):
            continue
        kind, share = style(search, trial), trial.attack_success
        both = kind in ("recommended", "best") and trial.paper
        row: dict[str, Any] = {
            "trial": "undefended" if trial.number is None else trial.number,
            "kind": kind,
            "x": trial.accuracy.value,
            "y": share.value,
            "low": share.low,
            "high": share.high,
            "name": f"paper’s point, {NAMES[kind]}" if both else NAMES.get(kind),
            "same": None,
            "text": summary(search, trial),
        }
        rows.append(row)
        at[round(row["x"], 6), round(row["y"], 6)].append(row)
    rows.sort(key=lambda row: DRAWN.index(row["kind"]))
    for alike in at.values():
        if len(alike) > 1:
            numbers = ", ".join(str(row["trial"]) for row in alike)
            alike[0]["same"] = f"×{len(alike)}"
            for row in alike:
                row["text"] += f" (trials {numbers} coincide here)"
    return rows


def _figure(
    search: SearchRecord,
    rows: Sequence[dict[str, Any]],
    lowest: float,
    edge: float | None,
    name: str,
    title: str,
    hidden: int = 0,
) -> Figure:
    """A chart of trials; `edge` is the least accuracy that is allowed."""
    xs = [row["x"] for row in rows] + ([edge] if edge is not None else [])
    start, stop = min(lowest, *xs), max(xs)
    margin = max((stop - start) * 0.04, 0.002)
    start, stop = start - margin, min(stop + margin, 1.0 + margin)
    excluded = []
    if edge is not None and edge > start:
        loss = search.constraints["accuracy_loss"]
        text = f"more than {loss:g} {'point' if loss == 1 else 'points'} lost"
        excluded.append({"x": start, "x2": edge, "y": 0.0, "y2": 1.0, "text": text})
    bound = search.constraints.get("attack_success")
    if bound is not None and bound < 1:
        text = f"more than {percent(bound)} attack success"
        excluded.append({"x": start, "x2": stop, "y": bound, "y2": 1.0, "text": text})
    shown = {row["trial"] for row in rows}
    front = [
        {"x": t.accuracy.value, "y": t.attack_success.value}
        for t in search.front_trials
        if t.accuracy and t.attack_success and t.number in shown
    ]
    null, guess = None, search.guess
    if guess is not None:
        share = guess.success.value
        null = {"y": share, "text": f"{words(guess.attack)}: {percent(share)}, no model asked"}
    are = "trial is" if hidden == 1 else "trials are"
    return Figure(
        name=name,
        title=title,
        about=f"{hidden} less accurate {are} to the left of this chart." if hidden else "",
        rows=rows,
        drawing=trial_chart(
            rows,
            x_domain=(start, stop),
            front=front if len(front) > 1 else [],
            excluded=excluded,
            null=null,
        ),
        wide=True,
    )
