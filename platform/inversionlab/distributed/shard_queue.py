"""The queue between those who want attacks done and the crew that does them.

Shards are cut when a worker asks for one, as large as the measured pace says that `shard_seconds` take, and
no larger than an equal share of what is left. So the queue holds no list of shards, however many targets
there are; and the end of the work does not hang on one worker.
"""

from __future__ import annotations

import math
import threading
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import islice
from typing import Any, Generic

from inversionlab.distributed.actor_pool import ActorPoolError
from inversionlab.distributed.orders import Failure, Item
from inversionlab.store.tables import Job

FIRST = 8
"""Reconstructions in a shard of an attack whose pace is not known yet."""
KEEP = 0.5
"""Share of the old pace in the new one."""


@dataclass
class PendingJobs(Generic[Item]):
    """Jobs of one cell, to be cut into orders."""

    jobs: Iterator[Job]
    left: int
    """How many jobs the iterator still gives."""
    pace_key: str
    """Lots of the same key are expected to run at the same pace."""
    item: Callable[[tuple[Job, ...]], Item]


@dataclass(eq=False)
class Batch(Generic[Item]):
    """Work that somebody waits for: single orders first, then lots."""

    singles: list[Item]
    lots: list[PendingJobs[Item]]
    on_done: Callable[[int, float], None]
    """Called with (reconstructions, seconds) as orders get done, from the crew's thread."""
    failures: list[Failure[Item]] = field(default_factory=list)
    error: Exception | None = None
    """Why the crew gave up."""
    at_work: int = 0
    finished: threading.Event = field(default_factory=threading.Event)

    def wait(self) -> list[Failure[Item]]:
        """Wait until all is done; returns the orders that were given up.

        Raises:
            CrewError: the crew gave up.
        """
        # With a timeout, so that Ctrl-C is heard.
        while not self.finished.wait(0.5):
            pass
        if self.error is not None:
            raise self.error
        return self.failures


class ShardQueue(Generic[Item]):
    """A crew's source, first come first served; thread-safe."""

    def __init__(
        self, *, shard_seconds: float, shard_size: int, workers: Callable[[], int]
    ) -> None:
        """An open, empty queue.

        Args:
            shard_seconds: work in a shard.
            shard_size: jobs in a shard at most.
            workers: among how many workers the work is shared out.
        """
        self._seconds, self._size, self._workers = shard_seconds, shard_size, workers
        self._lock = threading.Lock()
        self._batches: list[Batch[Item]] = []
        self._at_work: dict[Item, tuple[Batch[Item], str, int]] = {}
        self._pace: dict[str, float] = {}
        self._open = True
        self._error: Exception | None = None
        self.done_jobs = 0
        self.spent_seconds = 0.0

    def put(
        self,
        singles: Sequence[Item],
        lots: Sequence[PendingJobs[Item]],
        on_done: Callable[[int, float], None] = lambda jobs, seconds: None,
    ) -> Batch[Item]:
        """Queue some work; where the crew has given up, the batch has ended already."""
        batch = Batch(list(singles), [lot for lot in lots if lot.left], on_done)
        with self._lock:
            if not self._open:
                batch.error = self._error or ActorPoolError("the crew has been dismissed")
                batch.finished.set()
                return batch
            self._batches.append(batch)
            self._close_if_done(batch)
        return batch

    def close(self) -> None:
        """No more will be put."""
        with self._lock:
            self._open = False

    def give_up(self, error: Exception) -> None:
        """End every batch with an error."""
        with self._lock:
            for batch in self._batches:
                batch.error = error
                batch.finished.set()
            self._batches, self._open, self._error = [], False, error

    def take(self) -> Item | None:
        """The next order: a single one, or a shard cut now."""
        with self._lock:
            for batch in list(self._batches):
                # What is measured first is read by what comes after it.
                if batch.singles:
                    return self._begin(batch, batch.singles.pop(0), "", 0)
                if any(held[0] is batch and not held[2] for held in self._at_work.values()):
                    continue
                while batch.lots:
                    lot = batch.lots[0]
                    jobs = tuple(islice(lot.jobs, self._cut(lot)))
                    lot.left -= len(jobs)
                    if lot.left <= 0 or not jobs:
                        batch.lots.pop(0)
                    if jobs:
                        return self._begin(batch, lot.item(jobs), lot.pace_key, len(jobs))
                self._close_if_done(batch)
            return None

    def waiting(self) -> int:
        """About how many orders could be taken now."""
        with self._lock:
            singles = sum(len(b.singles) for b in self._batches)
            lots = [lot for b in self._batches for lot in b.lots]
            return singles + sum(math.ceil(lot.left / self._fitting(lot)) for lot in lots)

    def open(self) -> bool:
        """Whether more may come."""
        with self._lock:
            return self._open or bool(self._batches)

    def done(self, item: Item, result: Any) -> None:
        """Note an order's seconds; its rows are stored."""
        with self._lock:
            batch, key, jobs = self._at_work.pop(item)
            if jobs:
                pace = result / jobs
                old = self._pace.get(key, pace)
                self._pace[key] = KEEP * old + (1 - KEEP) * pace
            self.done_jobs += jobs
            self.spent_seconds += result
            batch.at_work -= 1
        batch.on_done(jobs, result)
        with self._lock:
            self._close_if_done(batch)

    def failed(self, item: Item, reason: str) -> None:
        """Keep the failure for who waits."""
        with self._lock:
            batch, _, jobs = self._at_work.pop(item)
            batch.failures.append(Failure(item, reason))
            batch.at_work -= 1
            if not jobs:
                # Without what was to be measured, the shards that read it would all fail as well.
                batch.singles.clear()
                batch.lots.clear()
            self._close_if_done(batch)

    def _begin(self, batch: Batch[Item], item: Item, key: str, jobs: int) -> Item:
        self._at_work[item] = (batch, key, jobs)
        batch.at_work += 1
        return item

    def _close_if_done(self, batch: Batch[Item]) -> None:
        if not batch.at_work and not batch.singles and not batch.lots:
            if batch in self._batches:
                self._batches.remove(batch)
            batch.finished.set()

    def _fitting(self, lot: PendingJobs[Item]) -> int:
        """Jobs that take `shard_seconds`, as far as is known."""
        pace = self._pace.get(lot.pace_key)
        jobs = FIRST if pace is None else int(self._seconds / max(pace, 1e-9))
        return max(1, min(jobs, self._size))

    def _cut(self, lot: PendingJobs[Item]) -> int:
        left = sum(other.left for batch in self._batches for other in batch.lots)
        share = math.ceil(left / max(1, self._workers()))
        return max(1, min(self._fitting(lot), share))
