"""The HTML page: one file that needs no network and asks for none."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Sequence
from typing import Any

import yaml
from jinja2 import Environment, PackageLoader, StrictUndefined

from inversionlab.metrics import wilson
from inversionlab.report import wording
from inversionlab.report.choice import MAX_LOSS_POINTS, choose, helps, null_level, undefended
from inversionlab.report.curves import cmc_charts, sweep_charts
from inversionlab.report.judging import CMC_RANKS
from inversionlab.report.pictures import grids
from inversionlab.report.run_data import RunData
from inversionlab.report.sentence import caveats, verdict
from inversionlab.report.tables import Row, headline_rows

_BLANK: dict[str, Any] = dict.fromkeys(
    ("run", "name", "created", "seconds", "data", "provenance", "timings", "artifacts")
)
"""What the template reads of a manifest; a run that has just begun may lack some of it."""


def render(run: RunData, *, pictures: bool) -> str:
    """The report as one HTML document.

    `pictures=False` leaves out every picture, every person's name and the names of skipped files.
    """
    environment = _environment()
    script = _source(environment, "hover.js.j2")
    template = environment.get_template("template.html.j2")
    return template.render(
        **_context(run, pictures),
        style=_source(environment, "style.css"),
        script=script,
        policy=_policy(script, pictures),
    )


def _environment() -> Environment:
    # Autoescape without exception: people's names come from folder names.
    environment = Environment(
        loader=PackageLoader("inversionlab.report", "."),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    for function in (
        wording.percent,
        wording.interval,
        wording.estimate_text,
        wording.number,
        wording.measure,
        wording.points,
        wording.duration,
        wording.words,
    ):
        environment.filters[function.__name__] = function
    return environment


def _source(environment: Environment, name: str) -> str:
    assert environment.loader is not None
    return environment.loader.get_source(environment, name)[0]


def _policy(script: str, pictures: bool) -> str:
    """A content security policy: the browser itself refuses any request and any other script."""
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    images = "data:" if pictures else "'none'"
    return (
        f"default-src 'none'; img-src {images}; style-src 'unsafe-inline'; "
        f"script-src 'sha256-{digest}'; base-uri 'none'; form-action 'none'"
    )


def _context(run: RunData, pictures: bool) -> dict[str, Any]:
    rows = headline_rows(run)
    best = choose(rows)
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
        "groups": _groups(rows),
        "judges": run.evaluators["evaluator"].to_pylist(),
        "evaluators": _evaluators(run),
        "speeds": _speeds(run, rows),
        "curves": sweep_charts(run, rows),
        "cmc": cmc_charts(run, rows),
        "cmc_ranks": CMC_RANKS,
        "pictures": pictures,
        "grids": grids(run, rows, recommended) if pictures else [],
        "config": _yaml(manifest.get("experiment") or {}),
        "max_loss": MAX_LOSS_POINTS,
        "reconstructions": run.reconstructions.num_rows,
    }


def _null_shares(run: RunData, rows: Sequence[Row]) -> list[float | None]:
    """What the better null reaches, judge by judge."""
    levels = [(i, null_level(rows, i)) for i in range(run.evaluators.num_rows)]
    return [null.judgements[i].top5.value if null else None for i, null in levels]


def _groups(rows: Sequence[Row]) -> list[tuple[str, list[Row]]]:
    """The rows attack by attack, the nulls as one group at the end."""
    found: dict[str, list[Row]] = {}
    for row in rows:
        name = "no attack: guesses without the model" if row.kind == "null" else row.attack
        found.setdefault(name, []).append(row)
    return list(found.items())


def _speeds(run: RunData, rows: Sequence[Row]) -> list[tuple[str, float | None]]:
    """Milliseconds a picture for each protected model, in the order of the rows."""
    names, times = run.models["protected"].to_pylist(), run.models["milliseconds"].to_pylist()
    known = dict(zip(names, times, strict=True))
    labels = {r.protected: r.label for r in rows if r.kind != "null"}
    return [(label, known[name]) for name, label in labels.items() if name in known]


def _evaluators(run: RunData) -> list[dict[str, Any]]:
    return [
        {**e, "quality": wilson(e["correct"], e["total"]) if e["total"] else None}
        for e in run.evaluators.to_pylist()
    ]


def _yaml(value: Any) -> str:
    return yaml.safe_dump(value, sort_keys=False, allow_unicode=True, width=100)
