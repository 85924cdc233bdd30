"""The page of a search, from its record and the store."""

from __future__ import annotations

import shlex
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
from inversionlab.results.search import SearchRecord

LONGEST_FAULT = 400
"""Letters of an error message in the table."""


def render_search(
    search: SearchRecord,
    *,
    place: str,
    grid: Grid | None = None,
    audit: HoldoutAudit | None = None,
    pictures: bool,
) -> str:
    """The page as one HTML document.

    Args:
        search: the search.
        place: the storage root, for the command that audits the recommended setting.
        grid: the pictures to show; needs `pictures`.
        audit: the recommended setting on what the search never used.
        pictures: False leaves out every picture and every person's name.
    """
    bucket = "://" in place
    folder = f"searches/{search.search}"
    recipe = "recommended.yaml" if bucket else f"{place}/{folder}/recommended.yaml"
    states = ("complete", "stopped", "error", "unfinished")
    counts = [(s, sum(t.state == s for t in search.trials)) for s in states]
    names = short_names(search.axes)
    headline = f"“{search.evaluators[0]}”" if search.evaluators else "that stands first"
    context = {
        "search": search,
        "verdict": search_verdict(search, audit),
        "caveats": search_caveats(search, audit),
        "fronts": front_charts(search),
        "parallel": parallel_chart(search),
        "convergence": convergence_chart(search),
        "timeline": timeline_chart(search.timeline),
        "importance": [
            (metric, sorted(((names.get(k, k), v) for k, v in shares.items()), key=lambda p: -p[1]))
            for metric, shares in search.importance.items()
            if shares
        ],
        "names": names,
        "settings": settings_text(search, search.best) if search.best else "",
        "value_text": value_text,
        "sort_key": sort_key,
        "longest_fault": LONGEST_FAULT,
        "headline": headline if search.headline == "first" else "that finds most",
        "command": shlex.join(["python", "jobs/audit.py", recipe, "--storage", place]),
        "bucket": bucket,
        "bounds": constraint_text(search.constraints),
        "audit": audit,
        "grid": grid if pictures else None,
        "pictures": pictures,
        "config": as_yaml(search.experiment),
        "counts": [(state, count) for state, count in counts if count],
    }
    scripts = ["hover.js.j2", "sort.js.j2"]
    return fill("search.html.j2", context, scripts=scripts, pictures=pictures)


def sort_key(value: Any) -> str:
    """What the table's script sorts a cell by; empty sorts last."""
    if value is None:
        return ""
    return repr(value) if isinstance(value, float) else str(value)
