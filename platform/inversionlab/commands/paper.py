"""All tables and figures of a paper, ours beside the paper's own.

inversionlab paper kotsuji --scale tiny
ray job submit --working-dir . -- python jobs/paper.py wen --only table2
"""

from __future__ import annotations

import time
from enum import StrEnum
from typing import TYPE_CHECKING, Annotated

import typer

from inversionlab.commands.ending import ends_by_signals
from inversionlab.commands.options import (
    Assignments,
    ShowPictures,
    StorageRoot,
    exit_codes,
    import_from_current_folder,
    importing,
)

if TYPE_CHECKING:
    from inversionlab.papers.run import Request

EPILOG = """Examples:

  {program} kotsuji --scale tiny

  {program} wen --set faces:data.root=/data/lfw64 --set digits:data.root=/data/mnist

  {program} gong --only table2 --scale paper --plan

What is stored is not done again: a second call trains and attacks nothing.

Exit codes: 0 done; 1 some attacks or a training failed (the rest is stored); 2 a name, a setting or the
data is wrong; 130, 143, 129 interrupted."""


def epilog(program: str) -> str:
    """The last part of the help, with examples of `program`."""
    return EPILOG.format(program=program)


class ScaleOption(StrEnum):
    """How much is computed, on which data."""

    tiny = "tiny"
    small = "small"
    paper = "paper"


@ends_by_signals
def main(
    paper: Annotated[
        str | None,
        typer.Argument(
            help="kotsuji, gong, yoshimura, khosravy or wen; --list names their tables.",
            show_default=False,
        ),
    ] = None,
    only: Annotated[
        list[str] | None,
        typer.Option(
            metavar="TABLE", help="Only this table or figure, such as table2. Repeatable."
        ),
    ] = None,
    scale: Annotated[
        ScaleOption,
        typer.Option(
            help="tiny: made-up faces, in minutes. small: LFW and MNIST, in hours. paper: the paper's own data "
            "sets and sizes, for a GPU cluster."
        ),
    ] = ScaleOption.small,
    assignments: Assignments = None,
    storage: StorageRoot = None,
    pictures: ShowPictures = True,
    plan: Annotated[
        bool,
        typer.Option("--plan", help="Check everything and say what would be done, then stop."),
    ] = False,
    listed: Annotated[
        bool, typer.Option("--list", help="List the tables and figures of the papers, then stop.")
    ] = False,
    overview: Annotated[
        bool,
        typer.Option(
            "--overview",
            help="Write an overview of the tables and figures of all papers from what is stored, then stop.",
        ),
    ] = False,
) -> None:
    """Make a paper's tables and figures, with its printed figures beside ours.

    `--set NAME:a.b=c` changes a setting of one recipe of the paper; `--plan` names the recipes.
    """
    with importing():
        from inversionlab.core.settings import ConfigError
        from inversionlab.papers import PAPERS
        from inversionlab.papers.run import Request
        from inversionlab.store.address import default_root

    import_from_current_folder()
    with exit_codes():
        if listed:
            for name in [paper] if paper in PAPERS else PAPERS:
                for table in PAPERS[name].tables:
                    typer.echo(f"{name} {table.key:10} {table.title}")
            return
        root = default_root() if storage is None else storage
        if overview:
            _write_overview(root, scale)
            return
        if paper is None:
            raise ConfigError(f"name a paper: {', '.join(PAPERS)}")
        request = Request.of(paper, only or [], scale.value, assignments or [])
        if plan:
            _show_plan(request, root)
        else:
            _run(request, root, pictures=pictures)


def _show_plan(request: Request, root: str) -> None:
    with importing():
        from inversionlab.commands.plan import show_plan
        from inversionlab.core.settings import ConfigError

    for table in request.tables:
        why = table.why_not or f"recipes: {', '.join(table.recipes) or 'none'}"
        typer.echo(f"{table.key:10} {table.title}; {why}")
    for name, recipe in request.recipes.items():
        if recipe.experiment is None:
            typer.echo(f"recipe {name}: none at this scale: {recipe.why_not}")
            continue
        typer.echo(f"recipe {name}: {recipe.experiment.name}")
        try:
            show_plan(recipe.experiment, root, force=False)
        except ConfigError as error:
            # At the papers' sizes the data is mostly elsewhere.
            typer.echo(f"  cannot be planned further here: {error}")


def _write_overview(root: str, scale: ScaleOption) -> None:
    with importing():
        from inversionlab.papers.overview import overview, overview_file
        from inversionlab.store.storage import Storage

    storage, name = Storage(root), overview_file(scale.value)
    text = overview(storage, scale.value)
    storage.write(name, text.encode())
    typer.echo(f"{text.rstrip().splitlines()[-1]}\nOverview: {storage.uri(name)}")


def _run(request: Request, root: str, *, pictures: bool) -> None:
    with importing():
        from inversionlab.distributed.errors import ActorPoolError, AuditError
        from inversionlab.papers.run import run_paper
        from inversionlab.papers.wording import status_text
        from inversionlab.pipeline.train import TrainingError
        from inversionlab.store.storage import Storage

    began = time.monotonic()
    with exit_codes(AuditError, ActorPoolError, TrainingError):
        written = run_paper(request, root, typer.echo, pictures=pictures)
        for compared in written.tables:
            typer.echo(f"{compared.table.title}: {status_text(compared, request.scale)}")
        place = Storage(root).uri(f"{written.folder}/page.html")
        typer.echo(
            f"Page: {place}; beside it are the cells as Parquet and CSV, and the page as Markdown"
        )
        typer.echo(f"Done in {time.monotonic() - began:.0f} s.")
        if written.failed:
            raise written.failed[0]
