"""How the cluster and the work in it change over time, for the report."""

from __future__ import annotations

import time
from collections.abc import Mapping

import ray
from ray.exceptions import RayError

EVERY = 1.0
"""Seconds between samples at first."""
MOST = 1000
"""Samples kept; beyond that, every second one is dropped, and samples are taken half as often."""


class ClusterSampler:
    """Keeps samples of the cluster's size and of the work, with the seconds since it was made."""

    def __init__(self) -> None:
        self._began = time.monotonic()
        self.every = EVERY
        """Seconds until the next sample is wanted."""
        self.samples: list[dict[str, float]] = []

    def sample(self, work: Mapping[str, float]) -> None:
        """Take a sample of the cluster's nodes, and keep the figures of `work` with it."""
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
                **work,
            }
        )
        if len(self.samples) > MOST:
            self.samples = self.samples[::2]
            self.every *= 2
