"""The Ray cluster: the connection to it, which work takes GPUs, its resources, and samples of its size."""

import logging
import os
import re
import socket
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import ray
from ray.exceptions import AuthenticationError, RayError
from ray.job_config import JobConfig

from inversionlab.core.environment import RAY_SECONDS
from inversionlab.core.settings import ConfigError
from inversionlab.distributed import own_address, own_ray, worker_lines
from inversionlab.distributed.errors import ClusterError
from inversionlab.distributed.own_handler import handler_kept
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

AUTHENTICATION = "ray._private.authentication.authentication_token_setup"
"""The logger of Ray's advice on tokens."""
LONGEST_SILENCE = 180
"""Seconds for which a Ray of this machine may not answer before the command ends."""
EVERY = 1.0
"""Seconds between the cluster's samples at first."""
MOST = 1000
"""Samples kept; beyond that, every second one is dropped, and samples are taken half as often."""


def connect(
    say: Callable[[str], None] = print, *, job: Mapping[str, str] | None = None, **more: Any
) -> bool:
    """Connect to the cluster of RAY_ADDRESS, or start a Ray for this user alone; returns whether it started one.

    Only an address that is named is connected to: a file in a folder of all users may name anybody's cluster.
    `ray job submit` sets RAY_ADDRESS. Workers get the package by `py_modules`, so the nodes need only the
    dependencies installed. Ray's token authentication is left alone: `ray.init` turns it on for a cluster that it
    starts. `say` gets the lines that workers print; what Ray itself writes stays in its files. `job` is the
    metadata of this driver's job. `more` holds further arguments of `ray.init`.

    Raises:
        ConfigError: RAY_ADDRESS is no address, or the token is wrong.
        ClusterError: Ray does not start, or the cluster does not answer, in INVERSIONLAB_RAY_SECONDS (60).
    """
    if ray.is_initialized():
        if worker_lines.carried():
            worker_lines.carry(say)
        return False
    address = named_address()
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
        "address": address or "local",
        "runtime_env": {
            "py_modules": [str(PACKAGE)],
            "env_vars": environment,
            "worker_process_setup_hook": f"{own_address.__name__}.take",
        },
        "logging_level": logging.WARNING,
        **({"job_config": JobConfig(metadata=dict(job))} if job else {}),
        **more,
    }
    with handler_kept():
        if address is not None:
            _tried(
                partial(_join, address, options), f"RAY_ADDRESS{_shown(address)}: does not answer"
            )
            worker_lines.carry(say)
            return False
        os.environ.update(own_ray.settings())
        # It advises how to turn the tokens off.
        logging.getLogger(AUTHENTICATION).setLevel(logging.ERROR)
        # Ray's own are 30 and 60. By the second, a starved machine ends a command that has worked for hours.
        os.environ.setdefault(
            "RAY_gcs_server_port_wait_time_s", f"{max(30, int(RAY_SECONDS.read()))}"
        )
        silence = max(LONGEST_SILENCE, int(RAY_SECONDS.read()))
        os.environ.setdefault("RAY_gcs_rpc_server_reconnect_timeout_s", f"{silence}")
        # What this Ray writes, such as workers' files and ~/.ray/auth_token, is its owner's alone.
        before = os.umask(0o077)
        try:
            with own_ray.loopback():
                _tried(partial(ray.init, **options), "Ray does not start")
        finally:
            os.umask(before)
        own_ray.close_token()
        worker_lines.carry(say)
    return True


def named_address() -> str | None:
    """The address of RAY_ADDRESS; None stands for a Ray that is to be started.

    Raises:
        ConfigError: it names no cluster.
    """
    address = os.environ.get("RAY_ADDRESS") or "local"
    if address == "auto":
        raise ConfigError(
            "RAY_ADDRESS = auto: would follow whatever address is in a folder that all users share; name it as "
            "HOST:PORT, as `ray start` prints it"
        )
    return None if address == "local" else address


def _shown(address: str) -> str:
    """` = ` and the address; nothing if it may hold a password, which no address of Ray's has."""
    return "" if re.search(r"[@?#;]", address) else f" = {address}"


def _join(address: str, options: Mapping[str, Any]) -> None:
    """Connect to a cluster, if something listens there: Ray would look for minutes.

    Raises:
        ValueError: this is no address.
        Exception: it cannot be reached.
    """
    scheme, mark, _ = address.partition("://")
    if mark and scheme != "ray":
        raise ValueError(
            "is not a cluster's address, but perhaps its dashboard's; must be HOST:PORT"
        )
    if not mark:
        host, _, port = address.rpartition(":")
        if not (host and re.fullmatch(r"[0-9]{1,5}", port)):
            raise ValueError("must be HOST:PORT")
        socket.create_connection((host.strip("[]"), int(port)), timeout=5).close()
    # How often Ray asks, about half a minute each time; by itself 20 times.
    os.environ.setdefault("RAY_gcs_server_port_wait_time_s", "1")
    ray.init(**options)


def _tried(init: Callable[[], Any], what: str) -> None:
    """Call `ray.init`, and again if it fails, until it has been tried twice and the time is over.

    Raises:
        ConfigError, ClusterError: as `connect`; the text begins with `what`.
    """
    over, tries = time.monotonic() + (seconds := RAY_SECONDS.read()), 0
    while True:
        tries += 1
        try:
            init()
            return
        except (ValueError, AuthenticationError) as error:
            raise ConfigError(f"{what}: {_first_line(error)}") from error
        except Exception as error:
            # What has been started is ended.
            ray.shutdown()
            if tries > 1 and time.monotonic() >= over:
                raise ClusterError(
                    f"{what}: {_first_line(error)} ({tries} tries; on a slow machine raise "
                    f"INVERSIONLAB_RAY_SECONDS, now {seconds:g})"
                ) from error
            if tries == 1:
                print(f"{what} ({_first_line(error)}); trying again", flush=True)
            time.sleep(1.0)


def _first_line(error: Exception) -> str:
    return str(error).strip().partition("\n")[0] or type(error).__name__


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
