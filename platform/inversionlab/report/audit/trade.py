"""What each defended model costs its users against what it leaves to attackers."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from inversionlab.report.charts.line_chart import STYLES, Plan, Point, Series
from inversionlab.results.models import models_of
from inversionlab.results.recommendation import MAX_LOSS_POINTS, strongest
from inversionlab.results.rows import Row
from inversionlab.results.run_data import RunData
from inversionlab.results.wording import IF_STRIPPED, estimate_text, words

ABOUT = (
    "Each dot is one model under its strongest attack: {cost} against top-5 success left, by each "
    "judge. Low and left is good; the ring is the undefended model. Bars are 95% intervals."
)
LEFT_ON = ", perturbation left on"


def trade_plans(run: RunData, rows: Sequence[Row], judges: Sequence[str]) -> list[Plan]:
    """Success against accuracy lost; and, where answers are changed, against how far they are moved."""
    losses = {r.protected: r.loss_points for r in rows if math.isfinite(r.loss_points)}
    moved = {
        name: model.distortion
        for name, model in models_of(run).items()
        if math.isfinite(model.distortion)
    }
    accuracy = Plan(
        title="Trade-off",
        about=ABOUT.format(cost="accuracy lost"),
        x_name="points lost",
        x_label="accuracy lost on all people, percentage points",
        series=_series(rows, judges, losses),
        mark=(MAX_LOSS_POINTS, "limit")
        if max(losses.values(), default=0.0) >= MAX_LOSS_POINTS
        else None,
    )
    distortion = Plan(
        title="Distortion",
        about=ABOUT.format(cost="how far the answers are from the undefended model’s"),
        x_name="distortion",
        x_label="mean L1 distance of the probability vectors, 0 to 2",
        series=_series(rows, judges, moved),
    )
    return [accuracy, *([distortion] if max(moved.values(), default=0.0) > 0 else [])]


def _series(
    rows: Sequence[Row], judges: Sequence[str], costs: Mapping[str, float]
) -> tuple[Series, ...]:
    """A series a judge; and a second one of the models that can be stripped, as they are released."""
    bare = {row.protected for row in rows if row.stripped}
    released = [row for row in rows if row.protected in bare and not row.stripped]
    found: list[Series] = []
    for kept, told in ((rows, ""), (released, LEFT_ON))[: 1 + bool(bare)]:
        for judge, name in enumerate(judges):
            points = _points(kept, judge, costs, told if judge == 0 else None)
            style = f"s{len(found) % STYLES}"
            found.append(Series(words(name) + told, style, points, joined=False))
    return tuple(found)


def _points(
    rows: Sequence[Row], judge: int, costs: Mapping[str, float], told: str | None
) -> tuple[Point, ...]:
    """A point a model, named with what is told of it; None: without names, which stand at another judge's."""
    models: dict[str, list[Row]] = {}
    for row in rows:
        if row.kind != "null" and row.protected in costs:
            models.setdefault(row.protected, []).append(row)
    tops = [top for group in models.values() if (top := strongest(group, judge))]
    return tuple(_point(r, judge, costs[r.protected], told) for r in tops)


def _point(row: Row, judge: int, cost: float, told: str | None) -> Point:
    top5 = row.judgements[judge].top5
    how = f", {IF_STRIPPED}" if row.stripped else ""
    text = f"{row.model.rpartition(', ')[2]}: {estimate_text(top5)}{how}"
    # The values of a sweep are many and stand in order; models of different kinds need their names.
    name = "" if told is None or row.point is not None else row.label + told
    ring = row.kind == "undefended"
    return Point(round(cost, 6), top5.value, top5.low, top5.high, text, name, ring)
