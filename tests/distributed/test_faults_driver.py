"""The driver is killed, interrupted, or shares its storage with another; each is a command of its own."""

from __future__ import annotations

import re
import signal
import time
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tests import faults
from tests.processes import HANG, patience, wait_until

pytestmark = [pytest.mark.ray, pytest.mark.slow]


@pytest.fixture
def environment() -> Iterator[dict[str, str]]:
    with faults.private_ray() as environment:
        yield environment


def stored(folder: Path, pattern: str) -> Callable[[], list[Path]]:
    return lambda: list((folder / "runs").glob(pattern))


def trainings(*outputs: str) -> Counter[str]:
    """How often each role was trained; a title is the role and, of most roles, a method."""
    return Counter(re.findall(r"\[train\] (\S+)(?: \S+)?: done in", "".join(outputs)))


@pytest.mark.timeout(1200)
def test_sigkill_of_a_search(searched: Path, tmp_path: Path, environment: dict[str, str]) -> None:
    words = faults.search_words(tmp_path)
    moments = [
        stored(tmp_path, "artifacts/victim/*/checkpoint.pt"),
        stored(tmp_path, "artifacts/defense/*/checkpoint.pt"),
        # The undefended victim and the null attacks are 4 cells.
        lambda: len(stored(tmp_path, "reconstructions/*")()) >= 7,
    ]
    for moment in moments:
        faults.signal_when(faults.start(words, environment), moment)
    faults.finish(faults.start([*words, "--resume"], environment))
    assert faults.study(tmp_path) == faults.study(searched)


@pytest.mark.parametrize("job", ["audit", "search"])
def test_ctrl_c_in_attacks(
    undisturbed: Path, searched: Path, tmp_path: Path, environment: dict[str, str], job: str
) -> None:
    faults.copy_networks(undisturbed / "runs", tmp_path)
    words = {"audit": faults.audit_words, "search": faults.search_words}[job](tmp_path)
    driver = faults.start(words, environment)
    pressed: list[float] = []

    def moment() -> bool:
        pressed[:] = [time.monotonic()]
        return len(faults.shards(tmp_path)) >= 10

    said = faults.signal_when(driver, moment, signal.SIGINT)
    assert time.monotonic() - pressed[0] < patience(15)
    assert driver.returncode == 130, said
    assert "interrupted; finished work is stored, and the same command continues from there" in said
    folder = environment["RAY_TMPDIR"]
    wait_until(lambda: not faults.ray_processes(folder), HANG, "the Ray of the driver is gone")
    before = {path: path.stat().st_mtime_ns for path in faults.shards(tmp_path)}
    faults.finish(faults.start(words, environment))
    assert all(path.stat().st_mtime_ns == t for path, t in before.items())
    if job == "audit":
        assert faults.rows(tmp_path) == faults.rows(undisturbed)
    else:
        assert faults.study(tmp_path) == faults.study(searched)


def test_two_equal_searches_at_once(searched: Path, tmp_path: Path) -> None:
    words = faults.search_words(tmp_path)
    with faults.private_ray() as here, faults.private_ray() as there:
        drivers = [faults.start(words, here), faults.start(words, there)]
        outputs = faults.finish(*drivers)
    once = dict.fromkeys(("victim", "generator", "evaluator:same", "evaluator:disjoint"), 1)
    assert trainings(*outputs) == once | {"defense_generator": 1, "defense": 2}
    assert faults.study(tmp_path) == faults.study(searched)
    assert faults.search_rows(tmp_path) == faults.search_rows(searched)


def test_two_equal_audits_at_once_of_which_one_is_killed(undisturbed: Path, tmp_path: Path) -> None:
    faults.copy_networks(undisturbed / "runs", tmp_path)
    words = faults.audit_words(tmp_path)
    with faults.private_ray() as here, faults.private_ray() as there:
        stays, dies = faults.start(words, here), faults.start(words, there)
        with ThreadPoolExecutor(1) as thread:
            output = thread.submit(faults.finish, stays)
            faults.signal_when(dies, lambda: len(faults.shards(tmp_path)) >= 5)
            output.result()
        assert faults.rows(tmp_path) == faults.rows(undisturbed)
        # The killed one, given again, finds everything done.
        (said,) = faults.finish(faults.start(words, there))
    assert "0 reconstructions over 8 cells" in said
    assert faults.rows(tmp_path) == faults.rows(undisturbed)


def test_two_audits_at_once_that_need_the_same_networks(tmp_path: Path) -> None:
    alphas = {"here": 0.3, "there": 0.6}
    words = [
        faults.audit_words(tmp_path, **{"name": name, "defense.alpha": alpha})
        for name, alpha in alphas.items()
    ]
    with faults.private_ray() as here, faults.private_ray() as there:
        drivers = [faults.start(words[0], here), faults.start(words[1], there)]
        outputs = faults.finish(*drivers)
    assert sorted(trainings(*outputs).values()) == [1] * 6
    assert [len(faults.rows(tmp_path, name)) for name in alphas] == [faults.ROWS] * 2
