"""What hands out orders to a crew, and hears of them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Generic, Protocol, TypeVar

Item = TypeVar("Item")
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

    def done(self, item: Any, result: Any) -> None:
        """An order's result is there."""
        ...

    def failed(self, item: Any, reason: str) -> None:
        """An order was given up."""
        ...


@dataclass(frozen=True)
class Failure(Generic[Item]):
    """An order that was given up."""

    item: Item
    reason: str
