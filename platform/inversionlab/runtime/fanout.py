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
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any, Generic, Protocol, TypeVar

import ray
from ray.exceptions import (
    ActorUnschedulableError,
    RayActorError,
    RayTaskError,
    RuntimeEnvSetupError,
)

Order = TypeVar("Order")
Given = TypeVar("Given", covariant=True)

LOST = (RayActorError, RuntimeEnvSetupError, ActorUnschedulableError)
"""What Ray raises when a worker, and not the order, is the trouble."""
TRIES = 3
"""Times an order is begun before it is given up."""
DEATHS = 10
"""Workers that may die one after another, beside one for each that is wanted, before the crew gives up."""
POLL = 0.2
"""Seconds between looks at the source and at the number of workers."""
IDLE_SECONDS = 10.0
"""Time after which a worker with nothing to do is let go, so that its node can leave."""
SLOW_FACTOR, SLOW_SECONDS = 4.0, 60.0
"""An order is slow beyond this multiple of the mean order, and at least this time."""


class CrewError(RuntimeError):
    """Workers die as fast as they are started."""


class Source(Protocol[Given]):
    """What hands out orders and hears of them; called from the crew's thread only."""

    def take(self) -> Given | None:
        """The next order; None: there is none now."""
        ...

    def waiting(self) -> int:
        """About how many orders could be taken now."""
        ...

    def open(self) -> bool:
        """Whether orders may still come."""
        ...

    def done(self, order: Any, result: Any) -> None:
        """An order's result is there."""
        ...

    def failed(self, order: Any, reason: str) -> None:
        """An order was given up."""
        ...


@dataclass(frozen=True)
class Failure(Generic[Order]):
    """An order that was given up."""

    order: Order
    reason: str


class Listed(Generic[Order]):
    """A source that hands out what an iterable gives, one by one."""

    def __init__(
        self,
        orders: Iterable[Order],
        on_done: Callable[[Order, Any], None],
        expected: int = 1_000_000,
    ) -> None:
        """Hand out `orders`; `expected` is how many there are, so that not too many workers are hired."""
        self._orders = iter(orders)
        self._left, self._exhausted = expected, False
        self._on_done = on_done
        self.failures: list[Failure[Order]] = []

    def take(self) -> Order | None:
        """The next order of the iterable."""
        order = next(self._orders, None)
        self._exhausted = order is None
        self._left -= 1
        return order

    def waiting(self) -> int:
        """What is left of the expected number."""
        return 0 if self._exhausted else max(1, self._left)

    def open(self) -> bool:
        """Until the iterable has ended."""
        return not self._exhausted

    def done(self, order: Order, result: Any) -> None:
        """Pass the result on."""
        self._on_done(order, result)

    def failed(self, order: Order, reason: str) -> None:
        """Keep the failure."""
        self.failures.append(Failure(order, reason))


@dataclass(eq=False)
class _Ticket(Generic[Order]):
    """An order on its way."""

    order: Order
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
    ticket: _Ticket[Any] | None = None
    idle_since: float = field(default_factory=time.monotonic)


