"""Continuous batching: many rows wait, a fixed number is in flight, and when one leaves the next one enters.

All iterative attacks run on this loop. Rows converge after very different numbers of steps, and a pass of two rows
costs a row about twice as much as a pass of thirty. So the batch is kept full until no row waits any more. A row
has its own step number, and whatever it does depends on its own number and step alone: its result is the same in
any company. What is in flight bounds the memory, not how many rows wait.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass, field, fields, replace
from typing import Self, TypeVar

import torch
from torch import Tensor

SIZES = {"cpu": (8, 16, 32, 64), "cuda": (64, 128, 256, 512, 1024)}
"""Pictures in flight that are tried, from the fewest on."""
TRIALS = 4
"""Steps at a size before it is judged by the fastest of them."""
GAIN = 0.03
"""A larger size must save this share of the time a picture; otherwise the smaller one is kept."""


@dataclass
class InFlight:
    """The rows in flight: tensors with an entry for each. Every kind of search adds its own fields."""

    row_L: Tensor
    """The number of each row among all rows of the attack."""
    step_L: Tensor
    """The steps that each has made."""

    def __len__(self) -> int:
        return len(self.row_L)

    def take(self, index: Tensor) -> Self:
        """Some of the rows, by their places or a mask."""
        return replace(self, **{f.name: getattr(self, f.name)[index] for f in fields(self)})

    def join(self, other: Self) -> Self:
        """These rows, then the others."""
        pairs = {f.name: [getattr(part, f.name) for part in (self, other)] for f in fields(self)}
        return replace(self, **{name: torch.cat(parts) for name, parts in pairs.items()})


StateT = TypeVar("StateT", bound=InFlight)


@dataclass
class Width:
    """How many pictures are in flight: a given number, or the one that measures best, while the work goes on."""

    sizes: tuple[int, ...]
    """What may be chosen, from the fewest on; a single size is not measured."""
    _at: int = 0
    """The index of the size in use."""
    _fastest: list[float] = field(default_factory=list)
    """Seconds a picture at the sizes that were tried."""
    _seen: list[float] = field(default_factory=list)
    """Seconds a picture of the full steps at the size in use."""

    @property
    def pictures(self) -> int:
        """The size in use."""
        return self.sizes[self._at]

    @property
    def measured(self) -> bool:
        """Whether the size is settled."""
        return len(self.sizes) == 1 or len(self._fastest) > self._at

    def saw(self, pictures: int, seconds: float) -> None:
        """Note what a step took; steps of a batch that is not full say nothing."""
        if self.measured or pictures < self.pictures:
            return
        self._seen.append(seconds / pictures)
        if len(self._seen) < TRIALS:
            return
        self._fastest.append(min(self._seen))
        self._seen.clear()
        slower = self._at and self._fastest[-1] > (1 - GAIN) * self._fastest[-2]
        if slower:
            self._at -= 1
        elif self._at + 1 < len(self.sizes):
            self._at += 1


class Widths:
    """The widths of an attack's searches, by name: passes with gradients and passes without differ."""

    def __init__(self, fixed: int | None = None) -> None:
        """Choose every width by measuring, or use `fixed` everywhere."""
        self.fixed = fixed
        self._chosen: dict[str, Width] = {}

    def of(self, search: str, device: torch.device) -> Width:
        """The width of one kind of search; later calls go on measuring where earlier ones stopped."""
        if search not in self._chosen:
            sizes = (self.fixed,) if self.fixed else SIZES.get(device.type, SIZES["cuda"])
            self._chosen[search] = Width(sizes)
        return self._chosen[search]


def keep_full(
    rows_N: Tensor,
    width: Width,
    *,
    enter: Callable[[Tensor], StateT],
    judge: Callable[[StateT], tuple[StateT, Tensor]],
    move: Callable[[StateT], StateT],
    leave: Callable[[StateT], None],
    pictures: int = 1,
) -> None:
    """Work off the rows `rows_N`, as many at a time as `width` says, in their order.

    Args:
        rows_N: numbers of the rows, on the device.
        width: how many pictures are in flight.
        enter: makes the state of rows that enter, given their numbers.
        judge: looks at all rows in flight; returns their state, and which of them are done, (L,) bool.
        move: makes a step of the rows that are not done.
        leave: takes the state of rows that are done.
        pictures: what a row sends through the networks at a step.
    """
    flying: StateT | None = None
    clock = time.thread_time if rows_N.device.type == "cpu" else time.perf_counter
    while len(rows_N) or flying is not None:
        room = max(1, width.pictures // pictures) - (len(flying) if flying is not None else 0)
        if len(rows_N) and room > 0:
            entering, rows_N = enter(rows_N[:room]), rows_N[room:]
            flying = entering if flying is None else flying.join(entering)
        assert flying is not None, "a row has entered, or one was in flight"
        began = clock()
        count = len(flying)
        flying, done_L = judge(flying)
        if bool(done_L.any()):
            leave(flying.take(done_L))
            flying = flying.take(~done_L)
        flying = move(flying) if len(flying) else None
        width.saw(count * pictures, clock() - began)


def by_step(step_L: Tensor, make: Callable[[int], Tensor]) -> Tensor:
    """What belongs to each row's step, (L, ...): `make` is called once for each step among them."""
    steps = step_L.tolist()
    made = {step: make(step) for step in dict.fromkeys(steps)}
    return torch.stack([made[step] for step in steps]).to(step_L.device)


def pass_size(device: torch.device) -> int:
    """Pictures a pass without gradients: few enough for a CPU's cache, or enough to fill a GPU."""
    return 128 if device.type == "cpu" else 1024
