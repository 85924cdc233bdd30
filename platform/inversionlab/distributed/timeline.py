"""How the cluster and the work in it change over time, sampled for the report."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

import ray
from ray.exceptions import RayError

EVERY = 1.0
"""Seconds between samples at first."""
MOST = 1000
"""Samples kept; when there are more, every second one goes, and they come half as often."""


class Timeline:
    """Samples in a thread of its own."""

    def __init__(self, more: Callable[[], dict[str, float]]) -> None:
        """Sample the cluster's nodes and what `more` returns."""
        self._more = more
        self._began, self._every = time.monotonic(), EVERY
        self._over = threading.Event()
        self._thread: threading.Thread | None = None
        self.samples: list[dict[str, float]] = []

    def start(self) -> None:
        """Begin to sample."""
        self._thread = threading.Thread(target=self._run, daemon=True, name="timeline")
        self._thread.start()

    def stop(self) -> None:
        """Take a last sample and end."""
        self._over.set()
        if self._thread is not None:
            self._thread.join()
            self._thread = None

    def _run(self) -> None:
        while not self._over.wait(self._every if self.samples else 0):
            self._sample()
        self._sample()

    def _sample(self) -> None:
        try:
            nodes = [node["Resources"] for node in ray.nodes() if node["Alive"]]
        except RayError:
            # The cluster may not answer for a moment; the next sample is near.
            return
        self.samples.append(
            {
                "seconds": round(time.monotonic() - self._began, 1),
                "nodes": len(nodes),
                "cpus": sum(node.get("CPU", 0.0) for node in nodes),
                "gpus": sum(node.get("GPU", 0.0) for node in nodes),
                **self._more(),
            }
        )
        if len(self.samples) > MOST:
            self.samples = self.samples[::2]
            self._every *= 2
