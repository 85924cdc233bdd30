"""Write the page of a stored run or search again: without pictures, at another place, after a new release.

inversionlab report demo-1a2b3c4d --storage runs --no-pictures
inversionlab report demo-1a2b3c4d --storage runs --figures pdf --csv
inversionlab report --all --storage runs
"""

from __future__ import annotations

from enum import StrEnum
from typing import TYPE_CHECKING, Annotated

import typer

from inversionlab.commands.ending import ends_by_signals
from inversionlab.commands.options import ShowPictures, StorageRoot, Strict, exit_codes

if TYPE_CHECKING:
    from inversionlab.report.charts.figure import FileKind


class FigureKind(StrEnum):
    """Kinds of files of charts."""

    svg = "svg"
    pdf = "pdf"
    png = "png"


@ends_by_signals
def main(
    run: Annotated[
        str | None,
        typer.Argument(
            help="The name of a run or a search: a folder below STORAGE/runs or STORAGE/searches.",
            show_default=False,
        ),
    ] = None,
    storage: StorageRoot = None,
    pictures: ShowPictures = True,
    strict: Strict = False,
    figures: Annotated[
        FigureKind | None,
        typer.Option(
            help="Write each chart as a file too, into the folder figures beside the page."
        ),
    ] = None,
    csv: Annotated[
        bool,
        typer.Option(
            "--csv",
            help="Write each table as CSV too, into the folder tables beside the page; of a run also "
            "results.parquet with a row for each reconstruction and evaluator.",
        ),
    ] = False,
    every: Annotated[
        bool,
        typer.Option(
            "--all",
            help="Write index.html into the storage: every run and search with its headline.",
        ),
    ] = False,
) -> None:
    """Write the page of a stored run or search and print its headline."""
    from inversionlab.core.settings import ConfigError
    from inversionlab.report.audit.page import write_report
    from inversionlab.report.frame import DoubtError
    from inversionlab.report.index import write_index
    from inversionlab.report.search.page import write_search_page
    from inversionlab.store.address import default_root
    from inversionlab.store.storage import Storage

    root = default_root() if storage is None else storage
    with exit_codes(DoubtError):
        if every == (run is not None):
            raise ConfigError("name a run or a search, or use --all for the index of a storage")
        if run is None:
            if csv or figures:
                raise ConfigError("--csv and --figures are for one run or search, not for --all")
            write_index(root)
            return
        is_search = run in Storage(root).folders("searches")
        write = write_search_page if is_search else write_report
        kind: FileKind | None = figures.value if figures else None
        write(root, run, pictures=pictures, strict=strict, figures=kind, tables=csv)
