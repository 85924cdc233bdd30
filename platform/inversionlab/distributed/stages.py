"""The stages of an audit that run on Ray: training the missing networks, and attacking."""

import time
from collections.abc import Sequence
from contextlib import nullcontext
from functools import partial

from inversionlab.distributed import own_ray
from inversionlab.distributed.actor_pool import Failure
from inversionlab.distributed.cluster import connect, machine, refuse_hopeless, use_gpus
from inversionlab.distributed.errors import AuditError, BudgetSpentError
from inversionlab.distributed.live_display import LiveDisplay
from inversionlab.distributed.live_victim import endpoint_status, share_live
from inversionlab.distributed.progress import Log, Say, ShardProgress, with_status
from inversionlab.distributed.ray_names import job_metadata
from inversionlab.distributed.run_record import (
    WorkDone,
    cost,
    reconstructions,
    run_name,
    store_real,
)
from inversionlab.distributed.scheduler import Scheduler
from inversionlab.distributed.training_board import BoardReader
from inversionlab.distributed.work_items import MeasureCeiling, MeasureEvaluator, WorkItem
from inversionlab.given.ledger import BudgetError
from inversionlab.pipeline.missing import Found
from inversionlab.pipeline.session import Session, missing_jobs

NAMED = 12
"""Networks that are named before they are trained."""


def train_and_attack(
    session: Session,
    found: Found,
    log: Log,
    *,
    started: bool,
    display: LiveDisplay | None = None,
) -> WorkDone:
    """Do whatever the store lacks; connects to Ray, or starts it.

    Args:
        session: the experiment.
        found: what was found whole in the store already.
        log: gets the lines about the progress, and the seconds of each stage.
        started: whether a Ray was started here already.
        display: shows bars on a terminal; None: there are lines only.

    Raises:
        ConfigError, TrainingError, ActorPoolError, BudgetError, EndpointError: as `audit`.
    """
    experiment = session.experiment
    runtime, say = experiment.runtime, log.say
    job = job_metadata(experiment.name, run_name(experiment))
    started |= connect(say if display is None else display.worker_says, job=job)
    session = share_live(session)
    gpus = use_gpus(runtime)
    with Scheduler(runtime, gpus, found, say) as scheduler:
        began = time.monotonic()
        specs = scheduler.missing(session)
        if started:
            refuse_hopeless(runtime, training=bool(specs))
        of = f"{len(specs)} of {len(session.plan.specs)}"
        say(f"[2/4] train: {of} networks to train{named([spec.title for spec in specs])}")
        asked = any(spec.learns_from is not None for spec in specs)
        with (
            with_status(say, partial(endpoint_status, session) if asked else str),
            display.trainings(len(specs), BoardReader.start().read)
            if display is not None and specs
            else nullcontext(),
        ):
            trained = scheduler.train(session)
        log.timed("train", began)
        began = time.monotonic()
        failures = _attack(session, scheduler, say, display)
        log.timed("attack", began)
    say(f"      {own_ray.logs_in_words(started)}")
    return WorkDone(
        trained=trained,
        costs=cost(session, trained, scheduler.attack_seconds, gpus),
        timeline=scheduler.timeline,
        machine=machine(),
        error=_error(session, failures),
    )


def named(titles: Sequence[str]) -> str:
    """The names of networks that are to be trained, behind a colon; of many the first ones."""
    if not titles:
        return ""
    more = f" and {len(titles) - NAMED} more (--plan names them)" if len(titles) > NAMED else ""
    return f": {', '.join(titles[:NAMED])}{more}"


def _attack(
    session: Session, scheduler: Scheduler, say: Say, display: LiveDisplay | None
) -> list[Failure[WorkItem]]:
    """Measure and attack whatever the store lacks."""
    store_real(session)
    missing_work = scheduler.missing_work(session, session.plan.cells, ceilings=True)
    todo, cells = missing_work.jobs, len(session.plan.work)
    stored = reconstructions(session) - todo
    judged = missing_work.judged
    more = f"; {judged} pictures are stored and only need to be judged" if judged else ""
    more += f"; ceilings to measure: {len(missing_work.last)}" if missing_work.last else ""
    say(
        f"[3/4] attack: {todo} reconstructions over {cells} cells; {stored} are stored already{more}"
    )
    status = partial(endpoint_status, session)
    if display is not None:
        with display.attacks(todo, scheduler.seconds_left, scheduler.at_work, status) as count:
            return scheduler.attack(missing_work, count).wait()
    with with_status(say, status) as tell:
        progress = ShardProgress(todo, tell, scheduler.seconds_left, note=status)
        return scheduler.attack(missing_work, progress).wait()


def _error(session: Session, failures: list[Failure[WorkItem]]) -> AuditError | None:
    """The error of an audit with these failures; None if there are none."""
    run = run_name(session.experiment)
    if any(failure.reason.startswith(BudgetError.__name__) for failure in failures):
        return BudgetSpentError(_explain_budget(session, failures, run), run)
    return AuditError(_explain(session, failures, run), run) if failures else None


def _explain_budget(session: Session, failures: list[Failure[WorkItem]], run: str) -> str:
    """How much is not done, and how to continue."""
    left = _left(session)
    others = [f for f in failures if not f.reason.startswith(BudgetError.__name__)]
    more = f"\nBesides, {_explain(session, others, run)}" if others else ""
    return (
        f"the endpoint's budget is spent ({endpoint_status(session)}): {left} of {reconstructions(session)} "
        f"reconstructions are not done, all others are stored in run {run}. With a larger budget (--set "
        f"victim.endpoint.budget=N) the audit continues from there and asks nothing twice{more}"
    )


def _left(session: Session) -> int:
    """Reconstructions that are not stored."""
    cells, targets = session.plan.work.values(), session.plan.targets
    return sum(missing_jobs(session, cell, targets)[1] for cell in cells)


def _explain(session: Session, failures: list[Failure[WorkItem]], run: str) -> str:
    """The first failures, and how to continue."""
    labels = {key: cell.label for key, cell in session.plan.work.items()}
    lines = []
    for failure in failures[:5]:
        item = failure.item
        if isinstance(item, MeasureEvaluator):
            what = f"evaluator {item.name}"
        elif isinstance(item, MeasureCeiling):
            what = f"ceiling of generator {item.generator}"
        else:
            what = labels[item.cell]
        lines.append(f"  {what}: {failure.reason}")
    more = f"\n  and {len(failures) - 5} more" if len(failures) > 5 else ""
    return (
        f"{len(failures)} work items failed; all other rows are stored in run {run}, and the same command "
        "tries these again:\n" + "\n".join(lines) + more
    )
