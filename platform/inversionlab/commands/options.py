"""Options and exit codes that the commands share. Nothing heavy is imported, so --help is fast."""

import gc
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
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


Strict = Annotated[
    bool,
    typer.Option(
        "--strict", help="End with exit code 4 if a warning stands on the page; all is stored."
    ),
]


@contextmanager
def exit_codes(*failures: type[Exception]) -> Iterator[None]:
    """Turn an error into one line on stderr and an exit code.

    2: the recipe or the data is wrong; 1: one of `failures`, or the storage cannot be written; 130: interrupted.
    """
    from inversionlab.core.settings import ConfigError
    from inversionlab.store.storage import StorageError

    known: tuple[type[Exception], ...] = (ConfigError, StorageError, *failures)
    try:
        yield
    except known as error:
        typer.echo(f"error: {error}", err=True)
        code = 2 if isinstance(error, ConfigError) else getattr(error, "exit_code", 1)
        raise typer.Exit(code) from error
    except KeyboardInterrupt as stop:
        typer.echo(
            "interrupted; what is finished is stored, and the same command goes on", err=True
        )
        raise typer.Exit(130) from stop


def import_from_current_folder() -> None:
    """Let a user's own modules be imported from the current folder; the workers do so too."""
    if (here := os.getcwd()) not in sys.path:
        sys.path.append(here)


@contextmanager
def importing() -> Iterator[None]:
    """Import large libraries in the block without garbage collection.

    It would look through all that is imported many times and find nothing: a sixth of PyTorch's import. What was
    imported stays, so later collections leave it out; the one at exit alone would take as long.
    """
    gc.disable()
    try:
        yield
    finally:
        # Once Triton is there, its bindings would call what is left out a leak, at exit.
        if "triton" not in sys.modules:
            gc.freeze()
        gc.enable()
