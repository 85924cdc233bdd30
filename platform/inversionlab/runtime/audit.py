"""The main job: data, trainings, measurements, attacks, record. What is stored already is not done again."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field

from inversionlab.experiment import Experiment
from inversionlab.runtime.cluster import connect, use_gpus
from inversionlab.runtime.foreman import Foreman
from inversionlab.runtime.orders import Failure
from inversionlab.runtime.progress import ShardProgress
from inversionlab.runtime.record import cost, describe, store_real, write_record
from inversionlab.runtime.site import Site, open_experiment
from inversionlab.runtime.todo import missing_jobs
from inversionlab.runtime.worker import MeasureJudge, Order
from inversionlab.storage import Storage

Say = Callable[[str], None]


class AuditError(RuntimeError):
    """Some attacks failed; what was finished is stored, and the text says what was not."""


@dataclass
class Log:
    """What the run did and how long it took."""

    say: Say
    timings: dict[str, float] = field(default_factory=dict)
    trained: list[str] = field(default_factory=list)

    def timed(self, stage: str, began: float) -> None:
        """Note a stage's seconds."""
        self.timings[stage] = round(time.monotonic() - began, 2)


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
        _train(site, foreman, log)
        failures = _attack(site, foreman, log)
    say("[4/4] report: writing the run's record")
    costs = cost(site, log.trained, foreman.attack_seconds, gpus)
    run = write_record(site, log.timings, log.trained, costs, foreman.timeline.samples)
    if failures:
        raise AuditError(_explain(site, failures, run))
    return run


def _train(site: Site, foreman: Foreman, log: Log) -> None:
    began = time.monotonic()
    missing = [t.role for t in site.plan.tasks if not site.artifacts.finished(t)]
    total = len(site.plan.tasks)
    log.say(f"[2/4] train: {len(missing)} of {total} networks to train" + _listed(missing))
    log.trained = foreman.train(site)
    log.timed("train", began)


def _attack(site: Site, foreman: Foreman, log: Log) -> list[Failure[Order]]:
    """Measure what is not measured, attack what is not attacked."""
    began = time.monotonic()
    store_real(site)
    todo = sum(missing_jobs(site, cell, site.plan.targets)[1] for cell in site.plan.cells)
    stored = len(site.plan.cells) * jobs_per_cell(site) - todo
    log.say(
        f"[3/4] attack: {todo} reconstructions over {len(site.plan.cells)} cells; "
        f"{stored} are stored already"
    )
    progress = ShardProgress(todo, log.say)

    def note(jobs: int, seconds: float) -> None:
        if jobs:
            progress.advance(jobs)

    failures = foreman.attack(site, site.plan.cells, on_done=note).wait()
    log.timed("attack", began)
    return failures


def jobs_per_cell(site: Site) -> int:
    """Reconstructions in each cell."""
    return len(site.plan.targets) * site.experiment.targets.repeats


def _listed(names: list[str]) -> str:
    return f": {', '.join(names)}" if names else ""


def _explain(site: Site, failures: list[Failure[Order]], run: str) -> str:
    labels = {cell.id: cell.label for cell in site.plan.cells}
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
