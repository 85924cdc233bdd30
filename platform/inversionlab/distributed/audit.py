"""The main job: data, trainings, measurements, attacks, record. What is stored already is not done again."""

from __future__ import annotations

import time

from inversionlab.distributed.attack_worker import MeasureJudge, Order
from inversionlab.distributed.cluster import connect, use_gpus
from inversionlab.distributed.orders import Failure
from inversionlab.distributed.progress import Log, Say, ShardProgress
from inversionlab.distributed.run_record import cost, describe, store_real, write_record
from inversionlab.distributed.scheduler import Foreman
from inversionlab.experiment import Experiment
from inversionlab.pipeline.session import Site, open_experiment
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
    site = open_experiment(experiment, Storage(root))
    site.workshop.check()
    say(f"      {describe(site)}")
    log.timed("data", began)
    connect()
    gpus = use_gpus(experiment.runtime)
    with Foreman(experiment.runtime, gpus) as foreman:
        trained = _train(site, foreman, log)
        failures = _attack(site, foreman, log)
    say("[4/4] report: writing the run's record")
    costs = cost(site, trained, foreman.attack_seconds, gpus)
    run = write_record(site, log.timings, trained, costs, foreman.timeline.samples)
    if failures:
        raise AuditError(_explain(site, failures, run))
    return run


def _train(site: Site, foreman: Foreman, log: Log) -> list[str]:
    """Train what is missing; returns the keys of what was trained."""
    began = time.monotonic()
    missing = [task.title for task in foreman.missing(site)]
    total = len(site.plan.tasks)
    log.say(f"[2/4] train: {len(missing)} of {total} networks to train" + _listed(missing))
    trained = foreman.train(site)
    log.timed("train", began)
    return trained


def _attack(site: Site, foreman: Foreman, log: Log) -> list[Failure[Order]]:
    """Measure what is not measured, attack what is not attacked."""
    began = time.monotonic()
    store_real(site)
    lacking = foreman.lacking(site, site.plan.cells)
    todo = lacking.jobs
    cells = len(site.plan.work())
    stored = cells * jobs_per_cell(site) - todo
    log.say(f"[3/4] attack: {todo} reconstructions over {cells} cells; {stored} are stored already")
    progress = ShardProgress(todo, log.say)

    def note(jobs: int, seconds: float) -> None:
        if jobs:
            progress.advance(jobs)

    failures = foreman.attack(lacking, note).wait()
    log.timed("attack", began)
    return failures


def jobs_per_cell(site: Site) -> int:
    """Reconstructions in each cell."""
    return len(site.plan.targets) * site.experiment.targets.repeats


def _listed(names: list[str]) -> str:
    return f": {', '.join(names)}" if names else ""


def _explain(site: Site, failures: list[Failure[Order]], run: str) -> str:
    labels = {cell.id: cell.label for cell in site.plan.work()}
    lines = []
    for failure in failures[:5]:
        order = failure.order
        what = f"evaluator {order.name}" if isinstance(order, MeasureJudge) else labels[order.cell]
        lines.append(f"  {what}: {failure.reason}")
    more = f"\n  and {len(failures) - 5} more" if len(failures) > 5 else ""
    return (
        f"{len(failures)} orders failed; all other rows are stored in run {run}, and the same command "
        "tries these again:\n" + "\n".join(lines) + more
    )
