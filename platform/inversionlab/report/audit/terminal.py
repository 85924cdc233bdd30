"""The headline table for a terminal."""

import math
from collections.abc import Iterable

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from inversionlab.report.audit.sentence import pooled_note
from inversionlab.results.models import models_of
from inversionlab.results.run_results import RunResults
from inversionlab.results.wording import MISSING, number, percent, points, spread_text, words

NARROW = 120
"""Columns of a terminal below which the table holds the first evaluator alone."""


def is_narrow() -> bool:
    """Whether what is printed goes to a terminal that is too narrow for the whole table."""
    console = Console()
    return console.is_terminal and console.width < NARROW


def terminal_table(results: RunResults, *, narrow: bool = False) -> Table:
    """The headline table with the printed metrics by every evaluator, by the first one top-1 too.

    Where an attack inverts outputs, the models' distortion of them and the error of what came out stand there too.
    The recommended model is bold. A `narrow` table has the first evaluator alone, and no costs.
    """
    if not results.judged:
        return _table_without_judges(results)
    shown = [
        (place, metric)
        for place in range(1 if narrow else len(results.evaluators))
        for metric in results.metrics
        if metric.printed or (metric.key == "top1" and not place)
    ]
    names = [*results.evaluators]
    judged = [f"{words(names[place])}\n{m.printed or f'{m.heading} (95%)'}" for place, m in shown]
    inverting = any(not math.isnan(row.error) for row in results.rows)
    more = ("Distortion", "Error") if inverting else ()
    costs = () if narrow else ("Queries", "s")
    table = _table(results, ("Accuracy", "Loss", *judged, *more, *costs))
    if narrow and len(names) > 1:
        table.caption = (
            f"By {words(names[0])} alone; the page has all evaluators, queries and times."
        )
    models = models_of(results.run) if inverting else {}
    for row in results.rows:
        accuracy = percent(row.accuracy_all.value) if row.accuracy_all else MISSING
        accuracy += spread_text(row.accuracy_spread)
        cells = [words(row.attack), row.label, accuracy, points(row.loss_points)]
        if row.done:
            cells += [m.cell(row.by_evaluator[place].metrics[m.key]) for place, m in shown]
            if inverting:
                model = models.get(row.protected)
                cells += [number(model.log_distortion if model else None), number(row.error)]
            cells += [number(row.queries), number(row.seconds)][: len(costs)]
        else:
            missing = len(more) + len(costs)
            cells += [*["not attacked yet"] * len(judged), *[MISSING] * missing]
        chosen = row.kind == "defended" and row.protected == results.recommended
        style = "bold" if chosen else "" if row.done else "dim"
        table.add_row(*(escape(cell) for cell in cells), style=style)
    table.add_section()
    for comparison in results.comparisons:
        said = [comparison.text(m, place) for place, m in shown]
        table.add_row(comparison.name, *[MISSING] * 3, *said, *[MISSING] * (len(more) + len(costs)))
    return table


def _table_without_judges(results: RunResults) -> Table:
    """The table of a run without private pictures: what the model itself says, and what the attacks cost."""
    table = _table(results, ("Model's own score", "Success", "Queries", "s"))
    for row in results.rows:
        cells = [words(row.attack), row.label]
        if row.done:
            cells += [
                percent(row.confidence),
                "not judged",
                number(row.queries),
                number(row.seconds),
            ]
        else:
            cells += [MISSING, "not attacked yet", MISSING, MISSING]
        table.add_row(*(escape(cell) for cell in cells), style="" if row.done else "dim")
    return table


def _table(results: RunResults, headers: Iterable[str]) -> Table:
    note = pooled_note(results)
    table = Table(title=escape(results.run.record.name), caption=escape(note) or None)
    table.add_column("Attack")
    table.add_column("Model")
    for header in headers:
        table.add_column(escape(header), justify="right")
    return table
