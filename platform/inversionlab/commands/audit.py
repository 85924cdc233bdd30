"""Audit a recognizer: train, protect, attack, evaluate, report.

inversionlab audit demo
ray job submit --working-dir . -- python jobs/audit.py jobs/recipes/demo.yaml
"""

from __future__ import annotations

import shlex
import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from inversionlab.commands.ending import ends_by_signals
from inversionlab.commands.options import (
    Answers,
    Assignments,
    LogToOption,
    ShowPictures,
    StorageRoot,
    Strict,
    VerifyData,
    exit_codes,
    import_from_current_folder,
    importing,
    log_to,
    verified,
)

if TYPE_CHECKING:
    from inversionlab.experiment import Experiment
    from inversionlab.tracking.log_to import LogTo

EPILOG = """Examples:

  {program} {demo}

  {program} {lfw} --set data.root=/data/lfw64 --set defense.alpha=0.4

  {program} {demo} --storage s3://bucket/audits --no-pictures

  {program} --model facenet.model:FaceNet --weights facenet.pt --data people/ --public strangers/

  {program} --endpoint https://host/identify --data people/ --public strangers/ --budget 50000

Run the same command again after anything stopped it: finished networks and stored reconstructions are kept,
and a training continues from its last checkpoint. If only `defense.alpha` changes, nothing is trained.

Exit codes: 0 done; 1 some attacks or a training failed (the rest is stored); 2 the recipe, the model or the
data is wrong; 3 the endpoint's budget of queries is spent (the rest is stored); 4 there is a warning on the
page and --strict is set (all is stored); 130, 143, 129 interrupted."""
PANEL = "A model of your own, without a recipe"


def epilog(program: str, recipe: str = "{}") -> str:
    """The last part of the help, with examples of `program`; `recipe` shows how recipes are named."""
    return EPILOG.format(program=program, demo=recipe.format("demo"), lfw=recipe.format("lfw"))


@ends_by_signals
def main(
    recipe: Annotated[
        Path | None,
        typer.Argument(
            help="The experiment as YAML: a file or a name (--list); jobs/recipes/ holds some to start from.",
            show_default=False,
        ),
    ] = None,
    assignments: Assignments = None,
    storage: StorageRoot = None,
    pictures: ShowPictures = True,
    verify_data: VerifyData = False,
    strict: Strict = False,
    logged: LogToOption = None,
    plan: Annotated[
        bool,
        typer.Option("--plan", help="Check everything and say what would be done, then stop."),
    ] = False,
    force: Annotated[
        bool,
        typer.Option(
            "--force",
            help="Continue even if the checks of a given model say that something is wrong.",
        ),
    ] = False,
    settings: Annotated[
        bool,
        typer.Option(
            "--settings",
            help="List every setting with its type, bounds, default and meaning, then stop.",
            is_eager=True,
            callback=lambda asked: _show_settings() if asked else None,
        ),
    ] = False,
    listed: Annotated[
        bool,
        typer.Option(
            "--list",
            help="List the recipes that come with InversionLab, then stop.",
            is_eager=True,
            callback=lambda asked: _list_recipes() if asked else None,
        ),
    ] = False,
    model: Annotated[
        str | None,
        typer.Option(
            rich_help_panel=PANEL,
            help="`package.module:Class`, a function `package.module:predict`, a file (*.onnx, *.pt2, "
            "TorchScript), `torchvision:NAME` or `timm:NAME`.",
            show_default=False,
        ),
    ] = None,
    weights: Annotated[
        Path | None,
        typer.Option(
            rich_help_panel=PANEL,
            help="The class's weights: *.safetensors, or a state dict as *.pt or *.pth.",
            show_default=False,
        ),
    ] = None,
    endpoint: Annotated[
        str | None,
        typer.Option(
            rich_help_panel=PANEL,
            metavar="URL",
            help="A model that is reached over HTTP, in place of --model; `--set victim.endpoint...` says how it "
            "is asked.",
            show_default=False,
        ),
    ] = None,
    budget: Annotated[
        int | None,
        typer.Option(
            rich_help_panel=PANEL,
            min=1,
            help="The most queries that are sent to the endpoint in all.",
            show_default=False,
        ),
    ] = None,
    data: Annotated[
        str | None,
        typer.Option(
            rich_help_panel=PANEL,
            metavar="FOLDER",
            help="Pictures of the people whom the model knows, one folder for each person; a folder or a bucket's "
            "URI.",
            show_default=False,
        ),
    ] = None,
    public: Annotated[
        str | None,
        typer.Option(
            rich_help_panel=PANEL,
            metavar="FOLDER",
            help="Pictures of strangers, one folder for each: what the attacker has.",
            show_default=False,
        ),
    ] = None,
    classes: Annotated[
        Path | None,
        typer.Option(
            rich_help_panel=PANEL,
            help="The people in the order of the model's classes: one class per line, or JSON (default: the "
            "sorted names of the folders).",
            show_default=False,
        ),
    ] = None,
    gallery: Annotated[
        str | None,
        typer.Option(
            rich_help_panel=PANEL,
            metavar="FOLDER",
            help="The enrolled people's pictures, for an embedding; `private`: those of --data.",
            show_default=False,
        ),
    ] = None,
    answers: Annotated[
        Answers | None,
        typer.Option(
            rich_help_panel=PANEL,
            help="What the model answers (default: auto).",
            show_default=False,
        ),
    ] = None,
    image_size: Annotated[
        int | None,
        typer.Option(
            rich_help_panel=PANEL,
            help="Side of all pictures, in pixels (default: chosen by the pictures).",
            show_default=False,
        ),
    ] = None,
    write: Annotated[
        Path | None,
        typer.Option(
            rich_help_panel=PANEL,
            metavar="FILE",
            help="The file for the recipe of what was chosen (default: NAME.yaml in the current folder).",
            show_default=False,
        ),
    ] = None,
) -> None:
    """Measure how much of its training data a recognizer gives away, undefended and behind a defense."""
    # Imported here so that --help answers at once; PyTorch and Ray take seconds.
    with importing():
        from inversionlab.commands.given_model import GivenModel, experiment_of
        from inversionlab.commands.plan import show_plan
        from inversionlab.store.address import default_root

    import_from_current_folder()
    with exit_codes():
        given = GivenModel(
            model=model,
            weights=weights,
            endpoint=endpoint,
            budget=budget,
            data=data,
            public=public,
            classes=classes,
            gallery=gallery,
            answers=None if answers is None else answers.value,
            image_size=image_size,
            write=write,
        )
        experiment = experiment_of(recipe, given, assignments or [], plan=plan)
        experiment = verified(experiment, verify=verify_data)
        root = default_root() if storage is None else storage
        services = log_to(logged, pictures=pictures)
        if plan:
            show_plan(experiment, root, force=force)
        else:
            _run(experiment, root, services, pictures=pictures, force=force, strict=strict)


