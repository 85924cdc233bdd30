"""The page of a paper as one HTML document."""

import re
from collections.abc import Sequence
from typing import Any

from markupsafe import Markup, escape

from inversionlab.papers import wording
from inversionlab.papers.compare import ComparedCell, ComparedTable, Runs
from inversionlab.papers.figures import charts, picture_grids
from inversionlab.papers.markdown import remarks
from inversionlab.papers.paper import Paper
from inversionlab.report.frame import fill


def render(
    paper: Paper,
    scale: str,
    tables: Sequence[ComparedTable],
    runs: Runs,
    *,
    pictures: bool,
    command: str,
) -> str:
    """The page; without `pictures` it shows no face and no name."""
    parts = [_part(compared, scale, runs, pictures=pictures) for compared in tables]
    drawn = any(part["charts"] for part in parts)
    context = {
        "paper": paper,
        "about": [coded(line) for line in paper.about],
        "scale": scale,
        "made": command,
        "parts": parts,
        "made_up": wording.MADE_UP if scale == "tiny" else "",
        "recipes": {
            name: ran.why_not if ran.results is None else ran.results.run.record.run
            for name, ran in runs.items()
        },
        "provenance": next(
            (ran.results.run.record.provenance for ran in runs.values() if ran.results), {}
        ),
    }
    scripts = ["charts.js.j2"] if drawn else []
    return fill("paper.html.j2", context, scripts=scripts, pictures=pictures, charts=drawn)


def coded(text: str) -> Markup:
    """A sentence as HTML, in which what stands in backticks is code."""
    return Markup(re.sub(r"`([^`]+)`", r"<code>\1</code>", str(escape(text))))


def _part(compared: ComparedTable, scale: str, runs: Runs, *, pictures: bool) -> dict[str, Any]:
    """What the template shows of a table."""
    places, columns = compared.by_place, compared.columns
    return {
        "key": compared.table.key,
        "title": compared.table.title,
        "short": _short(compared),
        "status": wording.status_text(compared, scale),
        "claims": [coded(wording.claim_text(claim, scale)) for claim in compared.claims],
        "remarks": [coded(line) for line in remarks(compared, scale)],
        "charts": charts(compared, runs),
        "columns": columns,
        "rows": [
            {"name": row, "cells": [_shown(places.get((row, column))) for column in columns]}
            for row in compared.shown_rows
        ],
        "grids": picture_grids(compared, runs) if pictures else [],
    }


def _short(compared: ComparedTable) -> str:
    """The title's first words; those of the tables that are not in the paper are all alike."""
    words, table = compared.table.title.partition(":")[0], compared.table
    return f"ours: {table.key}" if words.startswith("Not in the paper") else words


def _shown(cell: ComparedCell | None) -> dict[str, str] | None:
    if cell is None:
        return None
    return {
        "ours": "" if cell.ours is None else wording.ours_text(cell.ours),
        "why": cell.why,
        "printed": "" if cell.printed is None else cell.printed.shown,
        "apart": wording.apart_text(cell),
    }
