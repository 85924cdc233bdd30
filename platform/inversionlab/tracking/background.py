"""A tracker in a thread of its own, so that a service that is slow or down costs the work nothing."""

import queue
import threading
from collections.abc import Callable, Mapping

from inversionlab.tracking.tracker import Tracker

MOST = 10_000
"""Calls that wait at most; what comes while so many wait is left out."""
PATIENCE = 15.0
"""Seconds that a service has, once the work is done, to take what still waits."""

Call = Callable[[Tracker], None]


class Background:
    """Passes calls to a tracker, which is opened in the thread too, until one fails."""

    def __init__(self, open_tracker: Callable[[], Tracker], failed: Callable[[str], None]) -> None:
        """`failed` is called once with why, from the thread or from `close`, and no call passes after that."""
        self._open, self._failed = open_tracker, failed
        self._calls: queue.Queue[Call | None] = queue.Queue(MOST)
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._work, daemon=True, name="tracker")
        self._thread.start()

    def log(self, step: int, values: Mapping[str, float]) -> None:
        """Pass on the values of a step."""
        kept = dict(values)
        self._put(lambda tracker: tracker.log(step, kept))

    def picture(self, step: int, name: str, png: bytes) -> None:
        """Pass on a picture."""
        self._put(lambda tracker: tracker.picture(step, name, png))

    def close(self, *, failed: bool = False) -> None:
        """End the tracker, and wait for it a while."""
        self._put(lambda tracker: tracker.close(failed=failed))
        self._put(None)
        self._thread.join(PATIENCE)
        if self._thread.is_alive() and not self._over.is_set():
            self._over.set()
            self._failed("does not answer")

    def _put(self, call: Call | None) -> None:
        if not self._over.is_set():
            try:
                self._calls.put_nowait(call)
            except queue.Full:
                if call is None:
                    self._over.set()

    def _work(self) -> None:
        try:
            tracker = self._open()
            while (call := self._calls.get()) is not None and not self._over.is_set():
                call(tracker)
        # Whatever a service or its library raises, SystemExit included.
        except BaseException as error:
            if not self._over.is_set():
                self._over.set()
                lines = str(error).strip().splitlines()
                self._failed(f"{type(error).__name__}: {lines[0]}" if lines else repr(error))
