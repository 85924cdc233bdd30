"""The foreman: trains the networks that are missing and has cells attacked, for one audit or for many trials.

One crew of attack workers and one queue serve everybody who asks. Two who need the same network at once get it
from one training; where the machine has no room for a training beside the crew, the crew makes room until the
training has begun.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Collection, Iterable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import ray

from inversionlab.experiment import RuntimeSettings
from inversionlab.runtime.cluster import Gpus
from inversionlab.runtime.fanout import Crew, CrewError
from inversionlab.runtime.measure import judge_key, model_key
from inversionlab.runtime.shards import Batch, Lot, ShardQueue
from inversionlab.runtime.shelf import Shelf
from inversionlab.runtime.site import Site
from inversionlab.runtime.timeline import Timeline
from inversionlab.runtime.trainer import train_missing, training_begun, training_needs
from inversionlab.runtime.worker import (
    AttackWorker,
    Brief,
    MeasureJudge,
    MeasureModel,
    Order,
    Shard,
)
from inversionlab.stages.plan import Cell
from inversionlab.stages.training import TrainingError
from inversionlab.store import Job

PATIENCE = 20.0
"""Seconds that a training for which there is room has to begin, before the crew makes more."""


class Foreman:
    """Has the work of one storage root done; its methods may be called from many threads."""

    def __init__(self, runtime: RuntimeSettings, gpus: Gpus) -> None:
        """Take charge; nobody is hired yet. Close it, or use it as a context.

        Args:
            runtime: how the work is laid out.
            gpus: which work takes GPUs.
        """
        self._runtime, self._gpus = runtime, gpus
        self._shelf = Shelf()
        self._shelf_lock = threading.Lock()
        self._turn = threading.Condition()
        self._training: list[set[str]] = []
        self._broken: dict[str, str] = {}
        self._closing: set[object] = set()
        self._queue: ShardQueue[Order] = ShardQueue(
            shard_seconds=runtime.shard_seconds,
            shard_size=runtime.shard_size,
            workers=self._most_workers,
        )
        self._crew: Crew[Order] = Crew(self._hire, self._limit)
        self._thread: threading.Thread | None = None
        self.timeline = Timeline(self._now)

    def __enter__(self) -> Foreman:
        self.timeline.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Stop, whatever is left, and let the workers go."""
        self._queue.close()
        self._crew.stop()
        if self._thread is not None:
            self._thread.join()
        self._crew.dismiss()
        self.timeline.stop()

    @property
    def attack_seconds(self) -> float:
        """Working time of the attack workers so far, all together."""
        return self._queue.spent_seconds

    def train(self, site: Site) -> list[str]:
        """Train every network of the plan that is missing; returns the keys of those trained for this call.

        Raises:
            TrainingError: a training cannot go on; networks that were finished before it are stored.
        """
        while True:
            missing = [t.key for t in site.plan.tasks if not site.artifacts.finished(t)]
            with self._turn:
                broken = [self._broken[key] for key in missing if key in self._broken]
                if broken:
                    raise TrainingError(broken[0])
                if not missing:
                    return []
                shared = any(group & set(missing) for group in self._training)
                mine = not shared and len(self._training) < self._runtime.train_groups
                if mine:
                    self._training.append(set(missing))
                else:
                    self._turn.wait(1.0)
            if mine:
                return self._train(site, missing)

    def _train(self, site: Site, keys: list[str]) -> list[str]:
        """Train `keys`, of which nobody else trains one."""
        try:
            with self._room_for(site, keys):
                return train_missing(site, gpu=self._gpus.train)
        except TrainingError as error:
            # Trainings are deterministic: nobody else need try it in this run.
            left = [t.key for t in site.plan.tasks if not site.artifacts.finished(t)]
            self._broken[left[0]] = str(error)
            raise
        finally:
            with self._turn:
                self._training.remove(set(keys))
                self._turn.notify_all()

    @contextmanager
    def _room_for(self, site: Site, keys: list[str]) -> Iterator[None]:
        """While a training waits for its place, keep the crew out of its way if that can help."""
        needs = training_needs(site.experiment.runtime, gpu=self._gpus.train)
        over = threading.Event()

        def watch() -> None:
            deadline = time.monotonic() + (
                PATIENCE if _fits(needs, ray.available_resources()) else 0
            )
            # More nodes, not fewer workers, are what it needs if the whole cluster is too small.
            while _fits(needs, ray.cluster_resources()) and not over.wait(0.5):
                if training_begun(site, keys):
                    break
                if time.monotonic() > deadline:
                    self._closing.add(over)
            self._closing.discard(over)

        watcher = threading.Thread(target=watch, daemon=True, name="room for a training")
        watcher.start()
        try:
            yield
        finally:
            over.set()
            watcher.join()

    def attack(
        self,
        site: Site,
        cells: Iterable[Cell],
        targets: Collection[int] | None = None,
        on_done: Callable[[int, float], None] = lambda jobs, seconds: None,
    ) -> Batch[Order]:
        """Have cells measured and attacked, as far as the store lacks them; networks must be there.

        Args:
            site: the experiment.
            cells: which of its cells.
            targets: which of its targets; None: all.
            on_done: called with (reconstructions, seconds) as they come, from another thread.
        """
        cells = list(cells)
        chosen = site.plan.targets if targets is None else tuple(targets)
        brief = self._brief(site)
        singles = list(missing_measures(site, cells, brief))
        lots = [lot for cell in cells if (lot := _lot(site, cell, chosen, brief)).left]
        batch = self._queue.put(singles, lots, on_done)
        if (singles or lots) and self._thread is None:
            self._thread = threading.Thread(target=self._work, daemon=True, name="crew")
            self._thread.start()
        return batch

    def _brief(self, site: Site) -> Brief:
        with self._shelf_lock:
            splits, networks = self._shelf.splits(site), self._shelf.networks(site)
        return Brief(site.address, site.plan.data_id, splits, networks)

    def _work(self) -> None:
        try:
            self._crew.run(self._queue)
        except CrewError as error:
            self._queue.give_up(error)
        except Exception as error:
            self._queue.give_up(CrewError(f"the crew's own fault: {error!r}"))
            raise

    def _hire(self) -> Any:
        runtime = self._runtime
        share = runtime.attack_gpu_share if self._gpus.attack else 0.0
        actor = ray.remote(AttackWorker).options(
            num_cpus=runtime.attack_cpus,
            num_gpus=share,
            resources=dict(runtime.attack_resources),
            max_restarts=0,
            max_task_retries=0,
        )
        return actor.remote(gpu=self._gpus.attack)

    def _limit(self) -> int:
        return 0 if self._closing else self._most_workers()

    def _most_workers(self) -> int:
        """How many attack workers there may be: as set, or for as many as the cluster has room now."""
        runtime = self._runtime
        if runtime.attack_workers is not None:
            return runtime.attack_workers
        has = ray.cluster_resources()
        if self._gpus.attack:
            return max(1, int(has.get("GPU", 0) / runtime.attack_gpu_share))
        return max(1, int(has.get("CPU", 0) / runtime.attack_cpus))

    def _now(self) -> dict[str, float]:
        """What the timeline notes beside the cluster's size."""
        return {
            "workers": self._crew.ready,
            "training": len(self._training),
            "queued": self._queue.waiting(),
            "done": self._queue.done_jobs,
        }


