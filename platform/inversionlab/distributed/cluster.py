"""The Ray cluster: the connection to it, which work takes GPUs, its resources, and samples of its size."""

import logging
import os
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import ray
from ray.exceptions import RayError

from inversionlab.core.settings import ConfigError
from inversionlab.distributed.room import unplaced
from inversionlab.experiment import RuntimeSettings

PACKAGE = Path(__file__).resolve().parents[1]

HEAD = "node:__internal_head__"
"""A resource that only the head node has: a small share of it places an actor there without holding a CPU."""
TRAIN_ENVIRONMENT = {
    # One report a poll: with Ray's default of 2 s a short training waits more than it learns.
    "RAY_TRAIN_HEALTH_CHECK_INTERVAL_S": "0.2",
    "RAY_TRAIN_ENABLE_STATE_TRACKING": "1",
    # Its patched print() shows every line of progress twice.
    "RAY_TRAIN_ENABLE_PRINT_PATCH": "0",
    # Nobody outside learns of an audit.
    "RAY_USAGE_STATS_ENABLED": "0",
}

EVERY = 1.0
"""Seconds between the cluster's samples at first."""
MOST = 1000
"""Samples kept; beyond that, every second one is dropped, and samples are taken half as often."""


def connect(*, quiet: bool = False, **more: Any) -> bool:
    """Connect to the cluster of RAY_ADDRESS or of this machine, else start a local Ray; returns whether it did.

    Inside `ray job submit` the job's own cluster is used. Workers get the package by `py_modules`, so the nodes
    need only the dependencies installed. Ray's token authentication is left alone: `ray.init` turns it on for a
    cluster that it starts. `quiet` hides what the workers of a Ray that is started here print.
    `more` holds further arguments of `ray.init`.
    """
    if ray.is_initialized():
        return False
    os.environ.update({k: os.environ.get(k, v) for k, v in TRAIN_ENVIRONMENT.items()})
    # The driver's folder is on the path for a user's own networks.
    path = os.pathsep.join(p for p in (os.getcwd(), os.environ.get("PYTHONPATH")) if p)
    environment = {
        "PYTHONPATH": path,
        # Waiting threads that spin slow a shared machine many times over.
        "OMP_WAIT_POLICY": "PASSIVE",
        **TRAIN_ENVIRONMENT,
        **{k: v for k, v in os.environ.items() if k.startswith("INVERSIONLAB_")},
    }
    options: dict[str, Any] = {
        "runtime_env": {"py_modules": [str(PACKAGE)], "env_vars": environment},
        "logging_level": logging.WARNING,
        **({"log_to_driver": False} if quiet else {}),
        **more,
    }
    # What a Ray that is started here writes, such as workers' files and ~/.ray/auth_token, is its owner's alone.
    before = os.umask(0o077)
    try:
        context = ray.init(**options)
    except ConnectionError:
        if os.environ.get("RAY_ADDRESS"):
            raise
        # A cluster that crashed leaves its address behind.
        context = ray.init(**{**options, "address": "local"})
    finally:
        os.umask(before)
    # A session's folder is named by the process that started it. Ray Client has none.
    folder = str(getattr(context, "address_info", {}).get("session_dir", ""))
    return folder.endswith(f"_{os.getpid()}")


def alive_nodes() -> list[dict[str, float]]:
    """The resources of every living node, whether free or not."""
    return [node["Resources"] for node in ray.nodes() if node["Alive"]]


def refuse_hopeless(runtime: RuntimeSettings, *, training: bool) -> None:
    """Refuse settings that a Ray of one machine, which has no other nodes to come, can never meet.

    Raises:
        ConfigError: an attack worker, or those of a training if there is one, do not fit on it.
    """
    if runtime.grows:
        return
    if reasons := unplaced(runtime, alive_nodes(), training=training):
        raise ConfigError(
            "\n".join(reasons)
            + "\nThis Ray was started here, and no node will join it: lower the setting, or "
            "run on a cluster that has it (RAY_ADDRESS)"
        )


@dataclass(frozen=True)
class Gpus:
    """Which work takes GPUs."""

    train: bool
    attack: bool


def use_gpus(runtime: RuntimeSettings) -> Gpus:
    """Which work takes GPUs on this cluster, by the settings and by what it has.

    Raises:
        ConfigError: a setting is `always`, and the cluster has none and does not grow.
    """
    there = ray.cluster_resources().get("GPU", 0) > 0
    for key in ("train_gpu", "attack_gpu"):
        if getattr(runtime, key) == "always" and not (there or runtime.grows):
            raise ConfigError(
                f"runtime.{key} = always: the cluster has no GPU; use `auto`, add a node, or set "
                "runtime.grows = true if the cluster starts nodes by itself"
            )
    wanted = {"always": True, "never": False, "auto": there}
    return Gpus(wanted[runtime.train_gpu], wanted[runtime.attack_gpu])


def machine() -> str:
    """The cluster's resources in words, for the record of a run or a search."""
    has = ray.cluster_resources()
    return ", ".join(f"{has[kind]:g} {kind}" for kind in ("CPU", "GPU") if kind in has)


class ClusterSampler:
    """Keeps samples of how the cluster and the work in it change over time, for the report."""

    def __init__(self) -> None:
        self._began = time.monotonic()
        self.every = EVERY
        """Seconds until the next sample is wanted."""
        self.samples: list[dict[str, float]] = []

    def sample(self, work: Mapping[str, float]) -> None:
        """Take a sample of the cluster's nodes, and keep it with the figures of `work` and the seconds so far."""
        try:
            nodes = alive_nodes()
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
