"""The charts of a sweep: attack success and accuracy against the swept setting."""

from __future__ import annotations

from dataclasses import replace

from inversionlab.metrics import Estimate
from inversionlab.report.charts.line_chart import STYLES, ChartSpec, Point, ReferenceLine, Series
from inversionlab.results.rows import Row
from inversionlab.results.run_record import RunRecord
from inversionlab.results.run_results import RunResults
from inversionlab.results.wording import estimate_text, words

LOG_FROM = 50
"""From this ratio of the largest to the smallest value on, an axis is logarithmic."""


def success_curves(results: RunResults) -> list[ChartSpec]:
    """Attack success by each evaluator against the swept setting; empty without a sweep."""
    names = results.evaluators if results.run.record.sweep else []
    return [_success(results, i, name) for i, name in enumerate(names)]


def accuracy_curves(results: RunResults) -> list[ChartSpec]:
    """Recognition accuracy against the swept setting; empty without a sweep."""
    if results.run.record.sweep is None:
        return []
    end = end_point(results.run.record)
    models = {r.protected: r for r in results.rows if _on_curve(r)}.values()
    series = []
    for name, style, field in (
        ("all people", "accuracy", "accuracy_all"),
        ("attacked people", "s3", "accuracy_targets"),
    ):
        pairs = [(_x(r, end), getattr(r, field)) for r in models]
        points = tuple(_point(x, e) for x, e in pairs if e is not None)
        series.append(Series(name, style, points))
    spec = _sweep_spec(
        results,
        "Recognition accuracy",
        "Share of test pictures that the protected model names correctly; bands are 95% intervals. "
        "The axis does not start at 0 where all values are high.",
    )
    return [replace(spec, series=tuple(series))]


def end_point(record: RunRecord) -> float | None:
    """The value of the swept setting that means "undefended": 1 for the victim's share of a mixture."""
    shares = {c.victim_share for c in record.cells if c.point is not None}
    return 1.0 if record.sweep and shares == {record.sweep.short_name} else None


def _success(results: RunResults, evaluator: int, name: str) -> ChartSpec:
    end = end_point(results.run.record)
    usable = [r for r in results.rows if r.by_evaluator and _on_curve(r)]
    # A model that can be stripped gives an attack two lines; both begin at the undefended model.
    lines = dict.fromkeys((r.attack, r.stripped) for r in results.rows if r.point is not None)
    series = []
    for i, (attack, stripped) in enumerate(lines):
        points = tuple(
            _point(_x(r, end), r.by_evaluator[evaluator].top5)
            for r in usable
            if r.attack == attack and (r.stripped == stripped or r.kind == "undefended")
        )
        title = f"{words(attack)}, stripped" if stripped else words(attack)
        series.append(Series(title, f"s{i % STYLES}", points))
    null = results.null_by(evaluator)
    references: tuple[ReferenceLine, ...] = ()
    if null is not None:
        title = f"{words(null.attack.attack)} (no model asked)"
        text = estimate_text(null.success)
        references = (ReferenceLine(title, "null", null.success.value, text),)
    spec = _sweep_spec(
        results,
        f"Attack success, evaluator “{words(name)}”",
        "Share of reconstructions with the right person among the evaluator’s top 5; bands are 95% intervals.",
    )
    return replace(spec, series=tuple(series), references=references)


def _sweep_spec(results: RunResults, title: str, about: str) -> ChartSpec:
    sweep, end = results.run.record.sweep, end_point(results.run.record)
    assert sweep is not None
    values = [r.point for r in results.rows if r.point is not None]
    # At 0 most defenses are idle: that is the undefended model, which has a place of its own.
    placed = [v for v in values if v != 0]
    wide = len(placed) > 1 and min(placed) > 0 and max(placed) / min(placed) >= LOG_FROM
    x_name, marked = sweep.short_name, sweep.marked
    return ChartSpec(
        title=title,
        about=about,
        x_name=x_name,
        x_label=x_name if end is None else f"{x_name} ({end:g} = undefended)",
        series=(),
        mark=(marked, "paper") if marked is not None and marked in values else None,
        end="undefended",
        log=end is None and wide and 0 not in values,
    )


def _on_curve(row: Row) -> bool:
    return row.point is not None or row.kind == "undefended"


def _x(row: Row, end: float | None) -> float | None:
    return end if row.kind == "undefended" else row.point


def _point(x: float | None, estimate: Estimate) -> Point:
    return Point(x, estimate.value, estimate.low, estimate.high, estimate_text(estimate))
