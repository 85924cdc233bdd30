"""A crew of long-lived actors that work off what a source hands out; it grows and shrinks with the work.

Nothing waits at a worker: whoever is idle takes the next order, so a slow worker delays nobody, and orders are
cut only when somebody is there to do them, so memory does not grow with the work. Ray's own retries either
lose orders or repeat a poisonous one for ever, so neither actors nor calls are retried by Ray: what a dead
worker held is handed out again, at most `TRIES` times, and an order that raises is set aside. An order that
takes far longer than others, with nothing else to do, is given to an idle worker as well: its node may hang.
Orders must be safe to do twice, and twice at once.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Generic

import ray
from ray.exceptions import RayError, RayTaskError

from inversionlab.distributed.orders import Item, Source

TRIES = 3
"""Times an order is begun before it is given up."""
DEATHS = 10
"""Looks at the crew in a row that may find a worker dead, and no order done, before it gives up."""
POLL = 0.2
"""Seconds between looks at the source and at the number of workers."""
IDLE_SECONDS = 10.0
"""Time after which a worker with nothing to do is let go, so that its node can leave."""
SLOW_FACTOR, SLOW_SECONDS = 4.0, 60.0
"""An order is slow beyond this multiple of the mean order, and at least this time."""


class ActorPoolError(RuntimeError):
    """Workers die as fast as they are started."""


@dataclass(eq=False)
class _Attempt(Generic[Item]):
    """An order on its way."""

    item: Item
    tries: int = 0
    """Times that a worker died with it."""
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
    """Workers with the methods `ready()` and `run(item)`."""

    def __init__(self, make_worker: Callable[[], Any], limit: Callable[[], int]) -> None:
        """Found a crew; nobody is hired yet.

        Args:
            make_worker: starts an actor that Ray neither restarts nor retries.
            limit: how many workers there may be; asked again and again.
        """
        self._make_worker, self._limit = make_worker, limit
        self._workers: list[_Worker] = []
        self._flight: dict[Any, _Worker] = {}
        self._again: deque[_Attempt[Item]] = deque()
        self._deaths, self._cause = 0, ""
        """Deaths since an order was done; those between two looks count once, as when a node is lost."""
        self._died = 0
        self._hire_at = self._fitted_at = 0.0
        self.most = 0
        """Workers that there may be, by the last look."""
        self._finished, self._spent = 0, 0.0
        self._stop = False

    @property
    def ready(self) -> int:
        """Workers that are there."""
        return sum(w.ready for w in self._workers)

    @property
    def busy(self) -> int:
        """Workers that have an order whose result is still wanted."""
        return sum(w.attempt is not None and not w.attempt.settled for w in self._workers)

    def run(self, source: Source[Item]) -> None:
        """Work off the source until it is closed and everything is settled.

        Raises:
            CrewError: workers die as fast as they are started; the last cause is named.
        """
        self._stop = False
        while not self._stop and (source.open() or self._again or self.busy):
            self._fit_size(source)
            self._hand_out(source)
            if self._flight:
                done, _ = ray.wait(list(self._flight), num_returns=1, timeout=POLL)
                for ref in done:
                    self._collect(ref, source)
            elif source.open() or self._again:
                time.sleep(POLL)

    def stop(self) -> None:
        """Let `run` return after its present round, whatever is left; from another thread."""
        self._stop = True

    def dismiss(self) -> None:
        """End the workers, so that their CPUs and GPUs are free."""
        for worker in list(self._workers):
            self._let_go(worker)

    def _fit_size(self, source: Source[Item]) -> None:
        """Hire for what waits, within the limit; let go of who has idled long or is over the limit."""
        now = time.monotonic()
        if now - self._fitted_at < POLL:
            return
        self._fitted_at = now
        self.most = limit = self._limit()
        self._deaths, self._died = self._deaths + self._died, 0
        # One more where somebody hangs: there may be nobody else left to do what it holds.
        hung = int(self._slowest() is not None)
        wanted = min(limit, self.busy + hung + len(self._again) + source.waiting())
        if self._deaths > DEATHS:
            raise ActorPoolError(
                f"{self._deaths} attack workers died one after another; the last one: {self._cause}"
            )
        while len(self._workers) < wanted and now >= self._hire_at:
            self._hire()
        spare = [w for w in self._workers if w.attempt is None]
        # Those that are not there yet go first: nothing is lost with them.
        for worker in sorted(spare, key=lambda w: (w.ready, -w.idle_since)):
            over = len(self._workers) - wanted
            tired = now - worker.idle_since > IDLE_SECONDS
            if len(self._workers) > limit or (over > 0 and (tired or not worker.ready)):
                self._let_go(worker)

    def _hire(self) -> None:
        worker = _Worker(self._make_worker())
        self._workers.append(worker)
        # A worker gets orders once it has answered, so that none waits at one that is not there.
        self._flight[worker.actor.ready.remote()] = worker

    def _let_go(self, worker: _Worker) -> None:
        self._forget(worker)
        ray.kill(worker.actor)

    def _forget(self, worker: _Worker) -> None:
        self._workers.remove(worker)
        self._flight = {ref: other for ref, other in self._flight.items() if other is not worker}

    def _hand_out(self, source: Source[Item]) -> None:
        room = self.most - self.busy
        for worker in self._workers:
            if room <= 0:
                return
            if not worker.ready or worker.attempt is not None:
                continue
            attempt = self._next(source)
            if attempt is None:
                return
            attempt.holders += 1
            attempt.since = time.monotonic()
            worker.attempt = attempt
            room -= 1
            self._flight[worker.actor.run.remote(attempt.item)] = worker

    def _next(self, source: Source[Item]) -> _Attempt[Item] | None:
        if self._again:
            return self._again.popleft()
        item = source.take()
        return _Attempt(item) if item is not None else self._slowest()

    def _slowest(self) -> _Attempt[Item] | None:
        """The order that has been at work for far too long, to be done by a second worker as well."""
        if not self._finished:
            return None
        bound = max(SLOW_SECONDS, SLOW_FACTOR * self._spent / self._finished)
        held = [
            w.attempt for w in self._workers if w.attempt is not None and w.attempt.holders == 1
        ]
        slow = [t for t in held if time.monotonic() - t.since > bound]
        return min(slow, key=lambda t: t.since, default=None)

    def _collect(self, ref: Any, source: Source[Item]) -> None:
        worker = self._flight.pop(ref)
        attempt, worker.attempt = worker.attempt, None
        worker.idle_since = time.monotonic()
        try:
            result = ray.get(ref)
        except RayTaskError as error:
            # A worker whose very `ready` raises is of no use.
            if attempt is None:
                self._bury(worker, None, error, source)
            elif self._settle(attempt):
                source.failed(attempt.item, _reason(error))
            return
        except RayError as error:
            # The worker, and not the order, is the trouble: dead, out of memory, its node lost.
            self._bury(worker, attempt, error, source)
            return
        worker.ready = True
        if attempt is not None:
            self._deaths = 0
            self._finished += 1
            self._spent += time.monotonic() - attempt.since
            if self._settle(attempt):
                source.done(attempt.item, result)

    def _settle(self, attempt: _Attempt[Item]) -> bool:
        """Note that a holder has come to an end; whether it is the first one. The other is let go."""
        first, attempt.settled = not attempt.settled, True
        for slow in [w for w in self._workers if w.attempt is attempt]:
            self._let_go(slow)
        return first

    def _doubt_idle(self) -> None:
        """Ask those who idle whether they are still there: they may have gone with the same node."""
        for worker in self._workers:
            if worker.ready and worker.attempt is None:
                worker.ready = False
                self._flight[worker.actor.ready.remote()] = worker

    def _bury(
        self,
        worker: _Worker,
        attempt: _Attempt[Item] | None,
        error: Exception,
        source: Source[Item],
    ) -> None:
        """Forget a lost worker; what it held is handed out again, or given up."""
        self._forget(worker)
        # One that cannot even open the experiment will hardly do better the next time.
        self._died = max(self._died, 4 if getattr(error, "actor_init_failed", False) else 1)
        self._cause = str(error)
        # Workers that die at once must not be started in a hot loop.
        deaths = self._deaths + self._died
        pause = min(5.0, 0.25 * deaths**2) if deaths > 2 else 0.0
        self._hire_at = time.monotonic() + pause
        self._doubt_idle()
        if attempt is None or attempt.settled:
            return
        attempt.holders -= 1
        attempt.tries += 1
        if attempt.tries >= TRIES:
            attempt.settled = True
            source.failed(attempt.item, f"its worker died {TRIES} times: {error}")
        elif attempt.holders == 0:
            self._again.appendleft(attempt)


def _reason(error: RayTaskError) -> str:
    cause = getattr(error, "cause", None)
    return f"{type(cause).__name__}: {cause}" if cause is not None else str(error)