def _fits(needs: dict[str, float], room: dict[str, float]) -> bool:
    return all(room.get(kind, 0.0) >= amount for kind, amount in needs.items())


def missing_measures(site: Site, cells: Iterable[Cell], brief: Brief) -> Iterator[Order]:
    """What is to be measured of judges and of the cells' models before they are attacked."""
    for judge in site.experiment.evaluators:
        key = judge_key(site, judge.name)
        if not (site.store.has("evaluators", key) and site.store.has("features", key)):
            yield MeasureJudge(brief, judge.name)
    seen = set()
    for cell in cells:
        if cell.defense is None or cell.protected in seen:
            continue
        seen.add(cell.protected)
        key = model_key(site, cell.protected)
        if not (site.store.has("models", key) and site.store.has("references", key)):
            yield MeasureModel(brief, cell.id)


def _lot(site: Site, cell: Cell, targets: Collection[int], brief: Brief) -> Lot[Order]:
    def order(jobs: tuple[Job, ...]) -> Order:
        return Shard(brief, cell.id, jobs)

    jobs, left = missing_jobs(site, cell, targets)
    defense = cell.defense.name if cell.defense is not None else ""
    return Lot(jobs, left, f"{cell.attack.model_dump_json()} {defense}", order)


def missing_jobs(site: Site, cell: Cell, targets: Collection[int]) -> tuple[Iterator[Job], int]:
    """The (target, repeat) pairs of a cell that the store lacks, one by one, and their number."""
    wanted = site.experiment.targets
    place = {target: row for row, target in enumerate(targets)}
    # A byte a job: a hundred thousand targets are no burden.
    todo = np.ones((len(place), wanted.repeats), bool)
    for target, repeat in site.store.done(cell.id):
        column = repeat - wanted.first_repeat
        if target in place and 0 <= column < wanted.repeats:
            todo[place[target], column] = False
    jobs = (
        (target, wanted.first_repeat + column)
        for target, row in place.items()
        for column in range(wanted.repeats)
        if todo[row, column]
    )
    return jobs, int(todo.sum())
