"""Progress with an estimate, in lines that read well in a terminal and in a job's log."""

import time
from collections.abc import Callable
from dataclasses import dataclass, field

Say = Callable[[str], None]


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

    It says a line at most once in `every` seconds, and one at the end, each with what `note` returns.
    """

    def __init__(
        self,
        total: int,
        say: Say,
        every: float = 10.0,
        note: Callable[[], str] = lambda: "",
    ) -> None:
        self._total, self._say, self._every, self._note = total, say, every, note
        self._done = 0
        self._began = self._last = time.monotonic()

    def __call__(self, count: int, seconds: float) -> None:
        """Note `count` more reconstructions, which took `seconds`."""
        self._done += count
        now = time.monotonic()
        if not count or (now - self._last < self._every and self._done < self._total):
            return
        self._last = now
        left = (now - self._began) / self._done * (self._total - self._done)
        note = self._note()
        more = f"; {note}" if note else ""
        self._say(f"      {self._done}/{self._total} reconstructions, {clock(left)} left{more}")


def clock(seconds: float) -> str:
    """Seconds as minutes and seconds: `2:05`."""
    return f"{int(seconds) // 60}:{int(seconds) % 60:02d}"
