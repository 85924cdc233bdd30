"""A pool of long-lived actors that work off the items of a source; it grows and shrinks with the work.

Idle workers pull the next item; no work is queued on a worker. So a slow worker delays no other, and memory does
not grow with the work, because an item is made only when a worker is free for it.

Ray's own retries either lose items or repeat a poisonous one for ever, so Ray retries neither actors nor calls.
The pool puts back the item of a dead worker until it was tried `TRIES` times, and gives up an item that raises.
An item that takes far longer than the others is also given to an idle worker, because its node may hang.
Items must therefore be safe to run twice, and twice at once.
"""

import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Generic, Protocol, TypeVar

import ray
from ray.exceptions import RayError, RayTaskError

from inversionlab.distributed.errors import ActorPoolError

TRIES = 3
"""Workers that may die with an item before the pool gives it up."""
DEATHS = 10
"""Calls of `resize` in a row that may find workers dead, with no item done, before the pool gives up."""
POLL = 0.2
"""Seconds that the pool works between two changes of its size."""
IDLE_SECONDS = 10.0
"""Time after which a worker with nothing to do is ended, so its node can leave."""
SLOW_FACTOR, SLOW_SECONDS = 4.0, 60.0
"""An item is slow beyond this multiple of the mean item's time, and at least this time."""

Item = TypeVar("Item")
Given = TypeVar("Given", covariant=True)


@dataclass(frozen=True)
class Failure(Generic[Item]):
    """An item that was given up."""

    item: Item
    reason: str


class Source(Protocol[Given]):
    """Hands out items and takes their results; only the pool's thread calls it."""

    def take(self) -> Given | None:
        """The next item; None if there is none now."""

    def open(self) -> bool:
        """Whether items may still come."""

    def done(self, item: Any, result: Any) -> None:
        """Take an item's result."""

    def failed(self, item: Any, reason: str) -> None:
        """Note that an item was given up."""


@dataclass(eq=False)
class _Attempt(Generic[Item]):
    """An item that at least one worker has begun."""

    item: Item
    deaths: int = 0
    """Workers that died with it."""
    holders: int = 0
    """Workers that have it now."""
    since: float = 0.0
    settled: bool = False


@dataclass(eq=False)
class _Worker:
    """An actor, and what it is busy with."""

    actor: Any
    ready: bool = False
    attempt: _Attempt[Any] | None = None
    idle_since: float = field(default_factory=time.monotonic)


