"""A paper's tables as Markdown: what `docs/papers/NAME.md` holds of a run."""

from collections.abc import Sequence

from inversionlab.papers import wording
from inversionlab.papers.compare import ComparedCell, ComparedTable
from inversionlab.papers.paper import Paper
from inversionlab.papers.wording import apart_text, ours_text


def markdown(paper: Paper, scale: str, tables: Sequence[ComparedTable], command: str) -> str:
    """The tables with ours, the paper's figure and the difference in every cell, after a table of them all."""
    lines = [f"# {paper.title}", "", paper.cites, ""]
    lines += [f"Made by `{command}`, at the scale `{scale}`.", ""]
    lines += [wording.MADE_UP, ""] if scale == "tiny" else []
    lines += [f"- {line}" for line in paper.about]
    lines += ["", "| table or figure | status | what it shows |", "|---|---|---|"]
    for compared in tables:
        claims = "; ".join(wording.claim_text(claim, scale) for claim in compared.claims)
        lines.append(
            f"| {cell_text(compared.table.title)} | {wording.status_text(compared, scale)} | {cell_text(claims)} |"
        )
    for compared in tables:
        lines += ["", f"## {compared.table.title}", ""]
        lines += [f"- {line}" for line in remarks(compared, scale)]
        if compared.cells:
            lines += ["", *_table(compared)]
    return "\n".join(lines) + "\n"


def remarks(compared: ComparedTable, scale: str) -> list[str]:
    """What a reader should know of a table: what differs, what is beyond noise, what is not run."""
    table = compared.table
    said = [table.why_not, table.stand_in if scale == "small" else "", *table.differs]
    if scale != "tiny":
        said += [wording.noise_sentence(compared), *wording.noise_reasons(compared)]
    said += wording.missing_reasons(compared)
    if table.every > 1 and len(compared.shown_rows) < len(compared.rows):
        said.append(
            f"{len(compared.shown_rows)} of {len(compared.rows)} rows are shown; the CSV holds all."
        )
    return [line for line in said if line]


def _table(compared: ComparedTable) -> list[str]:
    columns, places = compared.columns, compared.by_place
    lines = [f"| | {' | '.join(map(cell_text, columns))} |", "|---" * (len(columns) + 1) + "|"]
    for row in compared.shown_rows:
        found = [places.get((row, column)) for column in columns]
        lines.append(
            f"| {cell_text(row)} | {' | '.join(cell_text(_text(cell)) for cell in found)} |"
        )
    return lines


def _text(cell: ComparedCell | None) -> str:
    """Ours, the paper's figure, the difference."""
    if cell is None:
        return ""
    ours = "not run" if cell.ours is None else ours_text(cell.ours)
    parts = [ours]
    if cell.printed is not None:
        parts.append(f"paper {cell.printed.shown}")
    if apart := apart_text(cell):
        parts.append(apart)
    return "<br>".join(parts)


def cell_text(text: str) -> str:
    """Text that does not end a cell of a table."""
    return text.replace("|", "\\|").replace("\n", " ")
