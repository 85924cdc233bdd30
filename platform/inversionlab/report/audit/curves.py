"""The curves of a run: success and accuracy against the swept setting, hits against the number of guesses."""

import math
from collections.abc import Sequence
from dataclasses import replace

from inversionlab.report.charts.line_chart import STYLES, ChartSpec, Point, ReferenceLine, Series
from inversionlab.results.rows import Row
from inversionlab.results.run_record import RunRecord
from inversionlab.results.run_results import RunResults
from inversionlab.results.wording import among, percent, words

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
    models = {r.protected: (x, r) for x, r in _placed(results)}.values()
    everyone = tuple(Point.of(x, r.accuracy_all) for x, r in models if r.accuracy_all)
    attacked = tuple(Point.of(x, r.accuracy_targets) for x, r in models if r.accuracy_targets)
    return [
        _sweep_spec(
            results,
            "Recognition accuracy",
            "Share of test pictures that the protected model names correctly; bands are 95% intervals. "
            "The axis does not start at 0 where all values are high.",
            (Series("all people", "accuracy", everyone), Series("attacked people", "s3", attacked)),
        )
    ]


def guess_curves(results: RunResults) -> list[ChartSpec]:
    """A chart for each attack except the null ones, by the headline evaluator."""
    attacks = dict.fromkeys(r.attack for r in results.rows if r.kind != "null")
    return [_guesses(results, attack) for attack in attacks]


def end_point(record: RunRecord) -> float | None:
    """The value of the swept setting that means "undefended": 1 for the victim's share of a mixture."""
    shares = {c.victim_share for c in record.cells if c.point is not None}
    return 1.0 if record.sweep and shares == {record.sweep.short_name} else None


def _success(results: RunResults, evaluator: int, name: str) -> ChartSpec:
    # A model that can be stripped gives an attack two lines; both begin at the undefended model.
    lines = dict.fromkeys((r.attack, r.stripped) for r in results.rows if r.point is not None)
    series = []
    for i, (attack, stripped) in enumerate(lines):
        points = tuple(
            Point.of(x, r.by_evaluator[evaluator].success)
            for x, r in _placed(results)
            if r.by_evaluator
            and r.attack == attack
            and (r.stripped == stripped or r.kind == "undefended")
        )
        title = f"{words(attack)}, stripped" if stripped else words(attack)
        series.append(Series(title, f"s{i % STYLES}", points))
    null = results.null_by(evaluator)
    return _sweep_spec(
        results,
        f"Attack success, evaluator “{words(name)}”",
        f"Share of reconstructions with the right person {among(results.guesses)}; bands are 95% intervals."
        + _note(results, evaluator),
        tuple(series),
        (ReferenceLine.guess(null.attack.attack, null.success),) if null else (),
    )


def _note(results: RunResults, evaluator: int) -> str:
    """A sentence on an evaluator that no training of this run made."""
    note = results.evaluator_notes[evaluator] if results.evaluators else ""
    return f" The evaluator is {note}." if note else ""


def _placed(results: RunResults) -> list[tuple[float | None, Row]]:
    """The swept rows and the undefended ones, each with its value of the swept setting."""
    end = end_point(results.run.record)
    return [
        (end if r.kind == "undefended" else r.point, r)
        for r in results.rows
        if r.point is not None or r.kind == "undefended"
    ]


def _sweep_spec(
    results: RunResults,
    title: str,
    about: str,
    series: tuple[Series, ...],
    references: tuple[ReferenceLine, ...] = (),
) -> ChartSpec:
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
        series=series,
        references=references,
        mark=(marked, "paper") if marked is not None and marked in values else None,
        end="undefended",
        log=end is None and wide and 0 not in values,
    )


def _guesses(results: RunResults, attack: str) -> ChartSpec:
    evaluator, best = results.headline_evaluator, results.best
    mine = [r for r in results.rows if r.attack == attack and r.by_evaluator]
    defended = [r for r in mine if r.kind == "defended"]
    chosen = [r for r in defended if r.marked or (best and r.protected == best.attack.protected)]
    few = defended if len(defended) < STYLES else chosen or defended[: STYLES - 1]
    shown = [*(r for r in mine if r.kind == "undefended"), *few]
    named = [(f"{r.label} (paper)" if r.marked and best else r.label, r) for r in shown]
    series = [_hits(row, evaluator, name, f"s{i}") for i, (name, row) in enumerate(named)]
    null = results.null_by(evaluator)
    if null is not None and shown:
        series.append(_hits(null.attack, evaluator, words(null.attack.attack), "null"))
    name = words(mine[0].by_evaluator[evaluator].evaluator) if mine else ""
    return ChartSpec(
        title=words(attack),
        about=f"Share of reconstructions whose person is among the first k guesses of the evaluator “{name}”, "
        f"for k on the horizontal axis.{_note(results, evaluator)}",
        x_name="guesses",
        x_label="guesses k",
        series=tuple(_until_all_found(series)),
    )


def _hits(row: Row, evaluator: int, name: str, style: str) -> Series:
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
