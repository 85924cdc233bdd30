"""Starts `face_server.py` as a process of its own."""

from __future__ import annotations

import contextlib
import json
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.processes import HANG

SCRIPT = Path(__file__).with_name("face_server.py")


@dataclass(frozen=True)
class FaceServer:
    """A running server; `log` has a line for every picture that it worked on."""

    port: int
    log: Path
    process: subprocess.Popen[str]

    @property
    def url(self) -> str:
        """Where pictures are posted."""
        return f"http://127.0.0.1:{self.port}/identify"

    def count(self) -> dict[str, Any]:
        """What it did so far: requests, processed (pictures), refused (requests, by 429), digests, keys, ..."""
        direct = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        with direct.open(f"http://127.0.0.1:{self.port}/count", timeout=HANG) as answer:
            return json.load(answer)  # type: ignore[no-any-return]


@contextlib.contextmanager
def face_server(folder: Path, *flags: str, log: str = "pictures.log") -> Iterator[FaceServer]:
    """A server with these flags (see `face_server.py`); it ends with the block."""
    command = [sys.executable, str(SCRIPT), f"--log={folder / log}", *flags]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout is not None
        line = process.stdout.readline()
        assert line.strip(), "the server did not start"
        yield FaceServer(int(line), folder / log, process)
    finally:
        process.kill()
        process.wait()
