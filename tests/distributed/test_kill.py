"""After SIGKILL of the driver the same command loses nothing that was finished, and doubles no row."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from inversionlab.core.yaml_io import dump_yaml, parse_yaml
from inversionlab.results.load import load_run
from inversionlab.store.storage import Storage
from tests import tiny
from tests.processes import HANG

pytestmark = [pytest.mark.ray, pytest.mark.slow]
CHECKOUT = Path(__file__).resolve().parents[2]


@pytest.fixture
def environment() -> Iterator[dict[str, str]]:
    with tempfile.TemporaryDirectory(prefix="il", dir="/tmp", ignore_cleanup_errors=True) as folder:
        yield {
            **os.environ,
            "RAY_ADDRESS": "local",
            "RAY_TMPDIR": folder,
            "INVERSIONLAB_PROGRESS_SECONDS": "0",
        }


def start(folder: Path, environment: dict[str, str]) -> subprocess.Popen[str]:
    """Start the command that a user would type, in the background."""
    recipe = folder / "tiny.yaml"
    changed: dict[str, Any] = {
        # Long enough that the workers, which outlive their driver briefly, cannot finish it either.
        "victim.training.epochs": 400,
        "runtime.checkpoint_seconds": 0,
        "attacks.1.steps": 40,
        "attacks.1.stop": 0.9999,
        "runtime.shard_size": 1,
        "targets.repeats": 6,
    }
    recipe.write_text(dump_yaml(tiny.recipe(**changed)))
    command = [sys.executable, "jobs/audit.py", str(recipe), "--storage", str(folder / "runs")]
    return subprocess.Popen(
        command,
        cwd=CHECKOUT,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def kill_when(process: subprocess.Popen[str], reached: Callable[[], bool]) -> None:
    deadline = time.monotonic() + HANG
    while not reached():
        assert process.poll() is None, f"ended early: {process.communicate()[0][-2000:]}"
        assert time.monotonic() < deadline, "the moment to kill it never came"
        time.sleep(0.05)
    os.kill(process.pid, signal.SIGKILL)
    process.wait()


def test_sigkill_in_training_and_in_attacks(tmp_path: Path, environment: dict[str, str]) -> None:
    runs = tmp_path / "runs"

    def checkpoints() -> list[Path]:
        return list(runs.glob("artifacts/victim/*/checkpoint.pt"))

    def shards() -> list[Path]:
        return list(runs.glob("reconstructions/*/*.parquet"))

    kill_when(start(tmp_path, environment), lambda: bool(checkpoints()))
    kill_when(start(tmp_path, environment), lambda: len(shards()) >= 5)
    card = next(iter(runs.glob("artifacts/victim/*/card.json")))
    assert parse_yaml(card.read_text())["metrics"]["resumed_at"] >= 1
    stored = {path: path.stat().st_mtime_ns for path in shards()}
    weights = {p: p.stat().st_mtime_ns for p in runs.glob("artifacts/*/*/weights.safetensors")}
    last = start(tmp_path, environment)
    output, _ = last.communicate(timeout=400)
    assert last.returncode == 0, output[-3000:]
    assert "0 of 6 networks to train" in output
    assert all(path.stat().st_mtime_ns == t for path, t in {**stored, **weights}.items())
    (record,) = runs.glob("runs/*/run.json")
    table = load_run(Storage(str(runs)), record.parent.name).reconstructions
    # 2 null cells, 2 attacks x 3 models; 4 targets x 6 repeats; load_run gives every job once.
    assert table.num_rows == 8 * 24
    assert len(shards()) == 8 * 24
