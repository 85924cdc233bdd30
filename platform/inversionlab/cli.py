"""Options that the commands in jobs/ share. It imports nothing heavy, so --help answers at once."""

from __future__ import annotations

from typing import Annotated

import typer

Assignments = Annotated[
    list[str] | None,
    typer.Option(
        "--set",
        metavar="A.B=C",
        help="Override any setting by its dotted path; the value is read as YAML. Repeatable.",
    ),
]
StorageRoot = Annotated[
    str | None,
    typer.Option(
        help="Folder or bucket URI for networks, rows and reports (default: $INVERSIONLAB_STORAGE, "
        "else ./runs; in a submitted job ~/inversionlab).",
        show_default=False,
    ),
]
ShowPictures = Annotated[
    bool,
    typer.Option(
        "--pictures/--no-pictures",
        help="Whether the page shows real and reconstructed faces.",
    ),
]
