"""The headline table for a terminal."""

from __future__ import annotations

from rich.markup import escape
from rich.table import Table

from inversionlab.results.recommendation import choose, helps
from inversionlab.results.rows import Row, headline_rows
from inversionlab.results.run_data import RunData
from inversionlab.results.wording import MISSING, estimate_text, number, percent, points, words


def terminal_table(run: RunData) -> Table:
    """The headline table with top-5 success by every evaluator; the recommended model is bold."""
    rows = headline_rows(run, frechet=False)
    names = [words(name) for name in run.evaluators["evaluator"].to_pylist()]
    table = Table(title=escape(str(run.manifest.get("name", ""))))
    table.add_column("Attack")
    table.add_column("Model")
    for header in ("Accuracy", "Loss", *(f"{n}\ntop-5 (95%)" for n in names), "Queries", "s"):
        table.add_column(escape(header), justify="right")
    best = choose(rows)
    for row in rows:
        chosen = best is not None and helps(best, rows) and row.protected == best.row.protected
        style = "bold" if chosen and row.kind == "defended" else "dim" if not row.done else ""
        table.add_row(*(escape(cell) for cell in _cells(row, len(names))), style=style)
    return table


def _cells(row: Row, judges: int) -> list[str]:
    accuracy = percent(row.accuracy_all.value) if row.accuracy_all else MISSING
    head = [words(row.attack), row.label, accuracy, points(row.loss_points)]
    if not row.done:
        return [*head, *["not attacked yet"] * judges, MISSING, MISSING]
    top5 = [estimate_text(j.top5) for j in row.judgements]
    return [*head, *top5, number(row.queries), number(row.seconds)]
