"""Whether a data set's pictures fit into this machine's memory, which is known before any is drawn or read."""

import os
from contextlib import suppress
from pathlib import Path

from inversionlab.core.settings import ConfigError
from inversionlab.data.base import DataSettings


def require_memory(settings: DataSettings, count: int, what: str) -> None:
    """Check that `count` pictures of these settings fit; `what` says which settings make it so many.

    Raises:
        ConfigError: the pictures alone take more than the memory at hand.
    """
    side = settings.image_size
    size = count * settings.channels * side**2
    room = memory_at_hand()
    if room is not None and size > room:
        raise ConfigError(
            f"data ({settings.name}): {what} are {count:,} pictures of {settings.channels} x {side} x {side}, "
            f"{size / 1e9:,.1f} GB, but only {room / 1e9:,.1f} GB of memory are free here; take fewer of them, or "
            "a smaller image_size"
        )


def memory_at_hand() -> int | None:
    """Bytes that this process may still take, by the machine and its container; None where nobody says."""
    rooms = []
    with suppress(OSError, ValueError, IndexError):
        lines = Path("/proc/meminfo").read_text().splitlines()
        rooms += [int(s.split()[1]) * 1024 for s in lines if s.startswith("MemAvailable:")]
    with suppress(OSError, ValueError):
        rooms.append(int(Path("/sys/fs/cgroup/memory.max").read_text()))
    if not rooms:
        with suppress(OSError, ValueError, AttributeError):
            rooms.append(os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE"))
    return min(rooms, default=None)
