"""How the training workers of one machine find each other, where nobody else can: by a file, not by a port.

Ray Train's own way, which workers on several machines need, opens a store that listens on all interfaces and takes
whatever it is told. Imports Ray Train, which costs seconds.
"""

import os
import socket
import uuid
from contextlib import suppress
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any, Literal

import ray
from ray.exceptions import GetTimeoutError
from ray.train import BackendConfig
from ray.train.backend import Backend
from ray.train.torch import get_device
from torch import cuda, distributed

from inversionlab.distributed.own_ray import private_folder

TIMEOUT = timedelta(minutes=30)
"""How long a worker waits for the others; as Ray Train's own."""
SHUTDOWN = 30.0
"""Seconds that the workers have to leave the group."""
LOOPBACK = ("lo", "lo0")
"""What Linux and macOS call the interface that nothing outside the machine reaches."""


def is_one_machine() -> bool:
    """Whether the Ray that this process is connected to listens on 127.0.0.1 alone: no other machine can join."""
    nodes = [node["NodeManagerAddress"] for node in ray.nodes() if node["Alive"]]
    return set(nodes) == {"127.0.0.1"}


class OwnProcessGroup(BackendConfig):
    """PyTorch's process group of workers that are all on this machine."""

    def __init__(self, backend: Literal["gloo", "nccl"]) -> None:
        self.backend = backend

    @property
    def backend_cls(self) -> type[Backend]:
        """What sets the group up."""
        return _OwnBackend


class _OwnBackend(Backend):
    """Called by Ray Train's controller."""

    # NCCL copies from one GPU to another only if both are visible.
    share_cuda_visible_devices = True

    def __init__(self) -> None:
        self._file: Path | None = None

    def on_start(self, worker_group: Any, backend_config: Any) -> None:
        """Let the workers meet, also those that replace a group of which one died."""
        # What another group has left in the file would be taken for this one's.
        self._file = private_folder() / f"process_group-{uuid.uuid4().hex}"
        place = Meeting(str(self._file), backend_config.backend, len(worker_group))
        ray.get([worker_group.execute_single_async(i, join, place, i) for i in range(place.size)])

    def on_shutdown(self, worker_group: Any, backend_config: BackendConfig) -> None:
        """Let the workers leave, as far as they still answer."""
        try:
            with suppress(GetTimeoutError):
                ray.get(worker_group.execute_async(leave), timeout=SHUTDOWN)
        finally:
            if self._file is not None:
                self._file.unlink(missing_ok=True)


@dataclass(frozen=True)
class Meeting:
    """Where workers meet: a file, PyTorch's backend, and how many they are."""

    file: str
    backend: str
    size: int


def join(meeting: Meeting, rank: int) -> None:
    """Join the group, and wait until all have."""
    names = {name for _, name in socket.if_nameindex()}
    for loopback in (name for name in LOOPBACK if name in names):
        # Both listen on whatever interface they find first.
        os.environ.setdefault("GLOO_SOCKET_IFNAME", loopback)
        os.environ.setdefault("NCCL_SOCKET_IFNAME", f"={loopback}")
    if meeting.backend == "nccl":
        cuda.set_device(get_device())
    store = distributed.FileStore(meeting.file, meeting.size)  # type: ignore[attr-defined]
    distributed.init_process_group(
        meeting.backend, store=store, rank=rank, world_size=meeting.size, timeout=TIMEOUT
    )


def leave() -> None:
    """Leave the group, if it stands."""
    if distributed.is_initialized():
        distributed.destroy_process_group()
