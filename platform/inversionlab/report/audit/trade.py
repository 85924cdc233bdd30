"""The cost of each defended model to its users against what it leaves to attackers."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

from inversionlab.report.charts.figure import Figure, Numbers, share_floor, with_known
from inversionlab.report.charts.lines import dot_chart
from inversionlab.results.models import models_of
from inversionlab.results.rows import Row
from inversionlab.results.run_results import MAX_LOSS_POINTS, RunResults
from inversionlab.results.wording import IF_STRIPPED, estimate_text, listed, number, words

ABOUT = (
    "Each model under its strongest attack: {cost} against top-{k} success left. Points low and to the left are "
    "better."
)
HOLLOW = " Hollow marks are models as released, where an attacker who holds the weights finds more."
UNDEFENDED = "undefended"


def trade_offs(results: RunResults) -> list[Figure]:
    """Success by each evaluator against accuracy lost, and against distortion where answers are changed.

    All have the same vertical axis. Empty without a sweep and with fewer than two defended models.
    """
    defended = [rows for rows in results.models.values() if rows[-1].kind == "defended"]
    if results.run.record.sweep is None and len(defended) < 2:
        return []
    losses = {r.protected: r.loss_points for r in results.rows if math.isfinite(r.loss_points)}
    models = models_of(results.run).items()
    moved = {name: m.distortion for name, m in models if math.isfinite(m.distortion)}
    costs = [("trade-off", "Trade-off", "accuracy lost", "points of accuracy lost", losses)]
    if max(moved.values(), default=0.0) > 0:
        far = "how far the answers are from the undefended model’s"
        axis = "mean L1 distance of the probability vectors"
        costs.append(("distortion", "Distortion", far, axis, moved))
    tables = {
        (i, place): with_known(_rows(results, cost[-1], place))
        for i, cost in enumerate(costs)
        for place in range(len(results.evaluators))
    }
    floor = share_floor([row["low"] for table in tables.values() for row in table])
    found = []
    for (i, place), table in tables.items():
        if not table:
            continue
        name, title, cost, axis, values = costs[i]
        evaluator = results.evaluators[place]
        xs = [*values.values(), 0.0]
        margin = 0.04 * (max(xs) - min(xs)) or 0.5
        limit = i == 0 and max(xs) >= MAX_LOSS_POINTS
        hollow = HOLLOW if any(row["hollow"] for row in table) else ""
        figure = Figure(
            name=f"{name}-{evaluator}",
            title=f"{title}, evaluator “{words(evaluator)}”",
            # Said once for all evaluators.
            about="" if place else ABOUT.format(cost=cost, k=results.guesses) + hollow,
            rows=table,
            drawing=dot_chart(
                table,
                x_title=axis,
                floor=floor,
                x_domain=(min(xs) - margin, max(xs) + 2 * margin),
                mark=(MAX_LOSS_POINTS, "limit") if limit else None,
                joined=results.run.record.sweep is not None,
            ),
            numbers=_numbers(table, axis),
        )
        found.append(figure)
    return found


def _rows(results: RunResults, costs: Mapping[str, float], place: int) -> list[dict[str, Any]]:
    """The strongest attack on each model, and on those that can be stripped that on what is released."""
    found: list[dict[str, Any]] = []
    for order, (name, rows) in enumerate(results.models.items()):
        if name not in costs:
            continue
        stripped = any(row.stripped for row in rows)
        groups = [(rows, 0), ([row for row in rows if not row.stripped], 1)][: 1 + stripped]
        for group, hollow in groups:
            if top := results.strongest(group, place):
                found.append(_row(top.attack, top.success, costs[name], order, hollow))
    at: dict[tuple[float, float], list[dict[str, Any]]] = {}
    for row in found:
        at.setdefault((round(row["x"], 1), round(row["y"], 2)), []).append(row)
    for alike in at.values():
        # One dot hides the others.
        if len(alike) > 1 and alike[0]["name"] is None:
            alike[0]["name"] = f"×{len(alike)}"
            models = listed([row["model"] for row in alike])
            for row in alike:
                row["text"] += f" ({models} coincide here)"
    return found


def _row(row: Row, success: Any, cost: float, order: int, hollow: int) -> dict[str, Any]:
    how = f", {IF_STRIPPED}" if row.stripped else ""
    said = estimate_text(success)
    # The values of a sweep are many: one colour, and the value at the dot. Other models have one each.
    swept = row.point is not None
    return {
        "series": row.model.rpartition(", ")[0] if swept else row.model,
        "model": row.model,
        "attack": row.attack,
        "x": round(cost, 6),
        "y": success.value,
        "low": success.low,
        "high": success.high,
        "hollow": hollow,
        "order": order,
        "name": f"{row.point:g}" if swept and not hollow else None,
        "said": f"{said}{how}",
        "text": f"{row.model}: {said} by {words(row.attack)}{how}; {number(cost)} lost",
    }


def _numbers(table: Sequence[Mapping[str, Any]], axis: str) -> Numbers:
    body = [(row["model"], number(row["x"]), words(row["attack"]), row["said"]) for row in table]
    return Numbers(("model", axis, "strongest attack", "success"), tuple(body))
