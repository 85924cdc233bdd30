"""Names of processes by which another process on the same machine can tell that one has ended."""

import os
from contextlib import suppress
from pathlib import Path


def this_process() -> str:
    """The name of this process, unlike that of any other on any machine; empty where there is no /proc."""
    try:
        return f"{_machine()} {os.getpid()} {_begin(os.getpid())}"
    except OSError:
        return ""


def has_ended(name: str) -> bool:
    """Whether a process of this machine has ended; false of any other machine's, or where nobody can tell."""
    with suppress(OSError, ValueError):
        machine, number, begin = name.rsplit(maxsplit=2)
        return machine == _machine() and _begin(int(number)) != begin
    return False


def _machine() -> str:
    """One start of one machine; containers on it have numbers of processes of their own."""
    boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    return f"{boot} {os.readlink('/proc/self/ns/pid')}"


def _begin(number: int) -> str:
    """When a process began, in ticks since the machine did; empty if it has ended. Numbers are given out again."""
    try:
        stat = Path(f"/proc/{number}/stat").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return ""
    # The name, in brackets, may hold blanks; the third field comes after it.
    state, *fields = stat.rpartition(")")[2].split()
    return "" if state in "ZX" else fields[18]
