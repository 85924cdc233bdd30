"""Write the page of a stored run or search again: without pictures, at another place, after a new release.

python jobs/report.py demo-1a2b3c4d --storage runs --no-pictures
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "platform"))

import typer

from inversionlab.cli import ShowPictures, StorageRoot, exit_codes

app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)


@app.command()
def main(
    run: Annotated[
        str,
        typer.Argument(
            help="The name of a run or a search: a folder below STORAGE/runs or STORAGE/searches."
        ),
    ],
    storage: StorageRoot = None,
    pictures: ShowPictures = True,
) -> None:
    """Write the page of a stored run or search and print its headline."""
    from inversionlab.report.audit.page import write_report
    from inversionlab.report.search.page import write_search_page
    from inversionlab.store.storage import Storage, default_root

    root = storage or default_root()
    with exit_codes():
        is_search = run in Storage(root).folders("searches")
        write = write_search_page if is_search else write_report
        write(root, run, pictures=pictures)


if __name__ == "__main__":
    app()
