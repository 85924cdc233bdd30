"""The queue between the callers that need attacks and the pool that runs them.

This file alone decides how work is cut. A shard is cut when a worker is free for it. By the measured pace it takes
`shard_seconds`, and it is no larger than an equal share of what is left. So the queue holds no list of shards,
however many targets there are, and no single worker delays the end of the work.

Networks are slow on few pictures: seen on a CPU, a picture costs five times as much alone as among eight. Cut by
the pace alone, the shards of a slow attack would shrink, which slows it down, which shrinks them further. So up to
TOGETHER reconstructions stay together, as long as their shard takes no more than LONGER times `shard_seconds`.
"""

import math
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import islice
from typing import Generic

from inversionlab.distributed.actor_pool import Failure, Item
from inversionlab.distributed.errors import ActorPoolError
from inversionlab.pipeline.paces import Kind, Paces
from inversionlab.store.tables import Job

FIRST = 8
"""Reconstructions in a shard of an attack whose pace is not known yet."""
TOGETHER, LONGER = 8, 5
"""Reconstructions that stay together, and for how many times `shard_seconds` at most."""
MEASURING = 20.0
"""Seconds of an item without jobs, as long as none has ended, on the scale of `Kind.expected`."""
FIRST_OF_ALL, LAST_OF_ALL = Kind("first"), Kind("last")
"""The kinds of items without jobs: measurements that others read, and those that nothing reads."""


@dataclass
class PendingJobs(Generic[Item]):
    """Jobs of one cell, to be cut into shards."""

    jobs: Iterator[Job]
    left: int
    """How many jobs the iterator still gives."""
    kind: Kind
    """Jobs of the same kind are expected to run at the same pace."""
    make_item: Callable[[tuple[Job, ...]], Item]
    """Makes the work item of a shard."""
    asks: bool = True
    """Whether its items ask the model under attack."""


@dataclass(frozen=True)
class _AtWork(Generic[Item]):
    """An item that a worker has taken."""

    request: "WorkRequest[Item]"
    kind: Kind
    jobs: int
    """Its number of jobs, 0 for a measurement."""
    began: float


@dataclass(eq=False)
class WorkRequest(Generic[Item]):
    """Work that a caller waits for: measurements first, then reconstructions, then what no other item reads."""

    measurements: list[Item]
    pending: list[PendingJobs[Item]]
    on_done: Callable[[int, float], None]
    """Called with (reconstructions, seconds) as items get done, from the pool's thread."""
    last: list[Item] = field(default_factory=list)
    """Measurements that read the first ones."""
    failures: list[Failure[Item]] = field(default_factory=list)
    error: Exception | None = None
    """Why the pool gave up."""
    at_work: int = 0
    """Items that were taken and have not ended yet."""
    finished: threading.Event = field(default_factory=threading.Event)

    def wait(self) -> list[Failure[Item]]:
        """Wait until all is done; returns the items that were given up.

        Raises:
            ActorPoolError: the pool gave up.
        """
        # With a timeout, so that Ctrl-C is heard.
        while not self.finished.wait(0.5):
            pass
        if self.error is not None:
            raise self.error
        return self.failures


