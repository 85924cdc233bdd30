"""Audits, searches and preparations are killed at random moments, over and over, and end as undisturbed ones do.

The moments are spread evenly over the time that an undisturbed run took on this machine: imports, pictures,
trainings, measurements, attacks and the record. A chain of kills hits one storage; each next command goes on with
what the killed ones left. When a run ends before its moment comes, its results are compared and the storage starts
empty.

    python -m tests.distributed.test_killed_at_random audit SIGTERM,SIGKILL 3 7      # three of each, from seed 7
"""

from __future__ import annotations

import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests import faults
from tests.processes import HANG, catches, wait_until

pytestmark = [pytest.mark.ray, pytest.mark.slow]

KILLS = 7
"""For each signal and command: twenty-one of each signal in all."""
CHAIN = 5
"""Kills of commands on one storage, before a command is run to its end."""
SHORT: dict[str, Any] = {"victim.training.epochs": 12, "defense.training.epochs": 6}
"""Settings of the recipe that keep an undisturbed run short."""


@dataclass(frozen=True)
class Job:
    """A command, and what it leaves."""

    words: Callable[[Path], list[str]]
    found: Callable[[Path], Any]


JOBS = {
    "audit": Job(lambda folder: faults.audit_words(folder, **SHORT), faults.rows),
    "search": Job(
        lambda folder: faults.search_words(folder, 3, **SHORT),
        lambda folder: (faults.study(folder), faults.search_rows(folder)),
    ),
    "prepare": Job(faults.prepare_words, faults.prepared_set),
}


@dataclass(frozen=True)
class Undisturbed:
    """What a command found that nothing disturbed, and how long it took."""

    found: Any
    seconds: float


def undisturbed(job: str, folder: Path, environment: Mapping[str, str]) -> Undisturbed:
    """Run a command on an empty storage."""
    began = time.monotonic()
    faults.finish(faults.start(JOBS[job].words(folder), environment))
    return Undisturbed(JOBS[job].found(folder), time.monotonic() - began)


def ended_by(driver: subprocess.Popen[str], seconds: float, what: int, ray: str) -> int | None:
    """Send a signal after so many seconds; returns the exit code, or None where the driver had ended by then.

    `ray` is the folder of its Ray's files.

    Raises:
        AssertionError: it did not end well by itself; or, after SIGTERM, not by one line with 143, or by what it
            had done, or it left a process.
    """
    try:
        output, _ = driver.communicate(timeout=seconds)
    except subprocess.TimeoutExpired:
        # Python itself may still be starting, when nothing can listen to signals.
        listened = catches(driver.pid, what)
        driver.send_signal(what)
    else:
        assert driver.returncode == 0, output[-4000:]
        return None
    if what == signal.SIGKILL:
        # Workers that outlive their driver may hold its output open for a while, and nobody reads it.
        driver.wait(timeout=HANG)
        if driver.stdout is not None:
            driver.stdout.close()
        return driver.returncode
    output, _ = driver.communicate(timeout=HANG)
    if driver.returncode == -what:
        assert not listened
        assert not output
    else:
        assert driver.returncode in (0, 128 + what), output[-4000:]
        # Ray prints tracebacks of its own processes, with their names before each line.
        told = [x for x in output.splitlines() if x.startswith(("ended by SIGTERM", "Traceback"))]
        assert len(told) == (driver.returncode != 0), output[-4000:]
    wait_until(lambda: not faults.ray_processes(ray), HANG, "no process is left")
    return driver.returncode


def kill_at_random(
    job: str,
    what: int,
    kills: int,
    seed: int,
    known: Undisturbed,
    folder: Path,
    environment: Mapping[str, str],
) -> None:
    """Kill a command `kills` times, and compare what is found in the end with what is `known`."""
    moments, storage, chain = random.Random(seed), folder / "runs", 0
    while kills:
        seconds = moments.uniform(0.5, known.seconds)
        driver = faults.start(JOBS[job].words(folder), environment)
        code = ended_by(driver, seconds, what, environment["RAY_TMPDIR"])
        hit = code is not None
        kills, chain = kills - hit, chain + hit
        how = f"exit code {code}" if hit else "had ended"
        print(f"{job}: after {seconds:.1f} s {how}, {kills} to go", flush=True)
        if hit and kills and chain < CHAIN:
            continue
        faults.finish(faults.start(JOBS[job].words(folder), environment))
        assert JOBS[job].found(folder) == known.found
        shutil.rmtree(storage)
        chain = 0


@pytest.fixture
def environment() -> Iterator[dict[str, str]]:
    with faults.private_ray() as environment:
        yield environment


@pytest.fixture(scope="module")
def known(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Undisturbed]:
    made: dict[str, Undisturbed] = {}

    def find(job: str) -> Undisturbed:
        if job not in made:
            with faults.private_ray() as environment:
                made[job] = undisturbed(job, tmp_path_factory.mktemp(job), environment)
        return made[job]

    return find


@pytest.mark.timeout(7200)
@pytest.mark.parametrize("what", [signal.SIGTERM, signal.SIGKILL], ids=lambda s: s.name)
@pytest.mark.parametrize("job", JOBS)
def test_killed_at_random_moments(
    job: str,
    what: signal.Signals,
    known: Callable[[str], Undisturbed],
    tmp_path: Path,
    environment: dict[str, str],
) -> None:
    seed = 100 * list(JOBS).index(job) + what
    kill_at_random(job, what, KILLS, seed, known(job), tmp_path, environment)


def main(job: str, names: str, kills: int, seed: int) -> None:
    """Kill a command by each of some signals, and say what happened."""
    with tempfile.TemporaryDirectory() as made, faults.private_ray() as environment:
        first, folder = Path(made) / "undisturbed", Path(made) / "killed"
        first.mkdir()
        folder.mkdir()
        known = undisturbed(job, first, environment)
        print(f"{job}: undisturbed in {known.seconds:.1f} s", flush=True)
        for name in names.split(","):
            what = signal.Signals[name]
            kill_at_random(job, what, kills, seed + what, known, folder, environment)
            print(f"{job}: {kills} x {name}: equal to the undisturbed run", flush=True)


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], int(sys.argv[3]), int(sys.argv[4]))
