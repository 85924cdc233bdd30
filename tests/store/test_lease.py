from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import pytest

from inversionlab.store.lease import Lease, Times, _take_first, single_flight
from inversionlab.store.storage import Storage
from tests.processes import HANG, wait_until

CHECKOUT = Path(__file__).resolve().parents[2]
FAST = Times(beat=0.05, stale=HANG, look=0.02, settle=0.05)
"""Nobody takes a lease over, however late a beat is on a busy machine, unless a test sets the clock forward."""


class Clock:
    """The clock by which leases go stale; it stands still unless a test sets it forward."""

    def __init__(self) -> None:
        self.now = 0.0
        self.looks = 0
        """How often a waiting run has slept between two looks."""

    def monotonic(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.looks += 1
        time.sleep(seconds)

    def after_a_look(self) -> None:
        """Wait until a run that waits has looked at what is there now."""
        before = self.looks
        wait_until(lambda: self.looks >= before + 2, HANG, "a look")


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr("inversionlab.store.lease.time", clock)
    return clock


def held(storage: Storage, key: str) -> bool:
    return storage.exists(f"artifacts/{key}/lease.json")


class Trainings:
    """Trainings that several runs need; records which keys are made and what is said."""

    def __init__(self, root: Path) -> None:
        self.storage = Storage(str(root))
        self.made: list[str] = []
        self.said: list[str] = []

    def finished(self, key: str) -> bool:
        return self.storage.exists(f"done/{key}")

    def make(self, key: str, seconds: float) -> None:
        time.sleep(seconds)
        self.made.append(key)
        self.storage.write(f"done/{key}", b"")

    def work(self, keys: list[str], seconds: float = 0.05) -> None:
        left = list(keys)
        while left:
            with single_flight(self.storage, left, self.finished, self.said.append, FAST) as mine:
                for key in mine:
                    self.make(key, seconds)
            left = [key for key in left if key not in mine] if mine else []


@pytest.fixture
def trainings(tmp_path: Path) -> Trainings:
    return Trainings(tmp_path)


def together(*jobs: Callable[[], None]) -> None:
    faults: list[BaseException] = []

    def run(job: Callable[[], None]) -> None:
        try:
            job()
        except BaseException as fault:  # to be raised where pytest sees it
            faults.append(fault)

    threads = [threading.Thread(target=run, args=(job,)) for job in jobs]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(HANG)
        assert not thread.is_alive()
    assert not faults, faults


def test_eight_runs_that_need_the_same_key_make_it_once(trainings: Trainings) -> None:
    keys, make = ["victim/1", "generator/2", "defense/3"], trainings.make

    def make_once_another_waits(key: str, seconds: float) -> None:
        # On a busy machine the others would begin when all is made.
        wait_until(lambda: bool(trainings.said), HANG, "another run that waits")
        make(key, seconds)

    trainings.make = make_once_another_waits  # type: ignore[method-assign]
    together(*[lambda: trainings.work(keys)] * 8)
    assert sorted(trainings.made) == sorted(keys)
    assert not any(held(trainings.storage, key) for key in keys)
    assert any("another run is training victim; waiting for it" in line for line in trainings.said)


def test_a_run_that_needs_more_than_another_makes_only_the_rest(trainings: Trainings) -> None:
    """It does not wait for what only the other run needs."""
    together(
        lambda: trainings.work(["victim/1", "defense/a"], 0.3),
        lambda: trainings.work(["victim/1", "defense/b"], 0.3),
    )
    assert sorted(trainings.made) == ["defense/a", "defense/b", "victim/1"]


def test_needs_in_opposite_order_end(trainings: Trainings) -> None:
    together(
        lambda: trainings.work(["victim/1", "defense/a", "generator/2"]),
        lambda: trainings.work(["generator/2", "defense/b", "victim/1"]),
    )
    assert sorted(trainings.made) == ["defense/a", "defense/b", "generator/2", "victim/1"]


def test_what_is_made_needs_no_lease(trainings: Trainings) -> None:
    trainings.make("victim/1", 0)
    with single_flight(trainings.storage, ["victim/1"], trainings.finished, print, FAST) as mine:
        assert mine == []


def test_a_slow_holder_that_lives_is_waited_for(trainings: Trainings, clock: Clock) -> None:
    lease = trainings.storage
    make = trainings.make

    def slowly(key: str, seconds: float) -> None:
        for _ in range(6):
            clock.now += 0.5 * FAST.stale
            before = lease.read(f"artifacts/{key}/lease.json")
            wait_until(
                lambda b=before: lease.read(f"artifacts/{key}/lease.json") != b, HANG, "a beat"
            )
            clock.after_a_look()
        make(key, seconds)

    trainings.make = slowly  # type: ignore[method-assign]
    together(*[lambda: trainings.work(["victim/1"])] * 2)
    assert trainings.made == ["victim/1"]


def test_a_lease_is_given_back_when_the_work_raises(trainings: Trainings) -> None:
    def fail(key: str, seconds: float) -> None:
        assert held(trainings.storage, key)
        raise ZeroDivisionError

    trainings.make = fail  # type: ignore[method-assign]
    with pytest.raises(ZeroDivisionError):
        trainings.work(["victim/1"])
    assert not held(trainings.storage, "victim/1")


def test_a_holder_whose_lease_was_taken_over_leaves_it_alone(
    trainings: Trainings, clock: Clock
) -> None:
    asleep, other = Lease(trainings.storage, "victim/1"), Lease(trainings.storage, "victim/1")
    assert asleep.free(stale=0.1)
    asleep.take()
    assert asleep.mine()
    assert not other.free(stale=0.1)
    clock.now += 0.15
    assert other.free(stale=0.1)
    other.take()
    assert other.mine()
    asleep.beat()
    asleep.release()
    assert other.mine()


def test_a_beat_keeps_a_lease_from_being_taken(trainings: Trainings, clock: Clock) -> None:
    holder, other = Lease(trainings.storage, "victim/1"), Lease(trainings.storage, "victim/1")
    assert holder.free(stale=1)
    holder.take()
    assert not other.free(stale=0.1)
    clock.now += 0.15
    holder.beat()
    assert not other.free(stale=0.1)


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b"\xff"])
def test_an_unreadable_lease_goes_stale_like_any(
    trainings: Trainings, clock: Clock, content: bytes
) -> None:
    trainings.storage.write("artifacts/victim/1/lease.json", content)
    lease = Lease(trainings.storage, "victim/1")
    assert not lease.free(stale=0.1)
    assert not lease.mine()
    clock.now += 0.15
    assert lease.free(stale=0.1)
    lease.take()
    assert lease.mine()


