"""Write the page of a stored run or search again: without pictures, at another place, after a new release.

inversionlab report demo-1a2b3c4d --storage runs --no-pictures
"""

from __future__ import annotations

from typing import Annotated

import typer

from inversionlab.commands.ending import ends_by_signals
from inversionlab.commands.options import ShowPictures, StorageRoot, Strict, exit_codes


@ends_by_signals
def main(
    run: Annotated[
        str,
        typer.Argument(
            help="The name of a run or a search: a folder below STORAGE/runs or STORAGE/searches."
        ),
    ],
    storage: StorageRoot = None,
    pictures: ShowPictures = True,
    strict: Strict = False,
) -> None:
    """Write the page of a stored run or search and print its headline."""
    from inversionlab.report.audit.page import write_report
    from inversionlab.report.frame import DoubtError
    from inversionlab.report.search.page import write_search_page
    from inversionlab.store.address import default_root
    from inversionlab.store.storage import Storage

    root = default_root() if storage is None else storage
    with exit_codes(DoubtError):
        is_search = run in Storage(root).folders("searches")
        write = write_search_page if is_search else write_report
        write(root, run, pictures=pictures, strict=strict)