class Crew(Generic[Order]):
    """Workers with the methods `ready()` and `run(order)`."""

    def __init__(self, make_worker: Callable[[], Any], limit: Callable[[], int]) -> None:
        """Found a crew; nobody is hired yet.

        Args:
            make_worker: starts an actor that Ray neither restarts nor retries.
            limit: how many workers there may be; asked again and again.
        """
        self._make_worker, self._limit = make_worker, limit
        self._workers: list[_Worker] = []
        self._flight: dict[Any, _Worker] = {}
        self._again: deque[_Ticket[Order]] = deque()
        self._deaths, self._cause = 0, ""
        self._hire_at = self._fitted_at = 0.0
        self._most = 0
        self._finished, self._spent = 0, 0.0
        self._stop = False

    @property
    def ready(self) -> int:
        """Workers that are there."""
        return sum(w.ready for w in self._workers)

    @property
    def busy(self) -> int:
        """Workers that have an order whose result is still wanted."""
        return sum(w.ticket is not None and not w.ticket.settled for w in self._workers)

    def run(self, source: Source[Order]) -> None:
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

    def _fit_size(self, source: Source[Order]) -> None:
        """Hire for what waits, within the limit; let go of who has idled long or is over the limit."""
        now = time.monotonic()
        if now - self._fitted_at < POLL:
            return
        self._fitted_at = now
        self._most = limit = self._limit()
        wanted = min(limit, self.busy + len(self._again) + source.waiting())
        if self._deaths > DEATHS + wanted:
            raise CrewError(
                f"{self._deaths} attack workers died one after another; the last one: {self._cause}"
            )
        while len(self._workers) < wanted and now >= self._hire_at:
            self._hire()
        spare = [w for w in self._workers if w.ticket is None]
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

    def _hand_out(self, source: Source[Order]) -> None:
        for worker in self._workers:
            if self.busy >= self._most:
                return
            if not worker.ready or worker.ticket is not None:
                continue
            ticket = self._next(source)
            if ticket is None:
                return
            ticket.holders += 1
            ticket.since = time.monotonic()
            worker.ticket = ticket
            self._flight[worker.actor.run.remote(ticket.order)] = worker

    def _next(self, source: Source[Order]) -> _Ticket[Order] | None:
        if self._again:
            return self._again.popleft()
        order = source.take()
        return _Ticket(order) if order is not None else self._slowest()

    def _slowest(self) -> _Ticket[Order] | None:
        """The order that has been at work for far too long, to be done by a second worker as well."""
        if not self._finished:
            return None
        bound = max(SLOW_SECONDS, SLOW_FACTOR * self._spent / self._finished)
        held = [w.ticket for w in self._workers if w.ticket is not None and w.ticket.holders == 1]
        slow = [t for t in held if time.monotonic() - t.since > bound]
        return min(slow, key=lambda t: t.since, default=None)

    def _collect(self, ref: Any, source: Source[Order]) -> None:
        worker = self._flight.pop(ref)
        ticket, worker.ticket = worker.ticket, None
        worker.idle_since = time.monotonic()
        try:
            result = ray.get(ref)
        except LOST as error:
            self._bury(worker, ticket, error, source)
            return
        except RayTaskError as error:
            # A worker whose very `ready` raises is of no use.
            if ticket is None:
                self._bury(worker, None, error, source)
            elif self._settle(ticket):
                source.failed(ticket.order, _reason(error))
            return
        worker.ready = True
        if ticket is not None:
            self._deaths = 0
            self._finished += 1
            self._spent += time.monotonic() - ticket.since
            if self._settle(ticket):
                source.done(ticket.order, result)

    def _settle(self, ticket: _Ticket[Order]) -> bool:
        """Note that a holder has come to an end; whether it is the first one. The other is let go."""
        first, ticket.settled = not ticket.settled, True
        for slow in [w for w in self._workers if w.ticket is ticket]:
            self._let_go(slow)
        return first

    def _bury(
        self,
        worker: _Worker,
        ticket: _Ticket[Order] | None,
        error: Exception,
        source: Source[Order],
    ) -> None:
        """Forget a lost worker; what it held is handed out again, or given up."""
        self._forget(worker)
        # One that cannot even open the experiment will hardly do better the next time.
        self._deaths += 4 if getattr(error, "actor_init_failed", False) else 1
        self._cause = str(error)
        # Workers that die at once must not be started in a hot loop.
        pause = min(5.0, 0.25 * self._deaths**2) if self._deaths > 2 else 0.0
        self._hire_at = time.monotonic() + pause
        if ticket is None or ticket.settled:
            return
        ticket.holders -= 1
        ticket.tries += 1
        if ticket.tries >= TRIES:
            ticket.settled = True
            source.failed(ticket.order, f"its worker died {TRIES} times: {error}")
        elif ticket.holders == 0:
            self._again.appendleft(ticket)


def _reason(error: RayTaskError) -> str:
    cause = getattr(error, "cause", None)
    return f"{type(cause).__name__}: {cause}" if cause is not None else str(error)