def _list_recipes() -> None:
    from inversionlab.commands.supplied import recipe_headers

    headers = recipe_headers()
    width = max(map(len, headers), default=0)
    for name, header in headers.items():
        typer.echo(f"{name:{width}}  {header}")
    raise typer.Exit


def _show_settings() -> None:
    from inversionlab.commands.settings import main as list_settings

    list_settings()
    raise typer.Exit


def _run(
    experiment: Experiment, root: str, services: LogTo, *, pictures: bool, force: bool, strict: bool
) -> None:
    with importing():
        from rich.console import Console

        from inversionlab.distributed.audit import audit
        from inversionlab.distributed.errors import ActorPoolError, AuditError
        from inversionlab.distributed.live_display import display_of
        from inversionlab.given.endpoint_answers import EndpointError
        from inversionlab.given.ledger import BudgetError
        from inversionlab.pipeline.train import TrainingError
        from inversionlab.report.audit.page import write_report
        from inversionlab.report.frame import DoubtError

    began = time.monotonic()
    with exit_codes(AuditError, ActorPoolError, TrainingError, EndpointError, BudgetError):
        try:
            display = display_of(Console())
            say = typer.echo if display is None else display.say
            run = audit(experiment, root, say, force=force, display=display, log_to=services)
        except AuditError as error:
            # What was found until then is worth a page too.
            write_report(root, error.run, pictures=pictures)
            raise
    with exit_codes(DoubtError):
        write_report(root, run, pictures=pictures, strict=strict, keep=True)
    typer.echo(f"Done in {time.monotonic() - began:.0f} s.")
    typer.echo(f"Next: {_next(experiment, root, run)}")


def _next(experiment: Experiment, root: str, run: str) -> str:
    """The command that is likely to be wanted next."""
    from inversionlab.commands.supplied import has_space
    from inversionlab.store.storage import Storage

    place = f"--storage {shlex.quote(Storage(root).root)}"
    if experiment.seeds is None and has_space(experiment.defense.name):
        return (
            f"inversionlab search {experiment.defense.name} --recipe RECIPE {place} searches for better settings "
            "of this defense"
        )
    return f"inversionlab dashboards {run} {place} shows how the networks learned"
