"""A crew of long-lived actors that work off a list of orders; what a dead actor held is put back.

Ray's own retries either lose orders or repeat a poisonous one for ever (`../shared/ray-notes.md`), so actors
restart but calls are not retried by Ray: the driver puts lost orders back itself, at most `TRIES` times,
and sets an order aside that raises. Orders must be safe to do twice.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

import ray
from ray.exceptions import (
    ActorUnschedulableError,
    RayActorError,
    RayTaskError,
    RuntimeEnvSetupError,
)

Order = TypeVar("Order")

LOST = (RayActorError, RuntimeEnvSetupError, ActorUnschedulableError)
"""What Ray raises when a worker, and not the order, is the trouble."""
RESTARTS = 30
"""Times that a worker may be lost before it is given up."""
TRIES = 3
"""Times an order is begun before it is given up."""
IN_FLIGHT = 2
"""Orders a worker holds: one at work, one waiting, so that it never idles between two."""


class CrewError(RuntimeError):
    """No worker could be started, or none is left."""


@dataclass(frozen=True)
class Failure(Generic[Order]):
    """An order that was given up."""

    order: Order
    reason: str


class Crew(Generic[Order]):
    """Workers with the methods `ready()` and `run(order)`."""

    def __init__(self, make_worker: Callable[[], Any], count: int) -> None:
        """Start `count` workers; those that the cluster has no room for yet join when it has."""
        self._workers = [make_worker() for _ in range(count)]
        self._restarts = dict.fromkeys(self._workers, 0)

    def run(
        self, orders: Sequence[Order], on_done: Callable[[Order, Any], None]
    ) -> list[Failure[Order]]:
        """Work off all orders.

        Args:
            orders: what is to be done, in the order of preference.
            on_done: called in this process with each order and its result, as they come.

        Returns:
            the orders that were given up.

        Raises:
            CrewError: no worker is left; the last cause is chained.
        """
        waiting: deque[tuple[Order, int]] = deque((order, 0) for order in orders)
        failures: list[Failure[Order]] = []
        # A worker gets orders once it has answered `ready`, so that none waits at one that is not there.
        flight: dict[Any, tuple[Any, tuple[Order, int] | None]] = {
            worker.ready.remote(): (worker, None) for worker in self._workers
        }
        ready: set[Any] = set()
        cause: Exception | None = None
        while waiting or any(held is not None for _, held in flight.values()):
            if not flight:
                raise CrewError(f"no attack worker is left; the last one said: {cause}") from cause
            done, _ = ray.wait(list(flight), num_returns=1)
            worker, held = flight[done[0]]
            try:
                result = ray.get(done[0])
            except LOST as error:
                cause = error
                ready.discard(worker)
                self._bury(worker, flight, waiting, failures, on_done)
            except RayTaskError as error:
                ready.add(worker)
                del flight[done[0]]
                if held is not None:
                    failures.append(Failure(held[0], _reason(error)))
            else:
                ready.add(worker)
                del flight[done[0]]
                if held is not None:
                    on_done(held[0], result)
            # All of them: what a dead worker held may be waiting while another has nothing left to do.
            for free in ready:
                self._top_up(free, waiting, flight)
        return failures

    def dismiss(self) -> None:
        """End the workers, so that their CPUs and GPUs are free."""
        for worker in self._workers:
            ray.kill(worker)
        self._workers = []

    def _bury(
        self,
        worker: Any,
        flight: dict[Any, Any],
        waiting: deque[tuple[Order, int]],
        failures: list[Failure[Order]],
        on_done: Callable[[Order, Any], None],
    ) -> None:
        """Settle what a lost worker held: the order at work loses a try, those behind it lose nothing."""
        lost = []
        # `flight` keeps the order of submission, which is the order in which a worker works.
        for ref in [ref for ref, (other, _) in flight.items() if other is worker]:
            _, held = flight.pop(ref)
            if held is None:
                continue
            try:
                on_done(held[0], ray.get(ref))
            except LOST as error:
                lost.append((held, error))
            except RayTaskError as error:
                failures.append(Failure(held[0], _reason(error)))
        for place, ((order, tries), fault) in reversed(list(enumerate(lost))):
            begun = tries + (place == 0)
            if begun < TRIES:
                waiting.appendleft((order, begun))
            else:
                failures.append(Failure(order, f"its worker died {TRIES} times: {fault}"))
        self._await_restart(worker, flight)

    def _await_restart(self, worker: Any, flight: dict[Any, Any]) -> None:
        """Ask a lost worker whether it is back, unless it was lost too often."""
        self._restarts[worker] += 1
        if self._restarts[worker] <= RESTARTS:
            flight[worker.ready.remote()] = (worker, None)

    @staticmethod
    def _top_up(worker: Any, waiting: deque[tuple[Order, int]], flight: dict[Any, Any]) -> None:
        mine = sum(1 for other, _ in flight.values() if other is worker)
        while waiting and mine < IN_FLIGHT:
            item = waiting.popleft()
            flight[worker.run.remote(item[0])] = (worker, item)
            mine += 1


def _reason(error: RayTaskError) -> str:
    cause = getattr(error, "cause", None)
    return f"{type(cause).__name__}: {cause}" if cause is not None else str(error)
