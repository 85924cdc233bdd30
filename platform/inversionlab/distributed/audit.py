"""The main job: data, trainings, measurements, attacks, record. What is stored already is not done again."""

from __future__ import annotations

import time

from inversionlab.distributed.attack_worker import MeasureEvaluator, WorkItem
from inversionlab.distributed.cluster import connect, use_gpus
from inversionlab.distributed.orders import Failure
from inversionlab.distributed.progress import Log, Say, ShardProgress
from inversionlab.distributed.run_record import cost, describe, store_real, write_record
from inversionlab.distributed.scheduler import Scheduler
from inversionlab.experiment import Experiment
from inversionlab.pipeline.session import Session, open_experiment
from inversionlab.store.storage import Storage


class AuditError(RuntimeError):
    """Some attacks failed; what was finished is stored, and the text says what was not."""


def audit(experiment: Experiment, root: str, say: Say = print) -> str:
    """Run the whole experiment on the storage `root`; returns the name of the run's folder there.

    The same call after any interruption goes on where the last one stopped.

    Raises:
        ConfigError: the data is missing or cannot be split as asked.
        AuditError: an attack failed; everything else is stored.
    """
    log = Log(say)
    began = time.monotonic()
    say("[1/4] data: reading the pictures")
    session = open_experiment(experiment, Storage(root))
    session.builder.check()
    say(f"      {describe(session)}")
    log.timed("data", began)
    connect()
    gpus = use_gpus(experiment.runtime)
    with Scheduler(experiment.runtime, gpus) as scheduler:
        trained = _train(session, scheduler, log)
        failures = _attack(session, scheduler, log)
    say("[4/4] report: writing the run's record")
    costs = cost(session, trained, scheduler.attack_seconds, gpus)
    run = write_record(session, log.timings, trained, costs, scheduler.timeline.samples)
    if failures:
        raise AuditError(_explain(session, failures, run))
    return run


def _train(session: Session, scheduler: Scheduler, log: Log) -> list[str]:
    """Train what is missing; returns the keys of what was trained."""
    began = time.monotonic()
    missing = [spec.title for spec in scheduler.missing(session)]
    total = len(session.plan.specs)
    log.say(f"[2/4] train: {len(missing)} of {total} networks to train" + _listed(missing))
    trained = scheduler.train(session)
    log.timed("train", began)
    return trained


def _attack(session: Session, scheduler: Scheduler, log: Log) -> list[Failure[WorkItem]]:
    """Measure what is not measured, attack what is not attacked."""
    began = time.monotonic()
    store_real(session)
    missing_work = scheduler.missing_work(session, session.plan.cells)
    todo = missing_work.jobs
    cells = len(session.plan.work())
    stored = cells * jobs_per_cell(session) - todo
    log.say(f"[3/4] attack: {todo} reconstructions over {cells} cells; {stored} are stored already")
    progress = ShardProgress(todo, log.say)

    def note(jobs: int, seconds: float) -> None:
        if jobs:
            progress.advance(jobs)

    failures = scheduler.attack(missing_work, note).wait()
    log.timed("attack", began)
    return failures


def jobs_per_cell(session: Session) -> int:
    """Reconstructions in each cell."""
    return len(session.plan.targets) * session.experiment.targets.repeats


def _listed(names: list[str]) -> str:
    return f": {', '.join(names)}" if names else ""


def _explain(session: Session, failures: list[Failure[WorkItem]], run: str) -> str:
    labels = {cell.id: cell.label for cell in session.plan.work()}
    lines = []
    for failure in failures[:5]:
        item = failure.item
        what = f"evaluator {item.name}" if isinstance(item, MeasureEvaluator) else labels[item.cell]
        lines.append(f"  {what}: {failure.reason}")
    more = f"\n  and {len(failures) - 5} more" if len(failures) > 5 else ""
    return (
        f"{len(failures)} orders failed; all other rows are stored in run {run}, and the same command "
        "tries these again:\n" + "\n".join(lines) + more
    )
