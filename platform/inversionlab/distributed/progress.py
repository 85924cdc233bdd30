"""Progress with an estimate, in lines that read well in a terminal and in a job's log."""

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field

from inversionlab.core.clock import clock

Say = Callable[[str], None]


def say_now(line: str) -> None:
    """Print a line at once. The command gets what its workers print (`worker_lines.py`)."""
    print(line, flush=True)


@dataclass
class Log:
    """Where a run's lines go, and the seconds that its stages took."""

    say: Say
    timings: dict[str, float] = field(default_factory=dict)

    def timed(self, stage: str, began: float) -> None:
        """Note a stage's seconds; `began` is a monotonic time."""
        self.timings[stage] = round(time.monotonic() - began, 2)


class ShardProgress:
    """Counts reconstructions up to `total`, and says how many are done and how long the rest will take.

    It says a line at most once in `every` seconds, and one at the end, each with what `note` returns. `left`
    returns the seconds that the rest will take, or None while nobody knows.
    """

    def __init__(
        self,
        total: int,
        say: Say,
        left: Callable[[], float | None],
        every: float = 10.0,
        note: Callable[[], str] = lambda: "",
    ) -> None:
        self._total, self._say, self._left, self._every, self._note = total, say, left, every, note
        self._done, self._last = 0, time.monotonic()

    def __call__(self, count: int, seconds: float) -> None:
        """Note `count` more reconstructions, which took `seconds`."""
        self._done += count
        now = time.monotonic()
        if not count or (now - self._last < self._every and self._done < self._total):
            return
        self._last = now
        left = self._left()
        estimate = "" if left is None else f", {clock(left)} left"
        note = self._note()
        more = f"; {note}" if note else ""
        self._say(f"      {self._done}/{self._total} reconstructions{estimate}{more}")


@contextmanager
def with_status(say: Say, status: Callable[[], str], every: float = 10.0) -> Iterator[Say]:
    """`say` for the lines of the block, and a status whenever nothing was said for `every` seconds.

    A status that is empty, or the same as before, is not said.
    """
    last, before, over = time.monotonic(), "", threading.Event()

    def told(line: str) -> None:
        nonlocal last
        last = time.monotonic()
        say(line)

    def watch() -> None:
        nonlocal last, before
        while not over.wait(max(0.05, last + every - time.monotonic())):
            if time.monotonic() < last + every:
                continue
            line = ""
            # Whom it asks may be gone or start anew, and the next look will do.
            with suppress(Exception):
                line = status()
            last = time.monotonic()
            if line not in ("", before) and not over.is_set():
                before = line
                say(f"      {line}")

    watcher = threading.Thread(target=watch, daemon=True, name="status")
    watcher.start()
    try:
        yield told
    finally:
        over.set()
        watcher.join(timeout=1)