def test_leases_of_a_dead_holder_go_stale_together_although_a_last_beat_was_seen_later(
    trainings: Trainings, clock: Clock
) -> None:
    times = Times(stale=0.6, settle=0)
    first, second = (Lease(trainings.storage, key) for key in ("victim/1", "generator/2"))

    def beat(lease: Lease, place: int, count: int) -> None:
        content = json.dumps({"owner": f"dead-{place}", "beat": count}).encode()
        trainings.storage.write(f"artifacts/{lease.key}/lease.json", content)

    beat(first, 0, 1)
    beat(second, 1, 0)
    assert _take_first([first, second], times) == []
    clock.now += 0.3
    beat(second, 1, 1)
    assert _take_first([first, second], times) == []
    clock.now += 0.35
    assert _take_first([first, second], times) == [], (
        "only the first has stood still for long enough"
    )
    clock.now += 0.3
    assert _take_first([first, second], times) == [first, second]


HOLDER = """
import sys, time
skew = float(sys.argv[2])
from inversionlab.store import process
if skew:
    process._machine = lambda: "another machine"
shown, passed = time.time, time.monotonic
time.time, time.monotonic = (lambda: shown() + skew), (lambda: passed() + skew)
from inversionlab.store.lease import Times, single_flight
from inversionlab.store.storage import Storage
from tests.processes import HANG, wait_until
keys = ["victim/1", "generator/2"]
times = Times(beat=0.05, look=0.02, settle=0.05)
with single_flight(Storage(sys.argv[1]), keys, lambda key: False, print, times) as mine:
    print("holds", *mine, flush=True)
    time.sleep(3600)
"""


