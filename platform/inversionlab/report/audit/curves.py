"""Which charts the page shows."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace

from inversionlab.metrics import Estimate
from inversionlab.report.audit.trade import trade_plans
from inversionlab.report.charts.line_chart import STYLES, Chart, Level, Plan, Point, Series, draw
from inversionlab.results.recommendation import choose, null_level
from inversionlab.results.rows import Row, short_setting
from inversionlab.results.run_data import RunData
from inversionlab.results.wording import estimate_text, percent, words

MIXTURES = ("dummy_recognizer",)
"""Defenses whose `alpha` is the victim's share of the output."""

LOG_FROM = 50
"""From this ratio of the largest to the smallest value on, an axis is logarithmic."""


def sweep_charts(run: RunData, rows: Sequence[Row]) -> list[Chart]:
    """Attack success by every judge, and accuracy, against the swept setting; what models cost and leave.

    Empty without a sweep and with fewer than two defended models.
    """
    judges = run.evaluators["evaluator"].to_pylist()
    plans: list[Plan] = []
    if run.manifest.get("sweep"):
        plans = [_success(run, rows, i, judge) for i, judge in enumerate(judges)]
        plans.append(_accuracy(run, rows))
    if plans or len({r.protected for r in rows if r.kind == "defended"}) > 1:
        plans += trade_plans(run, rows, judges)
    return [chart for plan in plans if (chart := draw(plan))]


def cmc_charts(run: RunData, rows: Sequence[Row]) -> list[Chart]:
    """One chart an attack: the share of hits against the number of guesses, by the first judge."""
    attacks = dict.fromkeys(r.attack for r in rows if r.kind != "null")
    plans = [_cmc(rows, attack) for attack in attacks]
    return [chart for plan in plans if (chart := draw(plan))]


def end_point(run: RunData) -> float | None:
    """The value of the swept setting that means "undefended": 1 for a mixing share alpha."""
    sweep = run.manifest.get("sweep")
    swept = {c["defense"] for c in run.manifest.get("cells") or [] if c.get("point") is not None}
    share = sweep and short_setting(sweep) == "alpha" and swept <= set(MIXTURES)
    defense = (run.manifest.get("experiment") or {}).get("defense") or {}
    # On another defense, what is left at 1 is that one.
    return 1.0 if share and not defense.get("inner") else None


def _base_plan(run: RunData, rows: Sequence[Row], title: str, about: str) -> Plan:
    sweep = run.manifest["sweep"]
    marked, values = sweep.get("marked"), [r.point for r in rows if r.point is not None]
    end = end_point(run)
    # At 0 most defenses are idle: that is the undefended model, which has a place of its own.
    placed = [v for v in values if v != 0]
    wide = len(placed) > 1 and min(placed) > 0 and max(placed) / min(placed) >= LOG_FROM
    x_name = short_setting(sweep)
    return Plan(
        title=title,
        about=about,
        x_name=x_name,
        x_label=f"{x_name} (1 = undefended)" if end is not None else x_name,
        series=(),
        mark=(marked, "paper") if marked is not None and marked in values else None,
        end="undefended",
        log=end is None and wide and 0 not in values,
    )


def _success(run: RunData, rows: Sequence[Row], judge: int, name: str) -> Plan:
    swept = [r for r in rows if r.kind != "null"]
    # A model that can be stripped gives an attack two lines; both begin at the undefended model.
    lines = dict.fromkeys((r.attack, r.stripped) for r in swept if r.point is not None)
    series = [
        _swept(
            run,
            f"{words(attack)}, stripped" if stripped else words(attack),
            f"s{i % STYLES}",
            [
                r
                for r in swept
                if r.attack == attack and (r.stripped == stripped or r.kind == "undefended")
            ],
            judge,
        )
        for i, (attack, stripped) in enumerate(lines)
    ]
    null = null_level(rows, judge)
    levels = []
    if null is not None:
        guess = null.judgements[judge].top5
        title = f"{words(null.attack)} (no model asked)"
        levels = [Level(title, "null", guess.value, estimate_text(guess))]
    plan = _base_plan(
        run,
        rows,
        f"Attack success, judge “{words(name)}”",
        "Share of reconstructions that the judge counts among its top 5 for the right person; "
        "bands are 95% intervals.",
    )
    return replace(plan, series=tuple(series), levels=tuple(levels))


def _swept(run: RunData, name: str, style: str, rows: Sequence[Row], judge: int) -> Series:
    used = [r for r in rows if r.judgements and (r.point is not None or r.kind == "undefended")]
    points = [_point(_x(run, r), r.judgements[judge].top5) for r in used]
    return Series(name, style, tuple(points))


def _x(run: RunData, row: Row) -> float | None:
    return end_point(run) if row.kind == "undefended" else row.point


def _accuracy(run: RunData, rows: Sequence[Row]) -> Plan:
    models = {r.protected: r for r in rows if r.kind == "undefended" or r.point is not None}
    series = []
    for name, style, field in (
        ("all people", "accuracy", "accuracy_all"),
        ("attacked people", "s3", "accuracy_targets"),
    ):
        pairs = [(_x(run, r), getattr(r, field)) for r in models.values()]
        points = tuple(_point(x, e) for x, e in pairs if e is not None)
        series.append(Series(name, style, points))
    plan = _base_plan(
        run,
        rows,
        "Recognition accuracy",
        "Share of test pictures that the protected model names rightly; bands are 95% intervals. "
        "The axis does not start at 0 where all values are high.",
    )
    return replace(plan, series=tuple(series))


def _point(x: float | None, estimate: Estimate) -> Point:
    return Point(x, estimate.value, estimate.low, estimate.high, estimate_text(estimate))


def _cmc(rows: Sequence[Row], attack: str) -> Plan:
    best, null = choose(rows), null_level(rows)
    mine = [r for r in rows if r.attack == attack and r.judgements]
    open_rows = [r for r in mine if r.kind == "undefended"]
    defended = [r for r in mine if r.kind == "defended"]
    told = [r for r in defended if r.marked or (best and r.protected == best.row.protected)]
    few = len(defended) < STYLES
    shown = [*open_rows, *(defended if few else told or defended[: STYLES - 1])]
    series = [_ranks(r, _cmc_name(r, best is not None), f"s{i}") for i, r in enumerate(shown)]
    if null is not None and shown:
        series.append(_ranks(null, words(null.attack), "null"))
    judge = mine[0].judgements[0].evaluator if mine else ""
    series = _until_all_found(series)
    return Plan(
        title=words(attack),
        about=f"Share of reconstructions whose person is among the first k guesses of "
        f"“{words(judge)}”, for k on the horizontal axis.",
        x_name="guesses",
        x_label="guesses k",
        series=tuple(series),
    )


def _until_all_found(series: Sequence[Series]) -> list[Series]:
    """Cut the curves where the last one reaches 1: with few people that is long before the end."""
    ends = [next((p.x for p in s.points if p.y >= 1), None) for s in series]
    known = [e for e in ends if e is not None]
    if not known or len(known) < len(ends):
        return list(series)
    end = max(*known, 5.0)
    return [replace(s, points=tuple(p for p in s.points if (p.x or 0) <= end)) for s in series]


def _cmc_name(row: Row, chosen: bool) -> str:
    return f"{row.label} (paper)" if row.marked and chosen else row.label


def _ranks(row: Row, name: str, style: str) -> Series:
    shares = row.judgements[0].cmc_K
    points = [
        Point(float(k), float(y), float(y), float(y), percent(float(y)))
        for k, y in enumerate(shares, start=1)
        if math.isfinite(y)
    ]
    return Series(name, style, tuple(points), dots=False)
