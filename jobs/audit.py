"""Audit a recognizer: train, protect, attack, evaluate, report.

python jobs/audit.py jobs/recipes/demo.yaml
ray job submit --working-dir . -- python jobs/audit.py jobs/recipes/demo.yaml
"""

from __future__ import annotations

import os
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

# `ray job submit --working-dir .` unpacks the checkout on the head node without installing it.
sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "platform"))
# A user's own network is imported from the current folder.
sys.path.append(os.getcwd())

import typer

from inversionlab.cli import Assignments, ShowPictures, StorageRoot, exit_codes

if TYPE_CHECKING:
    from inversionlab.experiment import Experiment

app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)

EPILOG = """Examples:

  python jobs/audit.py jobs/recipes/demo.yaml

  python jobs/audit.py jobs/recipes/lfw.yaml --set data.root=/data/lfw64 --set defense.alpha=0.4

  python jobs/audit.py jobs/recipes/demo.yaml --storage s3://bucket/audits --no-pictures

Run the same command again after anything stopped it: finished networks and stored reconstructions are
kept, a training goes on from its last checkpoint. Change only `defense.alpha`: nothing is trained.

Exit codes: 0 done; 1 some attacks or a training failed (the rest is stored); 2 the recipe or the data is wrong."""


@app.command(epilog=EPILOG)
def main(
    recipe: Annotated[
        Path, typer.Argument(help="The experiment as YAML; jobs/recipes/ holds some to start from.")
    ],
    assignments: Assignments = None,
    storage: StorageRoot = None,
    pictures: ShowPictures = True,
    plan: Annotated[
        bool,
        typer.Option("--plan", help="Check everything and say what would be done, then stop."),
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
) -> None:
    """Measure how much of its training data a recognizer gives away, undefended and behind a defense."""
    # Imported here so that --help answers at once; PyTorch and Ray take seconds.
    from inversionlab.experiment import load
    from inversionlab.store.storage import default_root

    with exit_codes():
        experiment = load(recipe, assignments or [])
        root = storage or default_root()
        if plan:
            _show_plan(experiment, root)
        else:
            _run(experiment, root, pictures=pictures)


def _show_settings() -> None:
    from inversionlab.experiment import Experiment
    from inversionlab.experiment.settings_reference import settings_reference

    typer.echo("\n".join(settings_reference(Experiment)))
    raise typer.Exit


def _show_plan(experiment: Experiment, root: str) -> None:
    from inversionlab.distributed.run_record import describe
    from inversionlab.pipeline.session import missing_jobs, open_experiment
    from inversionlab.store.storage import Storage

    session = open_experiment(experiment, Storage(root))
    session.builder.check()
    typer.echo(describe(session))
    for spec in session.plan.specs:
        state = "is stored" if session.artifacts.finished(spec) else "to be trained"
        typer.echo(f"  network {spec.key}: {state}")
    for cell in session.plan.cells:
        _, todo = missing_jobs(session, cell, session.plan.targets)
        typer.echo(f"  cell {cell.id} {cell.label}: {todo} reconstructions to do")


def _run(experiment: Experiment, root: str, *, pictures: bool) -> None:
    from inversionlab.distributed.actor_pool import ActorPoolError
    from inversionlab.distributed.audit import AuditError, audit
    from inversionlab.pipeline.train import TrainingError
    from inversionlab.report.audit.page import write_report

    began = time.monotonic()
    with exit_codes(AuditError, ActorPoolError, TrainingError):
        run = audit(experiment, root, typer.echo)
    write_report(root, run, pictures=pictures)
    typer.echo(f"Done in {time.monotonic() - began:.0f} s.")


if __name__ == "__main__":
    app()
