"""Small disks for tests that fill one; mounting them needs root."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest


@contextmanager
def small_disk(disk: Path) -> Iterator[Path]:
    """A disk of 8 MB at a folder that is made; the test is skipped where the user may not mount one."""
    disk.mkdir()
    try:
        resize(disk, "8m", "mount", "-t", "tmpfs")
    except (OSError, subprocess.CalledProcessError):
        pytest.skip("mounting needs root")
    try:
        yield disk
    finally:
        subprocess.run(["umount", "-l", str(disk)], check=True)


def resize(disk: Path, size: str, *words: str) -> None:
    """Give the disk another size."""
    command = [*(words or ("mount",)), "-o", f"{'' if words else 'remount,'}size={size}"]
    subprocess.run([*command, "tmpfs", str(disk)], check=True, capture_output=True)


def room(disk: Path, kilobytes: int) -> None:
    """Leave this much room on the disk."""
    used = shutil.disk_usage(disk).used // 1024
    resize(disk, f"{used + kilobytes}k")
