"""The page of a search, from its record and the store, and the verdict that is printed with it."""

import shlex
from typing import get_args

from inversionlab.core.settings import ConfigError
from inversionlab.core.yaml_io import dump_yaml
from inversionlab.report.charts.figure import Figure, FileKind
from inversionlab.report.charts.timeline import timeline_figure
from inversionlab.report.files import write_files
from inversionlab.report.frame import fill, page_name, publish
from inversionlab.report.pictures import Grid
from inversionlab.report.search.convergence import convergence_figure
from inversionlab.report.search.front_chart import front_figures
from inversionlab.report.search.parallel import parallel_figure
from inversionlab.report.search.pictures import search_grid
from inversionlab.report.search.sentence import (
    constraint_text,
    search_answers,
    search_caveats,
    search_verdict,
)
from inversionlab.report.search.wording import settings_text, short_names, value_text
from inversionlab.results.frames import trial_frame
from inversionlab.results.holdout_audit import HoldoutAudit, read_holdout_audit
from inversionlab.results.load import load_run, others, stored_record
from inversionlab.results.search import SHARES, SearchRecord
from inversionlab.results.search_comparisons import search_comparisons
from inversionlab.results.trial_record import TrialState
from inversionlab.store.storage import Storage
from inversionlab.store.tables import Store

LONGEST_FAULT = 400
"""Letters of an error message in the table."""
IN_COLUMNS = {"accuracy", "accuracy_loss", "score"} | {name for name in SHARES if "success" in name}
"""Metrics that the table of trials has anyway; others stand there if the search names them."""


def write_search_page(
    root: str,
    name: str,
    *,
    pictures: bool,
    strict: bool = False,
    figures: FileKind | None = None,
    tables: bool = False,
) -> str:
    """Write the page of a search, print its verdict, its warnings and where it is; returns that place.

    It is `searches/NAME/index.html`, and without pictures `index-no-pictures.html`.

    Without `pictures` the page shows no face and no person's name. With `figures` each chart is written as a file
    too, with `tables` each table.

    Raises:
        ConfigError: the storage holds no such search (the text names those that are there), or it has no record
            yet.
        DoubtError: it is `strict`, and the page has warnings; it is written.
    """
    storage = Storage(root)
    if name not in storage.folders("searches"):
        raise ConfigError(f"{storage.root}: holds no search `{name}`{others(storage, 'searches')}")
    record = f"searches/{name}/search.json"
    if not storage.exists(record):
        raise ConfigError(
            f"{storage.root}: {record} is not there: the search `{name}` has not ended; run the same "
            "command again to end it"
        )
    search = stored_record(SearchRecord, storage, record)
    audit = None
    # The record names the audit of the recommended setting before the audit is run.
    if search.audited is not None and storage.exists(f"runs/{search.audited.run}/run.json"):
        audit = read_holdout_audit(load_run(storage, search.audited.run), search.headline)
    grid = search_grid(search, Store(storage)) if pictures else None
    page = render_search(search, place=storage.root, grid=grid, audit=audit, pictures=pictures)
    verdict = search_verdict(search, audit)
    warnings = search_caveats(search, audit)
    folder, said = f"searches/{name}", [verdict]
    charts = search_figures(search) if figures or tables else {}
    frames = {"trials": trial_frame(search)} if tables else None
    said += write_files(storage, folder, charts, figures, frames)
    place = page_name(folder, "index", pictures=pictures)
    return publish(storage, place, page, *said, kind="Page", warnings=warnings, strict=strict)


def search_figures(search: SearchRecord) -> dict[str, list[Figure]]:
    """Every chart of a search's page, by its section."""
    single = {
        "parallel": parallel_figure(search),
        "convergence": convergence_figure(search),
        "timeline": timeline_figure(search.timeline),
    }
    found = {section: [figure] if figure else [] for section, figure in single.items()}
    return {"fronts": front_figures(search), **found}


def render_search(
    search: SearchRecord,
    *,
    place: str,
    grid: Grid | None = None,
    audit: HoldoutAudit | None = None,
    pictures: bool,
) -> str:
    """The page as one HTML document.

    `place` is the storage root, for the command that audits the recommended setting. Without `pictures` the page
    has neither the grid nor any person's name.
    """
    bucket = "://" in place
    recipe = "recommended.yaml" if bucket else f"{place}/searches/{search.search}/recommended.yaml"
    states = [trial.state for trial in search.trials]
    counts = [(s, states.count(s)) for s in get_args(TrialState) if s in states]
    names = short_names(search.axes)
    headline = f"“{search.evaluators[0]}”" if search.evaluators else "that stands first"
    context = {
        "search": search,
        "answers": search_answers(search, audit),
        "caveats": search_caveats(search, audit),
        **search_figures(search),
        "importance": [
            (metric, sorted(((names.get(k, k), v) for k, v in shares.items()), key=lambda p: -p[1]))
            for metric, shares in search.importance.items()
            if shares
        ],
        "names": names,
        "comparisons": search_comparisons(search),
        "further": [m for m in {**search.objectives, **search.constraints} if m not in IN_COLUMNS],
        "shares": SHARES,
        "settings": settings_text(search, search.best) if search.best else "",
        "value_text": value_text,
        # An empty cell sorts last.
        "sort_key": lambda value: "" if value is None else str(value),
        "longest_fault": LONGEST_FAULT,
        "headline": headline if search.headline == "first" else "that finds most",
        "command": shlex.join(["python", "jobs/audit.py", recipe, "--storage", place]),
        "bucket": bucket,
        "bounds": constraint_text(search.constraints),
        "audit": audit,
        "grid": grid if pictures else None,
        "pictures": pictures,
        "config": dump_yaml(search.experiment, width=100),
        "counts": counts,
    }
    scripts = ["charts.js.j2", "sort.js.j2"]
    return fill("search.html.j2", context, scripts=scripts, pictures=pictures)
