"""What hands out orders to a crew, and hears of them."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any, Generic, Protocol, TypeVar

Order = TypeVar("Order")
Given = TypeVar("Given", covariant=True)


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