class ShardQueue(Generic[Item]):
    """The actor pool's source; serves requests in the order in which they come; thread-safe.

    A shard holds about `shard_seconds` of work, and at most `shard_size` jobs. Where the reason of a failure
    begins with one of `lasting`, whatever else asks the model would fail in the same way, and is not begun.
    """

    def __init__(
        self,
        *,
        shard_seconds: float,
        shard_size: int,
        workers: int = 1,
        lasting: tuple[str, ...] = (),
    ) -> None:
        self._seconds, self._size, self._lasting = shard_seconds, shard_size, lasting
        self.workers = workers
        """Among how many workers the work is shared; set it when the pool is resized."""
        self._lock = threading.Lock()
        self._requests: list[WorkRequest[Item]] = []
        self._at_work: dict[Item, _AtWork[Item]] = {}
        self._paces = Paces()
        self._last_pace: float | None = None
        """Seconds of the newest item of `LAST_OF_ALL`."""
        self._begun: set[Kind] = set()
        """Kinds of which a shard was taken."""
        self._open = True
        self._error: Exception | None = None
        self.done_jobs = 0
        self.spent_seconds = 0.0

    def put(
        self,
        measurements: Sequence[Item],
        pending: Sequence[PendingJobs[Item]],
        on_done: Callable[[int, float], None] = lambda jobs, seconds: None,
        last: Sequence[Item] = (),
    ) -> WorkRequest[Item]:
        """Queue some work; the returned request is finished at once if the pool has given up."""
        todo = [p for p in pending if p.left]
        request = WorkRequest(list(measurements), todo, on_done, list(last))
        with self._lock:
            if self._open:
                self._requests.append(request)
                self._close_if_done(request)
            else:
                request.error = self._error or ActorPoolError("the actor pool has been dismissed")
                request.finished.set()
        return request

    def close(self) -> None:
        """Take no more requests."""
        with self._lock:
            self._open = False

    def give_up(self, error: Exception) -> None:
        """End every request with an error, later ones too."""
        with self._lock:
            for request in self._requests:
                request.error = error
                request.finished.set()
            self._requests, self._open, self._error = [], False, error

    def take(self) -> Item | None:
        """The next item: a measurement, or a shard that is cut now; None if there is none now."""
        with self._lock:
            for request in list(self._requests):
                if request.measurements:
                    return self._begin(request, request.measurements.pop(0), FIRST_OF_ALL, 0)
                # Shards read what is measured, so they wait until every measurement is done.
                if any(
                    each.request is request and each.kind is FIRST_OF_ALL
                    for each in self._at_work.values()
                ):
                    continue
                while request.pending:
                    pending = self._next(request)
                    jobs = tuple(islice(pending.jobs, self._shard_size(pending)))
                    pending.left -= len(jobs)
                    if pending.left <= 0 or not jobs:
                        request.pending.remove(pending)
                    if jobs:
                        return self._begin(
                            request, pending.make_item(jobs), pending.kind, len(jobs)
                        )
                if request.last:
                    return self._begin(request, request.last.pop(0), LAST_OF_ALL, 0)
                self._close_if_done(request)
            return None

    def waiting(self) -> int:
        """About how many items could be taken now."""
        with self._lock:
            return sum(
                len(request.measurements)
                + len(request.last)
                + sum(math.ceil(p.left / self._jobs_in_time(p)) for p in request.pending)
                for request in self._requests
            )

    def open(self) -> bool:
        """Whether items may still come."""
        with self._lock:
            return self._open or bool(self._requests)

    def seconds_left(self) -> float | None:
        """When all that is queued will be done, as far as measured paces tell; None while nothing is measured."""
        with self._lock:
            slower = self._paces.slower()
            if slower is None:
                return None
            last = slower * MEASURING if self._last_pace is None else self._last_pace

            def whole(kind: Kind, jobs: int) -> float:
                return jobs * (self._paces.expect(kind) or 0.0) if jobs else last

            left = last * sum(len(request.last) for request in self._requests)
            left += sum(whole(p.kind, p.left) for r in self._requests for p in r.pending)
            now, longest = time.monotonic(), 0.0
            for each in self._at_work.values():
                rest = max(0.0, whole(each.kind, each.jobs) - (now - each.began))
                left, longest = left + rest, max(longest, rest)
            return max(longest, left / max(1, self.workers))

    def done(self, item: Item, result: float) -> None:
        """Note that an item's rows are stored; `result` is its seconds."""
        with self._lock:
            each = self._at_work.pop(item)
            request, jobs = each.request, each.jobs
            if jobs:
                self._paces.note(each.kind, result / jobs)
            elif each.kind is LAST_OF_ALL:
                self._last_pace = result
            self.done_jobs += jobs
            self.spent_seconds += result
            request.at_work -= 1
        request.on_done(jobs, result)
        with self._lock:
            self._close_if_done(request)

    def failed(self, item: Item, reason: str) -> None:
        """Keep the failure for the caller that waits for the request."""
        with self._lock:
            each = self._at_work.pop(item)
            request = each.request
            request.failures.append(Failure(item, reason))
            request.at_work -= 1
            if self._lasting and reason.startswith(self._lasting):
                request.pending[:] = [p for p in request.pending if not p.asks]
            elif each.kind is FIRST_OF_ALL:
                # What reads this measurement would all fail too.
                request.measurements.clear()
                request.pending.clear()
                request.last.clear()
            self._close_if_done(request)

    def _begin(self, request: WorkRequest[Item], item: Item, kind: Kind, jobs: int) -> Item:
        self._at_work[item] = _AtWork(request, kind, jobs, time.monotonic())
        self._begun.add(kind)
        request.at_work += 1
        return item

    def _next(self, request: WorkRequest[Item]) -> PendingJobs[Item]:
        """What to cut: an attack that was not begun yet, or else such a kind, so that paces are known early."""
        known = [p for p in request.pending if p.kind.attack]
        attacks = {kind.attack for kind in self._begun}
        new = [p for p in known if p.kind.attack not in attacks]
        new = new or [p for p in known if p.kind not in self._begun]
        return (new or request.pending)[0]

    def _close_if_done(self, request: WorkRequest[Item]) -> None:
        if not (request.at_work or request.measurements or request.pending or request.last):
            if request in self._requests:
                self._requests.remove(request)
            request.finished.set()

    def _shard_size(self, pending: PendingJobs[Item]) -> int:
        """Jobs in the next shard: `shard_seconds` of work, or an equal share of all that is left if less."""
        left = sum(p.left for request in self._requests for p in request.pending)
        share = math.ceil(left / max(1, self.workers))
        return max(1, min(self._jobs_in_time(pending), share))

    def _jobs_in_time(self, pending: PendingJobs[Item]) -> int:
        """Jobs that take `shard_seconds`, as far as is known, or as many as run well together."""
        pace = self._paces.known(pending.kind.key)
        jobs = FIRST
        if pace is not None:
            in_time = self._seconds / max(pace, 1e-9)
            jobs = max(int(in_time), min(TOGETHER, int(LONGER * in_time)))
        return max(1, min(jobs, self._size))
