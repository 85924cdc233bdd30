"""The main job: data, trainings, measurements, attacks, record. What is stored already is not done again."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

import ray
import torch

from inversionlab.experiment import Experiment
from inversionlab.runtime.cluster import connect, use_gpu
from inversionlab.runtime.fanout import Crew, Failure
from inversionlab.runtime.progress import ShardProgress
from inversionlab.runtime.record import describe, store_real, write_record
from inversionlab.runtime.site import Site, open_site, prepare
from inversionlab.runtime.trainer import train_missing
from inversionlab.runtime.worker import (
    AttackWorker,
    MeasureJudge,
    MeasureModel,
    Order,
    Shard,
    judge_key,
    model_key,
)
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
    storage, log = Storage(root), Log(say)
    began = time.monotonic()
    say("[1/4] data: reading the pictures")
    address = prepare(experiment, storage)
    site = open_site(address, torch.device("cpu"))
    site.workshop.check()
    say(f"      {describe(site)}")
    log.timed("data", began)
    connect()
    gpu = use_gpu(experiment.runtime.gpu)
    began = time.monotonic()
    missing = [t.role for t in site.plan.tasks if not site.artifacts.finished(t)]
    total = len(site.plan.tasks)
    say(f"[2/4] train: {len(missing)} of {total} networks to train" + _listed(missing))
    log.trained = train_missing(site, gpu=gpu)
    log.timed("train", began)
    failures = _attack_all(site, log, gpu=gpu)
    say("[4/4] report: writing the run's record")
    run = write_record(site, log.timings, log.trained)
    if failures:
        raise AuditError(_explain(site, failures, run))
    return run


def _listed(names: list[str]) -> str:
    return f": {', '.join(names)}" if names else ""


def _attack_all(site: Site, log: Log, *, gpu: bool) -> list[Failure[Order]]:
    """Measure what is not measured, attack what is not attacked."""
    began = time.monotonic()
    store_real(site)
    measures = list(_missing_measures(site))
    shards = list(missing_shards(site))
    jobs = sum(len(s.jobs) for s in shards)
    stored = len(site.plan.cells) * _jobs_per_cell(site) - jobs
    log.say(
        f"[3/4] attack: {jobs} reconstructions in {len(shards)} shards over {len(site.plan.cells)} "
        f"cells; {stored} are stored already"
    )
    if not measures and not shards:
        log.timed("attack", began)
        return []
    crew = _crew(site, len(shards), gpu=gpu)
    progress = ShardProgress(jobs, log.say)
    try:
        failures: list[Failure[Order]] = crew.run(measures, lambda order, seconds: None)
        if not failures:
            failures = crew.run(shards, lambda order, seconds: progress.advance(_size(order)))
    finally:
        crew.dismiss()
    log.timed("attack", began)
    return failures


def _size(order: Order) -> int:
    return len(order.jobs) if isinstance(order, Shard) else 0


def _crew(site: Site, orders: int, *, gpu: bool) -> Crew[Order]:
    runtime = site.experiment.runtime
    share = runtime.attack_gpu_share if gpu else 0.0
    resources = ray.cluster_resources()
    room = int(resources.get("GPU", 0) / share) if gpu else int(resources.get("CPU", 1))
    count = runtime.attack_workers or max(1, min(room, orders))
    actor = ray.remote(num_cpus=1, num_gpus=share, max_restarts=-1, max_task_retries=0)(
        AttackWorker
    )
    return Crew(lambda: actor.remote(site.address, gpu=gpu), count)


def _jobs_per_cell(site: Site) -> int:
    return len(site.plan.targets) * site.experiment.targets.repeats


def _missing_measures(site: Site) -> Iterable[Order]:
    for judge in site.experiment.evaluators:
        if not site.store.has("evaluators", judge_key(site, judge.name)):
            yield MeasureJudge(judge.name)
    seen = set()
    for cell in site.plan.cells:
        if cell.defense is None or cell.protected in seen:
            continue
        seen.add(cell.protected)
        if not site.store.has("models", model_key(site, cell.protected)):
            yield MeasureModel(cell.id)


def missing_shards(site: Site) -> Iterable[Shard]:
    """What is still to be attacked, cut into shards of `runtime.shard_size`."""
    size = site.experiment.runtime.shard_size
    repeats = range(site.experiment.targets.repeats)
    for cell in site.plan.cells:
        done = site.store.done(cell.id)
        todo = [(t, r) for t in site.plan.targets for r in repeats if (t, r) not in done]
        for first in range(0, len(todo), size):
            yield Shard(cell.id, tuple(todo[first : first + size]))


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
