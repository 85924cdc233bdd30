"""The page of a search, from its record and the store."""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from typing import Any

from inversionlab.report.charts.timeline import timeline_chart
from inversionlab.report.frame import as_yaml, fill
from inversionlab.report.pictures import Grid
from inversionlab.report.search.convergence import convergence_chart
from inversionlab.report.search.front_chart import front_charts
from inversionlab.report.search.parallel import parallel_chart
from inversionlab.report.search.sentence import constraint_text, search_caveats, search_verdict
from inversionlab.report.search.wording import settings_text, short_names, value_text
from inversionlab.results.holdout_audit import HoldoutAudit
from inversionlab.results.search import Search

LONGEST_FAULT = 400
"""Letters of an error's text in the table."""


def render_search(
    search: Search,
    *,
    place: str,
    grid: Grid | None = None,
    rejudged: HoldoutAudit | None = None,
    pictures: bool,
) -> str:
    """The page as one HTML document.

    Args:
        search: the search.
        place: the storage root, for the command that audits the recommended setting.
        grid: the pictures to show; needs `pictures`.
        rejudged: the recommended setting's second judgement.
        pictures: False leaves out every picture and every person's name.
    """
    context = {
        "search": search,
        "record": search.record,
        "verdict": search_verdict(search, rejudged),
        "caveats": search_caveats(search, rejudged),
        "fronts": front_charts(search),
        "parallel": parallel_chart(search),
        "narrowing": convergence_chart(search),
        "timeline": timeline_chart(search.record["timeline"]),
        "importance": _importance(search),
        "names": short_names(search.axes),
        "settings": settings_text(search, search.recommended) if search.recommended else "",
        "value_text": value_text,
        "sort_key": sort_key,
        "longest_fault": LONGEST_FAULT,
        "command": audit_command(place, str(search.record["search"])),
        "bucket": "://" in place,
        "bounds": constraint_text(search.record["constraints"] or {}),
        "rejudged": rejudged,
        "grid": grid if pictures else None,
        "pictures": pictures,
        "config": as_yaml(search.record["experiment"] or {}),
        "counts": _counts(search),
    }
    scripts = ["hover.js.j2", "sort.js.j2"]
    return fill("search.html.j2", context, scripts=scripts, pictures=pictures)


def audit_command(place: str, name: str) -> str:
    """The shell command that judges the recommended setting on unseen targets."""
    recipe = "recommended.yaml" if "://" in place else f"{place}/searches/{name}/recommended.yaml"
    return shlex.join(["python", "jobs/audit.py", recipe, "--storage", place])


def sort_key(value: Any) -> str:
    """What the table's script sorts a cell by; empty sorts last."""
    if value is None:
        return ""
    return repr(value) if isinstance(value, float) else str(value)


def _counts(search: Search) -> list[tuple[str, int]]:
    """How many trials ended in which way, the common ways first."""
    states = ("complete", "stopped", "error", "unfinished")
    found = [(s, sum(t.state == s for t in search.trials)) for s in states]
    return [(s, n) for s, n in found if n]


def _importance(search: Search) -> list[tuple[str, list[tuple[str, float]]]]:
    """Objective by objective: (setting, share), the weightiest first."""
    names = short_names(search.axes)
    weights: Mapping[str, Mapping[str, float]] = search.record["importance"] or {}
    return [
        (
            objective,
            sorted(((names.get(k, k), float(v)) for k, v in found.items()), key=lambda p: -p[1]),
        )
        for objective, found in weights.items()
        if found
    ]
