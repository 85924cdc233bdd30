"""Options and exit codes that the commands share. Nothing heavy is imported, so --help is fast."""

import gc
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from enum import StrEnum
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from inversionlab.experiment import Experiment
    from inversionlab.tracking.log_to import LogTo

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
VerifyData = Annotated[
    bool,
    typer.Option(
        "--verify-data",
        help="Read every picture file again, even if its size and modification time have not changed.",
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
        "--strict", help="End with exit code 4 if there is a warning on the page; all is stored."
    ),
]


LogToOption = Annotated[
    list[str] | None,
    typer.Option(
        "--log-to",
        metavar="SERVICE",
        help="Send the curves of trainings, and of a search's trials, also to mlflow:URI or wandb:PROJECT; "
        "--no-pictures leaves out the samples. Repeatable.",
        show_default=False,
    ),
]


def log_to(given: list[str] | None, *, pictures: bool) -> "LogTo":
    """What `--log-to` stands for; raises ConfigError for what it cannot."""
    from inversionlab.tracking.log_to import read_log_to

    return read_log_to(given or (), pictures=pictures)


def verified(experiment: "Experiment", *, verify: bool) -> "Experiment":
    """The experiment, with what `--verify-data` stands for."""
    if not verify:
        return experiment
    runtime = experiment.runtime.model_copy(update={"verify_data": True})
    return experiment.model_copy(update={"runtime": runtime})


class Answers(StrEnum):
    """What a model answers."""

    auto = "auto"
    logits = "logits"
    probabilities = "probabilities"
    log_probabilities = "log_probabilities"
    labels = "labels"
    top_k = "top_k"
    embedding = "embedding"


@contextmanager
def exit_codes(*failures: type[Exception]) -> Iterator[None]:
    """Check the environment, run the block, and turn an error into one line on stderr and an exit code.

    2: the recipe or the data is wrong; 1: one of `failures`, the storage cannot be written, or Ray does not start.
    """
    from inversionlab.core.environment import check_environment
    from inversionlab.core.settings import ConfigError
    from inversionlab.distributed.errors import ClusterError
    from inversionlab.store.storage import StorageError

    known: tuple[type[Exception], ...] = (ConfigError, StorageError, ClusterError, *failures)
    try:
        check_environment()
        yield
    except known as error:
        typer.echo(f"error: {error}", err=True)
        code = 2 if isinstance(error, ConfigError) else getattr(error, "exit_code", 1)
        raise typer.Exit(code) from error


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
