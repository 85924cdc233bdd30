"""The curves of a run: success and accuracy against the swept setting, hits against the number of guesses."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

from inversionlab.metrics import Estimate
from inversionlab.report.charts.figure import Figure, pivoted, share_floor, with_known
from inversionlab.report.charts.lines import LOG_FROM, line_chart
from inversionlab.report.charts.theme import SERIES
from inversionlab.results.rows import Row
from inversionlab.results.run_record import RunRecord
from inversionlab.results.run_results import RunResults
from inversionlab.results.wording import among, estimate_text, percent, words

Table = list[Mapping[str, Any]]


def success_curves(results: RunResults) -> list[Figure]:
    """Attack success by each evaluator against the swept setting, on the same axes; empty without a sweep."""
    if results.run.record.sweep is None:
        return []
    tables = [with_known(_success(results, i)) for i in range(len(results.evaluators))]
    floor = share_floor([row["low"] for table in tables for row in table])
    share = f"The share with the right person {among(results.guesses)}; bands are 95% intervals."
    return [
        _sweep_figure(
            results,
            f"success-{name}",
            f"Attack success, evaluator “{words(name)}”",
            # Said once for all evaluators.
            ("" if i else share) + _note(results, i),
            table,
            floor,
            {r["series"]: "soft" for r in table if r["place"] == "level"},
        )
        for i, (name, table) in enumerate(zip(results.evaluators, tables, strict=True))
        if table
    ]


def accuracy_curves(results: RunResults) -> list[Figure]:
    """Recognition accuracy against the swept setting; empty without a sweep."""
    if results.run.record.sweep is None:
        return []
    models = {r.protected: (x, r) for x, r in _placed(results)}.values()
    table: Table = []
    for name, attribute in (
        ("all people", "accuracy_all"),
        ("attacked people", "accuracy_targets"),
    ):
        known = [(x, share) for x, r in models if (share := getattr(r, attribute))]
        table += [swept(name, x, share) for x, share in known]
    if not (table := with_known(table)):
        return []
    floor = share_floor([row["low"] for row in table])
    about = "The share of test pictures that the protected model names correctly."
    if floor:
        about += f" The axis starts at {floor:.0%}."
    special = {"all people": "ink"}
    return [
        _sweep_figure(results, "accuracy", "Recognition accuracy", about, table, floor, special)
    ]


def guess_curves(results: RunResults) -> list[Figure]:
    """A chart for each attack except the null ones, by the headline evaluator, on the same axes."""
    attacks = dict.fromkeys(r.attack for r in results.rows if r.kind != "null")
    tables = {a: t for a in attacks if (t := _until_all_found(_guesses(results, a)))}
    floor = share_floor([row["y"] for table in tables.values() for row in table])
    place = results.headline_evaluator
    return [
        Figure(
            name=f"guesses-{attack}",
            title=words(attack),
            about=""
            if attack != next(iter(tables))
            else "The share whose person is among the first k guesses of "
            f"the evaluator “{words(results.evaluators[place])}”.{_note(results, place)}",
            rows=table,
            drawing=line_chart(
                table,
                x_title="guesses k",
                floor=floor,
                special={r["series"]: "soft" for r in table if r["null"]},
            ),
            numbers=pivoted(table, "guesses"),
        )
        for attack, table in tables.items()
    ]


def swept(name: str, x: float | None, share: Estimate) -> dict[str, Any]:
    """One share of a series at `x`; None: in the room at the right."""
    ends = {"y": share.value, "low": share.low, "high": share.high}
    said, place = estimate_text(share), "end" if x is None else "axis"
    return {"series": name, "place": place, "x": x, **ends, "text": f"{name}: {said}", "said": said}


def level(attack: str, share: Estimate) -> dict[str, Any]:
    """The success of a null attack, as a horizontal line."""
    row = swept(f"{words(attack)} (no model asked)", None, share)
    return {**row, "place": "level", "text": row["said"]}


def end_point(record: RunRecord) -> float | None:
    """The value of the swept setting that means "undefended": 1 for the victim's share of a mixture."""
    shares = {c.victim_share for c in record.cells if c.point is not None}
    return 1.0 if record.sweep and shares == {record.sweep.short_name} else None


