"""What a record says of the software and the machine."""

import os
import subprocess
import sys
from contextlib import suppress
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch

from inversionlab import __version__

PACKAGE = Path(__file__).resolve().parents[1]


def provenance(machine: str | None) -> dict[str, Any]:
    """Versions, commit and machine, for a record; None: this machine, without a cluster."""
    return {
        "version": __version__,
        "git": commit(),
        "python": sys.version.split()[0],
        "torch": torch.__version__,
        "ray": version("ray"),
        "machine": f"{os.cpu_count()} CPU" if machine is None else machine,
    }


def commit() -> str:
    """The commit of a checkout, with `+changes` where the tree differs from it; "" where there is none."""
    # Elsewhere, as in site-packages, git could find a repository that is not ours.
    if (PACKAGE.parents[1] / ".git").exists():
        ask = ["git", "-C", str(PACKAGE), "describe", "--always", "--abbrev=12", "--dirty=+changes"]
        with suppress(OSError, subprocess.CalledProcessError):
            return subprocess.run(ask, capture_output=True, text=True, check=True).stdout.strip()
    return ""
