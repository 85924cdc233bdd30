"""The headline table for a terminal."""

from collections.abc import Iterable

from rich.markup import escape
from rich.table import Table

from inversionlab.report.audit.sentence import pooled_note
from inversionlab.results.run_results import RunResults
from inversionlab.results.wording import MISSING, number, percent, points, spread_text, words


def terminal_table(results: RunResults) -> Table:
    """The headline table with the printed metrics by every evaluator; the recommended model is bold."""
    if not results.judged:
        return _table_without_judges(results)
    shown = [metric for metric in results.metrics if metric.printed]
    judged = [f"{words(name)}\n{m.printed}" for name in results.evaluators for m in shown]
    table = _table(results, ("Accuracy", "Loss", *judged, "Queries", "s"))
    for row in results.rows:
        accuracy = percent(row.accuracy_all.value) if row.accuracy_all else MISSING
        accuracy += spread_text(row.accuracy_spread)
        cells = [words(row.attack), row.label, accuracy, points(row.loss_points)]
        if row.done:
            cells += [m.cell(found.metrics[m.key]) for found in row.by_evaluator for m in shown]
            cells += [number(row.queries), number(row.seconds)]
        else:
            cells += [*["not attacked yet"] * len(judged), MISSING, MISSING]
        chosen = row.kind == "defended" and row.protected == results.recommended
        style = "bold" if chosen else "" if row.done else "dim"
        table.add_row(*(escape(cell) for cell in cells), style=style)
    table.add_section()
    for comparison in results.comparisons:
        said = [
            comparison.text(m, place) for place in range(len(results.evaluators)) for m in shown
        ]
        table.add_row(comparison.name, *[MISSING] * 3, *said, *[MISSING] * 2)
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
