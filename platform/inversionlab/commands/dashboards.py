"""Look at a run or search in TensorBoard, and at a search in optuna-dashboard, on this machine alone.

inversionlab dashboards demo-dummy_recognizer-1a2b3c4d --storage runs
"""

from __future__ import annotations

import importlib.util
import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import typer

from inversionlab.commands.ending import ends_by_signals
from inversionlab.commands.options import StorageRoot, exit_codes

LOOPBACK = "127.0.0.1"
SECONDS = 120.0
"""Time that a server has to start; TensorBoard imports much."""
GRACE = 3.0
"""Seconds that a server has to end by itself."""


@dataclass(frozen=True)
class Server:
    """A server that runs."""

    title: str
    port: int
    process: subprocess.Popen[bytes]

    @property
    def address(self) -> str:
        """Where a browser finds it."""
        return f"http://{LOOPBACK}:{self.port}/"


@ends_by_signals
def main(
    run: Annotated[
        str,
        typer.Argument(help="The name of a run or a search, which may still be at work."),
    ],
    storage: StorageRoot = None,
) -> None:
    """Show a run or search in TensorBoard, a search in optuna-dashboard too, until Ctrl-C."""
    from inversionlab.commands.logdir import is_search, make_logdir
    from inversionlab.core.settings import ConfigError
    from inversionlab.store.address import default_root
    from inversionlab.store.storage import Storage

    with exit_codes(RuntimeError), ExitStack() as stack:
        for library in ("tensorboard", "optuna_dashboard"):
            if importlib.util.find_spec(library) is None:
                raise ConfigError(
                    f"dashboards need {library.replace('_', '-')}: pip install 'inversionlab[dashboards]'"
                )
        store = Storage(default_root() if storage is None else storage)
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="dashboards-")))
        logdir = folder / "logs"
        logdir.mkdir()
        shown = make_logdir(store, run, logdir)
        study = f"searches/{run}/study.db"
        wanted = [("TensorBoard", ["tensorboard.main", "--logdir", str(logdir)])]
        if is_search(store, run) and store.exists(study):
            file = Path(store.path(study))
            if not store.local:
                file = folder / "study.db"
                file.write_bytes(store.read(study))
            wanted.append(("optuna-dashboard", ["inversionlab.tuning.study_server", str(file)]))
        servers = [stack.enter_context(running(title, words, folder)) for title, words in wanted]
        typer.echo(f"{run}: curves of {shown} networks and trials")
        for server in servers:
            typer.echo(f"{server.title}: {server.address}")
        if is_search(store, run) and len(servers) == 1:
            typer.echo("There is no study until a trial has ended; start this command again then.")
        typer.echo("Ctrl-C ends them.")
        while all(server.process.poll() is None for server in servers):
            time.sleep(0.5)
        ended = [server.title for server in servers if server.process.poll() is not None]
        raise RuntimeError(f"{' and '.join(ended)} ended by itself")


@contextmanager
def running(title: str, words: list[str], folder: Path) -> Iterator[Server]:
    """A server within the block: `python -m WORDS --host --port`; it and what it starts end with the block.

    Raises:
        RuntimeError: it does not start.
    """
    port, log = free_port(), folder / f"{title}.log"
    command = [sys.executable, "-m", *words, "--host", LOOPBACK, "--port", str(port)]
    path = os.pathsep.join(p for p in sys.path if p)
    with log.open("wb") as out:
        # A session of its own: Ctrl-C comes to this process, which then ends the whole group.
        process = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=out,
            stderr=subprocess.STDOUT,
            env={**os.environ, "PYTHONPATH": path},
            start_new_session=True,
        )
    try:
        _wait(title, process, port, log)
        yield Server(title, port, process)
    finally:
        _end(process)


def free_port() -> int:
    """A port of loopback that nobody listens on."""
    with socket.socket() as taken:
        taken.bind((LOOPBACK, 0))
        return int(taken.getsockname()[1])


def _wait(title: str, process: subprocess.Popen[bytes], port: int, log: Path) -> None:
    """Wait until somebody listens on the port."""
    over = time.monotonic() + SECONDS
    while True:
        with suppress(OSError), socket.create_connection((LOOPBACK, port), timeout=1):
            return
        if process.poll() is not None or time.monotonic() > over:
            said = log.read_text(errors="replace").strip().splitlines() or ["it said nothing"]
            raise RuntimeError(f"{title} does not start: {said[-1]}")
        time.sleep(0.1)


def _end(process: subprocess.Popen[bytes]) -> None:
    """End a server and its group."""
    for number in (signal.SIGTERM, signal.SIGKILL):
        # The group may outlive its leader.
        with suppress(ProcessLookupError, PermissionError):
            os.killpg(process.pid, number)
        with suppress(subprocess.TimeoutExpired):
            process.wait(GRACE)