def _success(results: RunResults, evaluator: int) -> Table:
    # A model that can be stripped gives an attack two lines; both begin at the undefended model.
    lines = dict.fromkeys((r.attack, r.stripped) for r in results.rows if r.point is not None)
    table: Table = []
    for attack, stripped in lines:
        title = f"{words(attack)}, stripped" if stripped else words(attack)
        table += [
            swept(title, x, r.by_evaluator[evaluator].success)
            for x, r in _placed(results)
            if r.by_evaluator
            and r.attack == attack
            and (r.stripped == stripped or r.kind == "undefended")
        ]
    null = results.null_by(evaluator)
    return [*table, level(null.attack.attack, null.success)] if null and table else table


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


def _sweep_figure(
    results: RunResults,
    name: str,
    title: str,
    about: str,
    table: Table,
    floor: float,
    special: Mapping[str, str],
) -> Figure:
    sweep, end = results.run.record.sweep, end_point(results.run.record)
    assert sweep is not None
    values = [r.point for r in results.rows if r.point is not None]
    # At 0 most defenses are idle: that is the undefended model, which has a place of its own.
    placed = [v for v in values if v != 0]
    wide = len(placed) > 1 and min(placed) > 0 and max(placed) / min(placed) >= LOG_FROM
    short, marked = sweep.short_name, sweep.marked
    shares = all(0 <= v <= 1 for v in values) and max(values) > 0.3 if values else False
    log = end is None and wide and 0 not in values
    rows = [
        {**r, "text": f"{short} = {r['x']:.4g}, {r['text']}"} if r["place"] == "axis" else r
        for r in table
    ]
    chart = line_chart(
        rows,
        x_title=short if end is None else f"{short} ({end:g} = undefended)",
        floor=floor,
        x_domain=(0.0, 1.0) if shares and not log else None,
        log=log,
        special=special,
        mark=(marked, "paper") if marked is not None and marked in values else None,
        end="undefended",
    )
    return Figure(name, title, about, rows, chart, pivoted(rows, short, "undefended"))


def _guesses(results: RunResults, attack: str) -> Table:
    evaluator, best = results.headline_evaluator, results.best
    mine = [r for r in results.rows if r.attack == attack and r.by_evaluator]
    defended = [r for r in mine if r.kind == "defended"]
    chosen = [r for r in defended if r.marked or (best and r.protected == best.attack.protected)]
    few = defended if len(defended) < len(SERIES) else chosen or defended[: len(SERIES) - 1]
    shown = [*(r for r in mine if r.kind == "undefended"), *few]
    table = []
    for row in shown:
        name = f"{row.label} (paper)" if row.marked and best else row.label
        table += _hits(row, evaluator, name, null=False)
    null = results.null_by(evaluator)
    if null is not None and table:
        table += _hits(null.attack, evaluator, words(null.attack.attack), null=True)
    return table


def _hits(row: Row, evaluator: int, name: str, *, null: bool) -> Table:
    shares = enumerate(row.by_evaluator[evaluator].cmc_K.tolist(), start=1)
    return [
        {"series": name, "place": "axis", "x": k, "y": round(y, 6), "null": null, "dot": False}
        | {"text": f"{name}: {percent(y)} in {k} guesses", "said": percent(y)}
        for k, y in shares
        if math.isfinite(y)
    ]


def _until_all_found(table: Sequence[Mapping[str, Any]]) -> Table:
    """The curves up to where the last one reaches 1; with few people that is long before the end."""
    first: dict[str, float] = {}
    for row in table:
        if row["y"] >= 1:
            first.setdefault(row["series"], row["x"])
    if not first or len(first) < len({row["series"] for row in table}):
        return list(table)
    end = max(*first.values(), 5.0)
    return [row for row in table if row["x"] <= end]
