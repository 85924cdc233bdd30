"""Cumulative match characteristics: the share of hits against the number of guesses."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace

from inversionlab.report.charts.line_chart import STYLES, ChartSpec, Point, Series
from inversionlab.results.rows import Row
from inversionlab.results.run_results import RunResults
from inversionlab.results.wording import percent, words


def guess_curves(results: RunResults) -> list[ChartSpec]:
    """A chart for each attack except the null ones, by the headline evaluator."""
    attacks = dict.fromkeys(r.attack for r in results.rows if r.kind != "null")
    return [_chart(results, attack) for attack in attacks]


def _chart(results: RunResults, attack: str) -> ChartSpec:
    evaluator, best = results.headline_evaluator, results.best
    mine = [r for r in results.rows if r.attack == attack and r.by_evaluator]
    defended = [r for r in mine if r.kind == "defended"]
    chosen = [r for r in defended if r.marked or (best and r.protected == best.attack.protected)]
    few = defended if len(defended) < STYLES else chosen or defended[: STYLES - 1]
    shown = [*(r for r in mine if r.kind == "undefended"), *few]
    named = [(f"{r.label} (paper)" if r.marked and best else r.label, r) for r in shown]
    series = [_series(row, evaluator, name, f"s{i}") for i, (name, row) in enumerate(named)]
    null = results.null_by(evaluator)
    if null is not None and shown:
        series.append(_series(null.attack, evaluator, words(null.attack.attack), "null"))
    name = words(mine[0].by_evaluator[evaluator].evaluator) if mine else ""
    return ChartSpec(
        title=words(attack),
        about=f"Share of reconstructions whose person is among the first k guesses of the evaluator “{name}”, "
        "for k on the horizontal axis.",
        x_name="guesses",
        x_label="guesses k",
        series=tuple(_until_all_found(series)),
    )


def _series(row: Row, evaluator: int, name: str, style: str) -> Series:
    shares = enumerate(row.by_evaluator[evaluator].cmc_K.tolist(), start=1)
    points = [Point(float(k), y, y, y, percent(y)) for k, y in shares if math.isfinite(y)]
    return Series(name, style, tuple(points), dots=False)


def _until_all_found(series: Sequence[Series]) -> list[Series]:
    """The curves up to where the last one reaches 1; with few people that is long before the end."""
    ends = [next((p.x for p in s.points if p.y >= 1), None) for s in series]
    known = [e for e in ends if e is not None]
    if not known or len(known) < len(ends):
        return list(series)
    end = max(*known, 5.0)
    return [replace(s, points=tuple(p for p in s.points if (p.x or 0) <= end)) for s in series]
