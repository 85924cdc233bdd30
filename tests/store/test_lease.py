from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from inversionlab.store.lease import Lease, Times, _take_first, single_flight
from inversionlab.store.storage import Storage

CHECKOUT = Path(__file__).resolve().parents[2]
FAST = Times(beat=0.05, stale=1.0, look=0.02, settle=0.05)
"""`stale` leaves a busy machine room for late beats."""


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
        thread.join(20)
        assert not thread.is_alive()
    assert not faults, faults


def test_eight_runs_that_need_the_same_key_make_it_once(trainings: Trainings) -> None:
    keys = ["victim/1", "generator/2", "defense/3"]
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


def test_a_slow_holder_that_lives_is_waited_for(trainings: Trainings) -> None:
    together(*[lambda: trainings.work(["victim/1"], 1.5 * FAST.stale)] * 2)
    assert trainings.made == ["victim/1"]


def test_a_lease_is_given_back_when_the_work_raises(trainings: Trainings) -> None:
    def fail(key: str, seconds: float) -> None:
        assert held(trainings.storage, key)
        raise ZeroDivisionError

    trainings.make = fail  # type: ignore[method-assign]
    with pytest.raises(ZeroDivisionError):
        trainings.work(["victim/1"])
    assert not held(trainings.storage, "victim/1")


def test_a_holder_whose_lease_was_taken_over_leaves_it_alone(trainings: Trainings) -> None:
    asleep, other = Lease(trainings.storage, "victim/1"), Lease(trainings.storage, "victim/1")
    assert asleep.free(stale=0.1)
    asleep.take()
    assert asleep.mine()
    assert not other.free(stale=0.1)
    time.sleep(0.15)
    assert other.free(stale=0.1)
    other.take()
    assert other.mine()
    asleep.beat()
    asleep.release()
    assert other.mine()


def test_a_beat_keeps_a_lease_from_being_taken(trainings: Trainings) -> None:
    holder, other = Lease(trainings.storage, "victim/1"), Lease(trainings.storage, "victim/1")
    assert holder.free(stale=1)
    holder.take()
    assert not other.free(stale=0.1)
    time.sleep(0.15)
    holder.beat()
    assert not other.free(stale=0.1)


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b"\xff"])
def test_an_unreadable_lease_goes_stale_like_any(trainings: Trainings, content: bytes) -> None:
    trainings.storage.write("artifacts/victim/1/lease.json", content)
    lease = Lease(trainings.storage, "victim/1")
    assert not lease.free(stale=0.1)
    assert not lease.mine()
    time.sleep(0.15)
    assert lease.free(stale=0.1)
    lease.take()
    assert lease.mine()


def test_leases_of_a_dead_holder_go_stale_together_although_a_last_beat_was_seen_later(
    trainings: Trainings,
) -> None:
    times = Times(stale=0.6, settle=0)
    first, second = (Lease(trainings.storage, key) for key in ("victim/1", "generator/2"))

    def beat(lease: Lease, place: int, count: int) -> None:
        content = json.dumps({"owner": f"dead-{place}", "beat": count}).encode()
        trainings.storage.write(f"artifacts/{lease.key}/lease.json", content)

    beat(first, 0, 1)
    beat(second, 1, 0)
    assert _take_first([first, second], times) == []
    time.sleep(0.3)
    beat(second, 1, 1)
    assert _take_first([first, second], times) == []
    time.sleep(0.35)
    assert _take_first([first, second], times) == [], (
        "only the first has stood still for long enough"
    )
    time.sleep(0.3)
    assert _take_first([first, second], times) == [first, second]


HOLDER = """
import sys, time
from inversionlab.store.lease import Times, single_flight
from inversionlab.store.storage import Storage
keys = ["victim/1", "generator/2"]
times = Times(beat=0.05, look=0.02, settle=0.05)
with single_flight(Storage(sys.argv[1]), keys, lambda key: False, print, times) as mine:
    print("holds", *mine, flush=True)
    time.sleep(60)
"""


def test_after_a_kill_the_next_one_takes_over_all_at_once(trainings: Trainings) -> None:
    process = subprocess.Popen(
        [sys.executable, "-c", HOLDER, trainings.storage.root],
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": str(CHECKOUT / "platform")},
    )
    try:
        assert process.stdout is not None
        assert process.stdout.readline() == "holds victim/1 generator/2\n"
        killed = threading.Timer(1.0, process.send_signal, [signal.SIGKILL])
        began = time.monotonic()
        killed.start()
        keys = ["victim/1", "generator/2"]
        with single_flight(
            trainings.storage, keys, trainings.finished, trainings.said.append, FAST
        ) as mine:
            seconds = time.monotonic() - began
            assert mine == keys
            names = [f"artifacts/{key}/lease.json" for key in keys]
            owners = {json.loads(trainings.storage.read(name))["owner"] for name in names}
            assert len(owners) == 2
    finally:
        process.kill()
        process.wait()
    # While it lived it was waited for.
    assert seconds >= 1.0 + FAST.stale - 2 * FAST.beat
    assert len(trainings.said) == 1
