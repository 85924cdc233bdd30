"""The console command `inversionlab`: its subcommands, and the version."""

import functools
from typing import Annotated

import typer

from inversionlab import __version__
from inversionlab.commands import (
    audit,
    compare,
    dashboards,
    paper,
    prepare,
    report,
    search,
    settings,
)
from inversionlab.commands.ending import as_process

app = typer.Typer(
    name="inversionlab",
    add_completion=False,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
)
app.command("audit", epilog=audit.epilog("inversionlab audit"))(audit.main)
app.command("search", epilog=search.epilog("inversionlab search"))(search.main)
app.command("paper", epilog=paper.epilog("inversionlab paper"))(paper.main)
app.command("prepare")(prepare.main)
app.command("report")(report.main)
app.command("compare")(compare.main)
app.command("dashboards")(dashboards.main)
app.command("settings")(settings.main)


@app.callback()
def _version(
    version: Annotated[
        bool,
        typer.Option(
            "--version",
            help="Show the version, then stop.",
            is_eager=True,
            callback=lambda asked: _show_version() if asked else None,
        ),
    ] = False,
) -> None:
    """Measure how much of its training data a recognizer gives away, and find the defense that helps most."""


def _show_version() -> None:
    typer.echo(f"inversionlab {__version__}")
    raise typer.Exit


def main() -> None:
    """Run the command that the words of the command line name."""
    as_process(functools.partial(app, prog_name="inversionlab"))
