"""What `inversionlab audit --plan` prints."""

from __future__ import annotations

from typing import TYPE_CHECKING

import typer

from inversionlab.commands.options import importing

if TYPE_CHECKING:
    from inversionlab.experiment import Experiment


def show_plan(experiment: Experiment, root: str, *, force: bool) -> None:
    """Open an experiment, check it, and print what its audit would do.

    Raises:
        ConfigError: something is wrong.
    """
    with importing():
        from inversionlab.distributed.planned_room import planned
        from inversionlab.distributed.run_record import describe
        from inversionlab.experiment.suite import suite_record
        from inversionlab.pipeline import estimate
        from inversionlab.pipeline.endpoint import begin, planned_queries
        from inversionlab.pipeline.judged_before import pictures_stored
        from inversionlab.pipeline.missing import missing_ceilings
        from inversionlab.pipeline.prepared import planned_pictures
        from inversionlab.pipeline.session import missing_jobs, stored_cells
        from inversionlab.pipeline.victim_check import check_victim
        from inversionlab.store.storage import Storage

    storage = Storage(root)
    session = begin(experiment, storage, listed=True)
    typer.echo(describe(session))
    for line in planned_pictures(experiment, session.spec.pictures, storage):
        typer.echo(line)
    if (suite := suite_record(experiment)) is not None:
        typer.echo(f"attacks: {suite.text}")
    if getattr(experiment.victim, "endpoint", None) is None:  # A plan asks an endpoint nothing.
        for line in check_victim(session, force=force):
            typer.echo(line)
    untrained, attacks = [], 0
    for spec in session.plan.specs:
        lacking = not (spec.given or session.artifacts.finished(spec))
        untrained += [spec] if lacking else []
        state = "given, not trained" if spec.given else "to be trained" if lacking else "is stored"
        typer.echo(f"  network {spec.key} {spec.title}: {state}")
    stored = stored_cells(session)
    for cell in session.plan.cells:
        missing, todo = missing_jobs(session, cell, session.plan.targets)
        attacks += todo
        judged = pictures_stored(session, cell, missing, stored)
        only = f", {judged} of them only to be judged by more evaluators" if judged else ""
        typer.echo(f"  cell {cell.id} {cell.label}: {todo} reconstructions to do{only}")
    for generator in missing_ceilings(session, set()):
        typer.echo(f"  ceiling of generator/{generator}: to be measured")
    training = bool(untrained)
    for line in planned(experiment.runtime, training=training) if training or attacks else ():
        typer.echo(f"  cluster: {line}")
    for line in estimate.lines(session, untrained):
        typer.echo(f"  estimate: {line}")
    for line in planned_queries(session):
        typer.echo(f"  queries: {line}")
