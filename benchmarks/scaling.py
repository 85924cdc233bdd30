"""How much faster are two single-threaded attack workers than one, on the same work?

    python -m benchmarks.scaling

The benchmark runs the real queue, pool and workers: a white-box attack on a tiny mixture, its verdicts and its
rows. Workers are started and warmed up first. Rounds of one and of two workers alternate, since other work on the
machine slows both. The wall-clock ratio means something on two idle cores only. What the workers get done in a
second of their own CPU time shows, even on a busy machine, whether they are in each other's way.
"""

from __future__ import annotations

import argparse
import os
import statistics
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import ray
import torch
from tests import tiny

from benchmarks.local_ray import local_ray, trained, work_off
from inversionlab.distributed.actor_pool import ActorPool
from inversionlab.distributed.attack_worker import AttackWorker
from inversionlab.distributed.object_cache import ObjectCache
from inversionlab.distributed.shard_queue import ShardQueue
from inversionlab.distributed.work_items import Shard, WorkContext, WorkItem, missing_measurements
from inversionlab.pipeline.cell import Cell
from inversionlab.pipeline.session import Session

TARGETS = 6
"""Reconstructions in a shard, one of each target: about a second of work, so that the last shard is a small
part of a round."""


class Counting(AttackWorker):
    """An attack worker that knows how much CPU time its process has used."""

    def cpu_seconds(self) -> float:
        """CPU time of all its threads."""
        return time.process_time()


@dataclass(frozen=True)
class Took:
    """Seconds of a round."""

    wall: float
    cpu: float
    """CPU time of the workers, together."""


class Team:
    """A pool of a fixed size, whose workers stay between rounds."""

    def __init__(self, size: int, session: Session) -> None:
        cache = ObjectCache()
        self._size, self._session, self._cell = size, session, _cell(session)
        cached = cache.splits(session), cache.networks(session)
        self._context = WorkContext(session.spec, session.plan.data_id, *cached)
        worker = ray.remote(Counting).options(num_cpus=0, max_restarts=0, max_task_retries=0)
        self._actors: list[Any] = [worker.remote(gpu=False) for _ in range(size)]
        # The pool gets workers that are up: it would end one that comes up only when the work is done.
        ray.get([actor.ready.remote() for actor in self._actors])
        self._pool: ActorPool[WorkItem] = ActorPool(iter(self._actors).__next__)

    def warm_up(self) -> float:
        """Measure what attacks need, and let each worker do a shard; returns the CPU seconds of a shard."""
        self._work_off(missing_measurements(self._session, [self._cell], self._context, set()))
        self.round(2 * self._size)
        # One worker may have done all of them.
        ray.get([actor.run.remote(self._shard(0)) for actor in self._actors])
        return self.round(2 * self._size).cpu / (2 * self._size)

    def round(self, count: int) -> Took:
        """Do the first `count` shards, whether or not their rows are stored."""
        shards = [self._shard(number) for number in range(count)]
        before, began = self._cpu_seconds(), time.perf_counter()
        self._work_off(shards)
        return Took(time.perf_counter() - began, self._cpu_seconds() - before)

    def _work_off(self, items: Sequence[WorkItem]) -> None:
        queue: ShardQueue[WorkItem] = ShardQueue(shard_seconds=3600, shard_size=TARGETS)
        # Whole items, not pending jobs: the queue would cut the last shards smaller for two workers than for one.
        request = queue.put(items, [])
        queue.close()
        work_off(self._pool, queue, self._size)
        failures = request.wait()
        assert not failures, failures[0].reason

    def dismiss(self) -> None:
        """End the workers."""
        self._pool.dismiss()

    def _shard(self, number: int) -> WorkItem:
        jobs = tuple((target, number) for target in range(TARGETS))
        return Shard(self._context, self._cell.id, jobs)

    def _cpu_seconds(self) -> float:
        each: list[float] = ray.get([actor.cpu_seconds.remote() for actor in self._actors])
        return sum(each)


def _cell(session: Session) -> Cell:
    (cell,) = (c for c in session.plan.cells if c.label == "latent_white_box on dummy_recognizer")
    return cell


def open_session(root: Path) -> Session:
    """The tiny experiment with larger pictures and a longer attack."""
    attack = {"name": "latent_white_box", "steps": 100}
    experiment = tiny.experiment(
        **{"data.image_size": 32, "attacks": [attack], "targets.count": TARGETS, "sweep": None}
    )
    return trained(experiment, root)


def report(ones: list[Took], twos: list[Took], count: int) -> None:
    """Print the seconds of each round and both ratios."""
    wall = [one.wall / two.wall for one, two in zip(ones, twos, strict=True)]
    own = [one.cpu / two.cpu for one, two in zip(ones, twos, strict=True)]
    share = [two.cpu / two.wall for two in twos]
    for one, two in zip(ones, twos, strict=True):
        print(
            f"  {count} shards: one worker {one.wall:.1f} s (CPU {one.cpu:.1f} s), "
            f"two {two.wall:.1f} s (CPU {two.cpu:.1f} s)"
        )
    print(
        f"two workers against one: {statistics.median(wall):.2f} x shards a second "
        f"({min(wall):.2f} to {max(wall):.2f}; at least 1.8 is wanted on two idle cores)"
    )
    print(
        f"shards in a second of a worker's CPU time, two against one: "
        f"{statistics.median(own):.2f} (1 is ideal); the two had {statistics.median(share):.2f} of "
        f"{os.cpu_count()} cores"
    )


def main() -> None:
    """Warm up, then run rounds of one and two workers in turn."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--seconds", type=float, default=30, help="CPU time of a round")
    parser.add_argument("--rounds", type=int, default=3, help="turns of one and two workers")
    given = parser.parse_args()
    torch.set_num_threads(1)
    with local_ray(2) as folder:
        session = open_session(folder / "storage")
        one, two = Team(1, session), Team(2, session)
        pace = one.warm_up()
        two.warm_up()
        count = 2 * max(1, round(given.seconds / pace / 2))
        pairs = [(one.round(count), two.round(count)) for _ in range(given.rounds)]
        report([a for a, _ in pairs], [b for _, b in pairs], count)
        one.dismiss()
        two.dismiss()


if __name__ == "__main__":
    main()
