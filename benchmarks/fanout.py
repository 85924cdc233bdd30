"""What does a shard cost in addition to its work, in time and in the driver's memory?

    python -m benchmarks.fanout

1. 10,000 empty shards through the real queue and pool: milliseconds each, and the driver's memory meanwhile.
2. 300,000 shards cut one by one, as for the pool: peak memory, against a list of them all.
3. Shards of one short attack each, on the real worker: time in addition to the seconds that the worker counts.
"""

from __future__ import annotations

import argparse
import gc
import itertools
import statistics
import tempfile
import time
import tracemalloc
from collections.abc import Callable
from pathlib import Path

import psutil  # type: ignore[import-untyped]
import ray
import torch
from tests import tiny

from benchmarks.local_ray import local_ray, trained, work_off
from inversionlab.distributed.actor_pool import ActorPool
from inversionlab.distributed.cluster import Gpus
from inversionlab.distributed.scheduler import Scheduler
from inversionlab.distributed.shard_queue import PendingJobs, ShardQueue
from inversionlab.pipeline.cell import Cell
from inversionlab.pipeline.paces import Kind
from inversionlab.pipeline.session import Session, missing_jobs
from inversionlab.store.tables import Job

MEGA = 2**20
WORKERS = 2
PEOPLE, REPEATS = 100_000, 3
TARGETS = 6

AttackJobs = tuple[Job, ...]


@ray.remote(num_cpus=0, max_restarts=0, max_task_retries=0)
class Idler:
    """Does nothing."""

    def ready(self) -> bool:
        """Whether the worker is there."""
        return True

    def run(self, item: AttackJobs) -> float:
        """No work, no seconds."""
        return 0.0


def empty_shards(count: int) -> None:
    """Time and memory of shards without work."""
    # Ray's `remote` decorator hides the method from the type checker.
    pool: ActorPool[AttackJobs] = ActorPool(Idler.remote)  # type: ignore[attr-defined]
    _through(pool, 200, lambda jobs, seconds: None)
    gc.collect()
    process = psutil.Process()
    sizes: list[float] = []
    calls = itertools.count(1)

    def note(jobs: int, seconds: float) -> None:
        if next(calls) % (count // 10) == 0:
            sizes.append(process.memory_info().rss / MEGA)

    began = time.perf_counter()
    _through(pool, count, note)
    each = 1000 * (time.perf_counter() - began) / count
    pool.dismiss()
    print(f"{count} empty shards, {WORKERS} workers: {each:.2f} ms each")
    print(
        f"  driver's memory at 10, 20, ... 100 %: {', '.join(f'{size:.1f}' for size in sizes)} MB; "
        f"from half to end it grew by {sizes[-1] - sizes[4]:.1f} MB"
    )


def _through(pool: ActorPool[AttackJobs], count: int, note: Callable[[int, float], None]) -> None:
    queue: ShardQueue[AttackJobs] = ShardQueue(shard_seconds=30, shard_size=1, workers=WORKERS)
    jobs = ((number, 0) for number in range(count))
    queue.put([], [PendingJobs(jobs, count, Kind("empty"), lambda cut: cut)], note)
    queue.close()
    work_off(pool, queue, WORKERS)


def cut_only() -> None:
    """Memory while the shards of many targets are cut, each when the previous one is done."""
    with tempfile.TemporaryDirectory() as folder:
        session = tiny.session(Path(folder), **{"targets.repeats": REPEATS})
        tracemalloc.start()
        queue: ShardQueue[AttackJobs] = ShardQueue(shard_seconds=30, shard_size=1)
        jobs, left = missing_jobs(session, session.plan.cells[0], range(PEOPLE))
        queue.put([], [PendingJobs(jobs, left, Kind("cut"), lambda cut: cut)])
        begun, _ = tracemalloc.get_traced_memory()
        tracemalloc.reset_peak()
        count = 0
        while (shard := queue.take()) is not None:
            queue.done(shard, 0.0)
            count += 1
        _, peak = tracemalloc.get_traced_memory()
        tracemalloc.reset_peak()
        jobs, _ = missing_jobs(session, session.plan.cells[0], range(PEOPLE))
        everything = [(job,) for job in jobs]
        _, listed = tracemalloc.get_traced_memory()
        tracemalloc.stop()
    assert count == len(everything) == PEOPLE * REPEATS
    print(
        f"{count} shards cut one by one: {begun / MEGA:.1f} MB for the targets at first, "
        f"{(peak - begun) / MEGA:.2f} MB more at the peak; a list of them all takes {listed / MEGA:.1f} MB"
    )


def overhead(shards: int, root: Path) -> None:
    """Wall time of attack shards on top of their work, with one worker; a round for each target but the first."""
    changed = {"runtime.shard_size": 1, "targets.count": TARGETS, "targets.repeats": shards}
    session = trained(tiny.experiment(**changed), root)
    (cell,) = (c for c in session.plan.cells if c.label == "latent_white_box on dummy_recognizer")
    with Scheduler(session.experiment.runtime, Gpus(train=False, attack=False)) as scheduler:
        _round(scheduler, session, cell, session.plan.targets[0])
        before = time.process_time()
        rounds = [_round(scheduler, session, cell, target) for target in session.plan.targets[1:]]
        driver = (time.process_time() - before) / (shards * len(rounds))
    spare = statistics.median(statistics.mean(gap for gap, _ in r) for r in rounds)
    work = statistics.median(statistics.mean(seconds for _, seconds in r) for r in rounds)
    print(
        f"{len(rounds)} x {shards} attack shards, one worker: {1000 * spare:.1f} ms a shard on top of its own "
        f"{1000 * work:.1f} ms (at most 20 ms is wanted); median of all shards "
        f"{1000 * statistics.median(gap for r in rounds for gap, _ in r):.1f} ms, driver's CPU time "
        f"{1000 * driver:.1f} ms"
    )


def _round(
    scheduler: Scheduler, session: Session, cell: Cell, target: int
) -> list[tuple[float, float]]:
    """For each shard but the first: seconds since the end of the previous one, less its work; and its work."""
    ends: list[tuple[float, float]] = []

    def note(jobs: int, seconds: float) -> None:
        if jobs:
            ends.append((time.perf_counter(), seconds))

    failures = scheduler.attack(scheduler.missing_work(session, [cell], [target]), note).wait()
    assert not failures, failures[0].reason
    return [(b[0] - a[0] - b[1], b[1]) for a, b in itertools.pairwise(ends)]


def main() -> None:
    """Run all three measurements."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--empty", type=int, default=10_000, help="empty shards")
    parser.add_argument("--shards", type=int, default=50, help="attack shards in a round")
    given = parser.parse_args()
    torch.set_num_threads(1)
    cut_only()
    with local_ray(WORKERS) as folder:
        empty_shards(given.empty)
        overhead(given.shards, folder / "storage")


if __name__ == "__main__":
    main()
