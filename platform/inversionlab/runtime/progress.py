"""Progress of the attacks with an estimate, in lines: they read well in a terminal and in a job's log."""

from __future__ import annotations

import time
from collections.abc import Callable


class ShardProgress:
    """Counts reconstructions and says now and then how many are done and how long the rest will take."""

    def __init__(self, total: int, say: Callable[[str], None], every: float = 10.0) -> None:
        """Count up to `total`; speak at most once in `every` seconds, and at the end."""
        self._total, self._say, self._every = total, say, every
        self._done = 0
        self._began = self._spoke = time.monotonic()

    def advance(self, count: int) -> None:
        """Note `count` more reconstructions."""
        self._done += count
        now = time.monotonic()
        if now - self._spoke < self._every and self._done < self._total:
            return
        self._spoke = now
        left = (now - self._began) / self._done * (self._total - self._done)
        self._say(
            f"      {self._done}/{self._total} reconstructions, "
            f"{int(left) // 60}:{int(left) % 60:02d} left"
        )
