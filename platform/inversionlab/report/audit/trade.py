"""The cost of each defended model to its users against what it leaves to attackers."""

import math
from collections.abc import Mapping

from inversionlab.report.charts.line_chart import STYLES, ChartSpec, Point, Series
from inversionlab.results.models import models_of
from inversionlab.results.ranking import Strongest
from inversionlab.results.rows import Row
from inversionlab.results.run_results import MAX_LOSS_POINTS, RunResults
from inversionlab.results.wording import IF_STRIPPED, estimate_text, words

ABOUT = (
    "Each dot is one model under its strongest attack: {cost} against top-{k} success left, by each "
    "evaluator. Low and left is good; the ring is the undefended model. Bars are 95% intervals."
)


def trade_offs(results: RunResults) -> list[ChartSpec]:
    """Success against accuracy lost, and against distortion where answers are changed.

    Empty without a sweep and with fewer than two defended models.
    """
    defended = [rows for rows in results.models.values() if rows[-1].kind == "defended"]
    if results.run.record.sweep is None and len(defended) < 2:
        return []
    losses = {r.protected: r.loss_points for r in results.rows if math.isfinite(r.loss_points)}
    models = models_of(results.run).items()
    moved = {name: m.distortion for name, m in models if math.isfinite(m.distortion)}
    limit = max(losses.values(), default=0.0) >= MAX_LOSS_POINTS
    charts = [
        ChartSpec(
            title="Trade-off",
            about=ABOUT.format(cost="accuracy lost", k=results.guesses),
            x_name="points lost",
            x_label="accuracy lost on all people, percentage points",
            series=_series(results, losses),
            mark=(MAX_LOSS_POINTS, "limit") if limit else None,
        )
    ]
    if max(moved.values(), default=0.0) > 0:
        distortion = ChartSpec(
            title="Distortion",
            about=ABOUT.format(
                cost="how far the answers are from the undefended model’s", k=results.guesses
            ),
            x_name="distortion",
            x_label="mean L1 distance of the probability vectors, 0 to 2",
            series=_series(results, moved),
        )
        charts.append(distortion)
    return charts


def _series(results: RunResults, costs: Mapping[str, float]) -> tuple[Series, ...]:
    """A series for each evaluator, and a second one for the models that can be stripped, as they are released."""
    models = [rows for name, rows in results.models.items() if name in costs]
    bare = [rows for rows in models if any(row.stripped for row in rows)]
    released = [[row for row in rows if not row.stripped] for rows in bare]
    found: list[Series] = []
    for groups, note in ((models, ""), (released, ", perturbation left on"))[: 1 + bool(bare)]:
        for evaluator, name in enumerate(results.evaluators):
            tops = [results.strongest(group, evaluator) for group in groups if group]
            # The names of the models are written once, at the first evaluator's dots.
            points = tuple(
                _point(top, costs[top.attack.protected], note, named=evaluator == 0)
                for top in tops
                if top is not None
            )
            style = f"s{len(found) % STYLES}"
            found.append(Series(words(name) + note, style, points, joined=False))
    return tuple(found)


def _point(top: Strongest[Row], cost: float, note: str, *, named: bool) -> Point:
    row, success = top.attack, top.success
    how = f", {IF_STRIPPED}" if row.stripped else ""
    text = f"{row.model.rpartition(', ')[2]}: {estimate_text(success)}{how}"
    # The values of a sweep are many and stand in order; models of different kinds need their names.
    name = row.label + note if named and row.point is None else ""
    return Point.of(round(cost, 6), success, text, name=name, ring=row.kind == "undefended")
