"""The page of a run."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from inversionlab.metrics import wilson
from inversionlab.report.audit.compare import columns, side_by_side
from inversionlab.report.audit.curves import cmc_charts, sweep_charts
from inversionlab.report.audit.sentence import caveats, verdict
from inversionlab.report.charts.timeline import timeline_chart
from inversionlab.report.frame import as_yaml, fill
from inversionlab.report.pictures import grids
from inversionlab.results.judgements import CMC_RANKS
from inversionlab.results.recommendation import (
    MAX_LOSS_POINTS,
    choose,
    helps,
    null_level,
    undefended,
)
from inversionlab.results.rows import Row, headline_rows
from inversionlab.results.run_data import RunData

_BLANK: dict[str, Any] = dict.fromkeys(
    ("run", "name", "created", "seconds", "data", "provenance", "timings", "artifacts")
)
"""What the template reads of a manifest; a run that has just begun may lack some of it."""


def render(run: RunData, *, pictures: bool) -> str:
    """The report as one HTML document.

    `pictures=False` leaves out every picture, every person's name and the names of skipped files.
    """
    return fill(
        "template.html.j2", _context(run, pictures), scripts=["hover.js.j2"], pictures=pictures
    )


def _context(run: RunData, pictures: bool) -> dict[str, Any]:
    rows = headline_rows(run)
    best = choose(rows)
    defended = any(row.kind == "defended" for row in rows)
    helping = best is not None and helps(best, rows)
    recommended = best.row.protected if best and helping else None
    manifest = {**_BLANK, **run.manifest}
    return {
        "manifest": manifest,
        "verdict": verdict(run, rows),
        "caveats": caveats(run, rows),
        "open_row": undefended(rows),
        "null_row": null_level(rows),
        "null_shares": _null_shares(run, rows),
        "best": best,
        "recommended": recommended,
        "groups": _groups(rows, defended),
        "defended": defended,
        "inverting": any(not math.isnan(r.error) for r in rows),
        "judges": run.evaluators["evaluator"].to_pylist(),
        "evaluators": _evaluators(run),
        "compared": side_by_side(run, rows, recommended),
        "models": columns(run, rows),
        "curves": sweep_charts(run, rows),
        "cmc": cmc_charts(run, rows),
        "cmc_ranks": CMC_RANKS,
        "timeline": timeline_chart(manifest.get("timeline")),
        "pictures": pictures,
        "grids": grids(run, rows, recommended) if pictures else [],
        "config": as_yaml(manifest.get("experiment") or {}),
        "max_loss": MAX_LOSS_POINTS,
        "reconstructions": run.reconstructions.num_rows,
    }


def _null_shares(run: RunData, rows: Sequence[Row]) -> list[float | None]:
    """What the better null reaches, judge by judge."""
    levels = [(i, null_level(rows, i)) for i in range(run.evaluators.num_rows)]
    return [null.judgements[i].top5.value if null else None for i, null in levels]


def _groups(rows: Sequence[Row], defended: bool) -> list[tuple[str, list[Row]]]:
    """The rows attack by attack, the nulls as one group at the end; one group a kind if nothing is defended."""
    found: dict[str, list[Row]] = {}
    for row in rows:
        name = row.attack if defended else "the undefended model"
        if row.kind == "null":
            name = "no attack: guesses without the model"
        found.setdefault(name, []).append(row)
    return list(found.items())


def _evaluators(run: RunData) -> list[dict[str, Any]]:
    return [
        {**e, "quality": wilson(e["correct"], e["total"]) if e["total"] else None}
        for e in run.evaluators.to_pylist()
    ]