@pytest.mark.parametrize("skew", [3600, -3600])
def test_after_a_kill_the_next_one_takes_over_all_at_once(
    trainings: Trainings, clock: Clock, skew: int
) -> None:
    """Though the clocks of the two nodes, and of the files' server, are an hour apart."""
    keys, storage = ["victim/1", "generator/2"], trainings.storage
    names = [f"artifacts/{key}/lease.json" for key in keys]
    process = subprocess.Popen(
        [sys.executable, "-c", HOLDER, storage.root, str(skew)],
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": str(CHECKOUT / "platform")},
    )
    taken: list[str] = []

    def take_over() -> None:
        with single_flight(storage, keys, trainings.finished, trainings.said.append, FAST) as mine:
            owners = {json.loads(storage.read(name))["owner"] for name in names}
            assert len(owners) == 2
            taken.extend(mine)

    def kill_after_a_while() -> None:
        try:
            # While it lives it is waited for.
            for _ in range(4):
                for name in names:
                    # A beat writes the file anew, so this one may be gone already.
                    with suppress(FileNotFoundError):
                        os.utime(storage.path(name), (time.time() - skew,) * 2)
                clock.after_a_look()
                before = [storage.read(name) for name in names]
                wait_until(
                    lambda b=before: all(
                        storage.read(n) != x for n, x in zip(names, b, strict=True)
                    ),
                    HANG,
                    "a beat of each",
                )
                clock.now += 0.5 * FAST.stale
                assert not taken
        finally:
            process.kill()
            process.wait()
        clock.after_a_look()
        # Its last beat may have been seen before the clock went forward, or after.
        clock.now += 0.4 * FAST.stale
        clock.after_a_look()
        assert not taken
        clock.now += FAST.stale

    assert process.stdout is not None
    assert process.stdout.readline() == "holds victim/1 generator/2\n"
    together(take_over, kill_after_a_while)
    assert taken == keys
    assert len(trainings.said) == 1


@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="nobody can tell without /proc")
@pytest.mark.parametrize("reaped", [True, False])
def test_after_a_kill_on_the_same_machine_nobody_waits(
    trainings: Trainings, clock: Clock, reaped: bool
) -> None:
    """The clock of the waiting run stands still; a process whose parent has not asked for it has ended, too."""
    keys = ["victim/1", "generator/2"]
    holder = subprocess.Popen(
        [sys.executable, "-c", HOLDER, trainings.storage.root, "0"],
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": str(CHECKOUT / "platform")},
    )
    assert holder.stdout is not None
    assert holder.stdout.readline() == "holds victim/1 generator/2\n"
    waiting = Lease(trainings.storage, "victim/1")
    assert not waiting.free(FAST.stale)
    holder.kill()
    if reaped:
        holder.wait()
    with single_flight(trainings.storage, keys, trainings.finished, print, FAST) as mine:
        assert mine == keys
    holder.wait()


@pytest.mark.parametrize("process", ["", "1 2", "here 1", None, [1], "no boot 1 x"])
def test_a_lease_that_names_no_process_goes_stale(
    trainings: Trainings, clock: Clock, process: object
) -> None:
    content = json.dumps({"owner": "x-0", "beat": 1, "process": process}).encode()
    trainings.storage.write("artifacts/victim/1/lease.json", content)
    lease = Lease(trainings.storage, "victim/1")
    assert not lease.free(stale=0.1)
    clock.now += 0.15
    assert lease.free(stale=0.1)