class ActorPool(Generic[Item]):
    """Actors with the methods `ready()` and `run(item)`. One thread calls `resize` and `work` in turn.

    `start_actor` starts an actor that Ray neither restarts nor retries. `title_of` names the task of an item.
    """

    def __init__(
        self, start_actor: Callable[[], Any], title_of: Callable[[Item], str] | None = None
    ) -> None:
        self._start_actor, self._title_of = start_actor, title_of
        self._limit = 0
        self._workers: list[_Worker] = []
        self._flight: dict[Any, _Worker] = {}
        self._put_back: deque[_Attempt[Item]] = deque()
        self._deaths, self._cause = 0, ""
        """Deaths since an item was done; those between two resizes count once, as when a node is lost."""
        self._new_deaths = 0
        self._start_at = 0.0
        """No worker is started before this time."""
        self._done, self._spent = 0, 0.0
        self._stopped = False

    @property
    def ready(self) -> int:
        """Workers that have started."""
        return sum(w.ready for w in self._workers)

    @property
    def busy(self) -> int:
        """Workers that have an item whose result is still wanted."""
        return sum(w.attempt is not None and not w.attempt.settled for w in self._workers)

    def resize(self, limit: int, waiting: int) -> None:
        """Start workers for the items that wait; end those that have idled long or are over the limit.

        Args:
            limit: the most workers that there may be.
            waiting: about how many items the source could hand out now.

        Raises:
            ActorPoolError: workers die as fast as they are started; the message names the last cause.
        """
        now = time.monotonic()
        self._limit = limit
        self._deaths, self._new_deaths = self._deaths + self._new_deaths, 0
        if self._deaths > DEATHS:
            raise ActorPoolError(
                f"{self._deaths} attack workers died one after another; the last one: {self._cause}"
            )
        # One more where a worker hangs: no other may be left to do its item.
        hung = int(self._slowest() is not None)
        wanted = min(limit, self.busy + hung + len(self._put_back) + waiting)
        while len(self._workers) < wanted and now >= self._start_at:
            worker = _Worker(self._start_actor())
            self._workers.append(worker)
            # A worker gets items once it has answered, so no item waits for a worker that never starts.
            self._flight[worker.actor.ready.remote()] = worker
        idle = [w for w in self._workers if w.attempt is None]
        # Workers that have not started yet go first: nothing is lost with them.
        for worker in sorted(idle, key=lambda w: (w.ready, -w.idle_since)):
            over = len(self._workers) > wanted
            tired = now - worker.idle_since > IDLE_SECONDS
            if len(self._workers) > limit or (over and (tired or not worker.ready)):
                self._end(worker)

    def work(self, source: Source[Item], seconds: float = POLL) -> bool:
        """Hand out items of `source` and collect results for some seconds, or fewer if nothing is left to do.

        Returns:
            Whether to continue: false once the source is closed and every item settled, or after `stop`.
        """
        deadline = time.monotonic() + seconds
        while not self._stopped and (source.open() or self._put_back or self.busy):
            left = deadline - time.monotonic()
            if left <= 0:
                return True
            self._hand_out(source)
            if self._flight:
                done, _ = ray.wait(list(self._flight), num_returns=1, timeout=left)
                for ref in done:
                    self._collect(ref, source)
            else:
                time.sleep(left)
        return False

    def stop(self) -> None:
        """Let `work` return after its current round, whatever is left; any thread may call this."""
        self._stopped = True

    def dismiss(self) -> None:
        """End the workers, so that their CPUs and GPUs are free."""
        for worker in list(self._workers):
            self._end(worker)

    def _hand_out(self, source: Source[Item]) -> None:
        """Give each idle worker an item: one that was put back, a new one, or one that is slow elsewhere."""
        room = self._limit - self.busy
        for worker in self._workers:
            if room <= 0:
                return
            if not worker.ready or worker.attempt is not None:
                continue
            attempt: _Attempt[Item] | None
            if self._put_back:
                attempt = self._put_back.popleft()
            else:
                item = source.take()
                attempt = _Attempt(item) if item is not None else self._slowest()
            if attempt is None:
                return
            attempt.holders += 1
            attempt.since = time.monotonic()
            worker.attempt = attempt
            room -= 1
            run = worker.actor.run
            if self._title_of is not None:
                run = run.options(name=self._title_of(attempt.item))
            self._flight[run.remote(attempt.item)] = worker

    def _slowest(self) -> _Attempt[Item] | None:
        """The item that one worker has held for far too long; a second worker should do it as well."""
        if not self._done:
            return None
        since = time.monotonic() - max(SLOW_SECONDS, SLOW_FACTOR * self._spent / self._done)
        held = [w.attempt for w in self._workers if w.attempt is not None]
        slow = [attempt for attempt in held if attempt.holders == 1 and attempt.since < since]
        return min(slow, key=lambda attempt: attempt.since, default=None)

    def _collect(self, ref: Any, source: Source[Item]) -> None:
        """Take what a worker returned or raised, or note that it died."""
        worker = self._flight.pop(ref)
        attempt, result, reason = worker.attempt, None, ""
        try:
            result = ray.get(ref)
        except RayTaskError as error:
            # A worker whose `ready` raises is of no use.
            if attempt is None:
                self._lose(worker, error, source)
                return
            cause = getattr(error, "cause", None)
            reason = f"{type(cause).__name__}: {cause}" if cause is not None else str(error)
        except RayError as error:
            # The trouble is the worker, not the item: it is dead or out of memory, or its node is lost.
            self._lose(worker, error, source)
            return
        worker.ready, worker.attempt, worker.idle_since = True, None, time.monotonic()
        if attempt is None:
            return
        first, attempt.settled = not attempt.settled, True
        # The other worker that has the item may hang, so the pool ends it and does not wait.
        for slow in [w for w in self._workers if w.attempt is attempt]:
            self._end(slow)
        if not reason:
            self._deaths = 0
            self._done += 1
            self._spent += time.monotonic() - attempt.since
        if first and reason:
            source.failed(attempt.item, reason)
        elif first:
            source.done(attempt.item, result)

    def _lose(self, worker: _Worker, error: Exception, source: Source[Item]) -> None:
        """Forget a dead worker; put back what it held, or give it up."""
        self._forget(worker)
        # An actor whose constructor fails will hardly succeed the next time.
        died = 4 if getattr(error, "actor_init_failed", False) else 1
        self._new_deaths, self._cause = max(self._new_deaths, died), str(error)
        # Workers that die at once must not be started in a hot loop.
        deaths = self._deaths + self._new_deaths
        self._start_at = time.monotonic() + (min(5.0, 0.25 * deaths**2) if deaths > 2 else 0.0)
        # Idle workers may be lost with the same node: ask whether they still answer.
        for idle in self._workers:
            if idle.ready and idle.attempt is None:
                idle.ready = False
                self._flight[idle.actor.ready.remote()] = idle
        attempt = worker.attempt
        if attempt is None or attempt.settled:
            return
        attempt.holders -= 1
        attempt.deaths += 1
        if attempt.deaths >= TRIES:
            attempt.settled = True
            source.failed(attempt.item, f"its worker died {TRIES} times: {error}")
        elif attempt.holders == 0:
            self._put_back.appendleft(attempt)

    def _end(self, worker: _Worker) -> None:
        self._forget(worker)
        ray.kill(worker.actor)

    def _forget(self, worker: _Worker) -> None:
        self._workers.remove(worker)
        self._flight = {ref: other for ref, other in self._flight.items() if other is not worker}
