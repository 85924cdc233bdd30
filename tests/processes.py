"""Finding and ending processes for tests that start real clusters (Linux: it reads /proc)."""

from __future__ import annotations

import contextlib
import os
import random
import signal
import socket
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

Value = TypeVar("Value")
HANG = 300.0
"""Seconds that only a hang takes: the limit where a test waits for something that must happen."""


def patience(seconds: float) -> float:
    """A limit that is a promise to users, on a machine as busy as this one."""
    return seconds * max(1.0, os.getloadavg()[0] / (os.cpu_count() or 1))


def wait_until(condition: Callable[[], Value], seconds: float, what: str) -> Value:
    """The first true value of `condition`, which is checked five times a second.

    Raises:
        AssertionError: it was not true within `seconds`; the message names `what`.
    """
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if value := condition():
            return value
        time.sleep(0.2)
    raise AssertionError(f"after {seconds:g} s still not: {what}")


def catches(process: int, what: int) -> bool:
    """Whether a process has a handler for a signal."""
    status = Path(f"/proc/{process}/status").read_text().partition("SigCgt:")[2]
    return bool(int(status.split()[0], 16) >> (what - 1) & 1)


def free_ports(count: int) -> list[int]:
    """Ports that no process listens on, below the range that the kernel assigns by itself."""
    found: set[int] = set()
    while len(found) < count:
        port = random.randint(20000, 32000)
        with socket.socket() as probe, contextlib.suppress(OSError):
            probe.bind(("", port))
            found.add(port)
    return sorted(found)


@dataclass(frozen=True)
class Process:
    """A living process. `session`, the process id of the session's leader, stays the same when the parent dies."""

    pid: int
    parent: int
    session: int
    command: tuple[str, ...]
    environment: tuple[str, ...]


def processes() -> list[Process]:
    """All living processes that this user may inspect; zombies do not count as living."""
    found = []
    for folder in Path("/proc").iterdir():
        if not folder.name.isdigit():
            continue
        with contextlib.suppress(OSError):
            # The name, in brackets, may hold blanks; the fields that matter come after it.
            state, parent, _, session, *_ = (
                (folder / "stat").read_text().rpartition(")")[2].split(maxsplit=4)
            )
            command, environment = (
                tuple((folder / name).read_bytes().decode(errors="replace").split("\0"))
                for name in ("cmdline", "environ")
            )
            if state != "Z":
                pid = int(folder.name)
                found.append(Process(pid, int(parent), int(session), command, environment))
    return found


def family(roots: Iterable[int], among: list[Process]) -> set[int]:
    """The processes `roots` and all their descendants."""
    members, size = set(roots), -1
    while size != len(members):
        size = len(members)
        members |= {process.pid for process in among if process.parent in members}
    return members


def kill(pids: Iterable[int]) -> None:
    """Send SIGKILL; processes that are gone already are ignored."""
    for pid in pids:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
