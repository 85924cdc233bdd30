"""SIGTERM and SIGHUP in each stage of audit and search: one line, an exit code, no process, nothing lost."""

from __future__ import annotations

import os
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from inversionlab.commands.ending import WORDS
from tests import faults
from tests.processes import HANG, family, patience, processes, wait_until

pytestmark = [pytest.mark.ray, pytest.mark.slow]
Moment = Callable[[Path, str], object]
"""Whether it is time, by the storage's folder and what was printed."""


@pytest.fixture
def environment() -> Iterator[dict[str, str]]:
    with faults.private_ray() as environment:
        yield environment


def found(pattern: str, count: int = 1) -> Moment:
    return lambda runs, said: len(list(runs.glob(pattern))) >= count


def told(text: str) -> Moment:
    return lambda runs, said: text in said


def ended_at(
    driver: subprocess.Popen[str], moment: Callable[[str], object], send: Callable[[int], None]
) -> tuple[str, float]:
    """What a driver printed that was ended at a moment, and the seconds that its end took."""
    printed: list[str] = []
    assert driver.stdout is not None
    reader = threading.Thread(target=lambda: printed.extend(driver.stdout or ()), daemon=True)
    reader.start()
    deadline = time.monotonic() + faults.MOMENT
    while not moment("".join(printed)):
        assert driver.poll() is None, f"ended early: {''.join(printed)[-3000:]}"
        assert time.monotonic() < deadline, f"the moment never came: {''.join(printed)[-3000:]}"
        time.sleep(0.02)
    began = time.monotonic()
    send(driver.pid)
    driver.wait(timeout=HANG)
    seconds = time.monotonic() - began
    reader.join(timeout=5)
    return "".join(printed), seconds


STAGES: dict[str, Moment] = {
    "audit, pictures": told("[1/4]"),
    "audit, training": found("artifacts/victim/*/checkpoint.pt"),
    "audit, attacks": found("reconstructions/*/*.parquet", 3),
    "audit, report": told("[4/4]"),
    "search, baseline": found("artifacts/victim/*/checkpoint.pt"),
    "search, trials": told("[3/4]"),
}


def words(job: str, folder: Path) -> list[str]:
    make = {"audit": faults.audit_words, "search": faults.search_words}[job]
    return make(folder)


ENDS = """
import sys, time
sys.path.insert(0, "platform")
from inversionlab.commands.ending import as_process
def work():
    from ray._private.node import Node
    from inversionlab.distributed.cluster import connect
    def slowly(self, *args, **options):
        print("Ray ends", flush=True)
        time.sleep(len(sys.argv) * 600)
    Node.kill_all_processes = slowly
    connect(lambda line: None)
    print("done", flush=True)
as_process(work)
"""


@pytest.mark.parametrize("number", [*WORDS], ids=lambda s: s.name)
def test_a_signal_while_ray_ends_changes_no_exit_code(
    environment: dict[str, str], number: signal.Signals
) -> None:
    """Ray's compiled part has ended by then, and has left no handler for SIGTERM."""
    driver = faults.start(["-c", ENDS], environment)
    said, _ = ended_at(
        driver, lambda said: "Ray ends" in said, lambda _: driver.send_signal(number)
    )
    assert driver.returncode == 0, said
    assert "done" in said
    assert "Traceback" not in said
    wait_until(lambda: not faults.ray_processes(environment["RAY_TMPDIR"]), HANG, "no process left")


def expect_end(folder: str, code: int, said: str, number: signal.Signals, seconds: float) -> None:
    line = f"{WORDS[number]}; finished work is stored, and the same command continues from there"
    assert said.count(line) == 1, said[-3000:]
    assert code == 128 + number, said[-3000:]
    assert "Traceback" not in said
    assert "Fatal" not in said
    assert "***" not in said, said[-3000:]
    assert seconds < patience(15)
    wait_until(lambda: not faults.ray_processes(folder), HANG, "the Ray of the driver is gone")


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP], ids=["term", "hup"])
@pytest.mark.parametrize("stage", STAGES)
def test_a_signal_in_a_stage(
    undisturbed: Path,
    tmp_path: Path,
    environment: dict[str, str],
    stage: str,
    number: signal.Signals,
) -> None:
    if stage not in ("audit, training", "search, baseline"):
        faults.copy_networks(undisturbed / "runs", tmp_path)
    driver = faults.start(words(stage.partition(",")[0], tmp_path), environment)
    said, seconds = ended_at(
        driver,
        lambda said: STAGES[stage](tmp_path / "runs", said),
        lambda pid: os.kill(pid, number),
    )
    expect_end(environment["RAY_TMPDIR"], driver.returncode, said, number, seconds)


@pytest.mark.parametrize("delay", [0.0, 0.5, 1.0, 2.0, 4.0, 6.0])
def test_sigterm_while_ray_starts(
    tmp_path: Path, environment: dict[str, str], delay: float
) -> None:
    """Whatever has been started by then ends too; Ray's own handler would abort the process."""
    folder = environment["RAY_TMPDIR"]
    driver = faults.start(words("audit", tmp_path), environment)

    def send(pid: int) -> None:
        time.sleep(delay)
        os.kill(pid, signal.SIGTERM)

    said, seconds = ended_at(driver, lambda said: list(Path(folder).glob("ray/session_2*")), send)
    expect_end(folder, driver.returncode, said, signal.SIGTERM, seconds - delay)


@pytest.mark.parametrize("job", ["audit", "search"])
def test_sigterm_for_all_processes_at_once_loses_nothing(
    undisturbed: Path, searched: Path, tmp_path: Path, environment: dict[str, str], job: str
) -> None:
    """As Slurm ends a job: Ray's processes get the signal with their driver."""
    faults.copy_networks(undisturbed / "runs", tmp_path)
    driver = faults.start(words(job, tmp_path), environment)

    def send(pid: int) -> None:
        for process in sorted(family([pid], processes())):
            os.kill(process, signal.SIGTERM)

    said, seconds = ended_at(driver, lambda said: len(faults.shards(tmp_path)) >= 10, send)
    expect_end(environment["RAY_TMPDIR"], driver.returncode, said, signal.SIGTERM, seconds)
    before = {path: path.stat().st_mtime_ns for path in faults.shards(tmp_path)}
    faults.finish(faults.start(words(job, tmp_path), environment))
    assert all(path.stat().st_mtime_ns == t for path, t in before.items())
    if job == "audit":
        assert faults.rows(tmp_path) == faults.rows(undisturbed)
    else:
        assert faults.study(tmp_path) == faults.study(searched)
