from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest
import ray

from inversionlab.runtime.fanout import TRIES, Crew, CrewError

pytestmark = [pytest.mark.ray, pytest.mark.usefixtures("local_ray")]


@ray.remote(num_cpus=0, max_restarts=-1, max_task_retries=0)
class Clerk:
    """Doubles numbers; dies or raises on command, and notes each beginning in a folder."""

    def __init__(self, folder: str) -> None:
        self.folder = Path(folder)

    def ready(self) -> bool:
        return True

    def run(self, order: dict[str, Any]) -> int:
        number = order["number"]
        tries = len(list(self.folder.glob(f"{number}-*")))
        (self.folder / f"{number}-{tries}").touch()
        if tries < order.get("die", 0):
            os._exit(1)
        if order.get("raise"):
            raise ValueError(f"no {number}")
        return 2 * number


def work(folder: Path, orders: list[dict[str, Any]], count: int = 2) -> tuple[dict[int, int], Any]:
    done: dict[int, int] = {}
    crew: Crew[dict[str, Any]] = Crew(lambda: Clerk.remote(str(folder)), count)  # type: ignore[attr-defined]
    try:
        failures = crew.run(orders, lambda order, result: done.update({order["number"]: result}))
    finally:
        crew.dismiss()
    return done, failures


@pytest.mark.parametrize("count", [1, 2])
def test_every_order_is_done_once(tmp_path: Path, count: int) -> None:
    done, failures = work(tmp_path, [{"number": n} for n in range(20)], count)
    assert done == {n: 2 * n for n in range(20)}
    assert not failures
    assert len(list(tmp_path.iterdir())) == 20


def test_what_a_dead_worker_held_is_done_again(tmp_path: Path) -> None:
    orders = [{"number": n, "die": 1 if n == 3 else 0} for n in range(10)]
    done, failures = work(tmp_path, orders)
    assert done == {n: 2 * n for n in range(10)}
    assert not failures
    assert len(list(tmp_path.glob("3-*"))) == 2


def test_a_poisonous_order_is_given_up_and_the_rest_is_done(tmp_path: Path) -> None:
    orders = [{"number": n, "die": 99 if n == 0 else 0} for n in range(6)]
    done, failures = work(tmp_path, orders, 1)
    # Whoever waits behind the poison at the same worker loses no try with it.
    assert [f.order["number"] for f in failures] == [0]
    assert f"died {TRIES} times" in failures[0].reason
    assert set(done) == {1, 2, 3, 4, 5}


def test_the_living_do_what_the_dead_held(tmp_path: Path) -> None:
    """A worker that never comes back, as when its node is gone and there is no other room."""
    done: dict[int, int] = {}
    mortal = Clerk.options(max_restarts=0)  # type: ignore[attr-defined]
    crew: Crew[dict[str, Any]] = Crew(lambda: mortal.remote(str(tmp_path)), 2)
    orders = [{"number": 0, "die": 1}, {"number": 1}, {"number": 2}]
    failures = crew.run(orders, lambda order, result: done.update({order["number"]: result}))
    crew.dismiss()
    assert not failures
    assert done == {0: 0, 1: 2, 2: 4}


def test_no_worker_left_is_said_with_its_cause(tmp_path: Path) -> None:
    mortal = Clerk.options(max_restarts=0)  # type: ignore[attr-defined]
    crew: Crew[dict[str, Any]] = Crew(lambda: mortal.remote(str(tmp_path)), 1)
    with pytest.raises(CrewError, match=r"no attack worker is left; the last one said: .*died"):
        crew.run([{"number": 0, "die": 9}, {"number": 1}], lambda order, result: None)


def test_an_order_that_raises_is_set_aside_with_its_reason(tmp_path: Path) -> None:
    orders = [{"number": n, "raise": n == 2} for n in range(5)]
    done, failures = work(tmp_path, orders)
    assert set(done) == {0, 1, 3, 4}
    (failure,) = failures
    assert failure.reason == "ValueError: no 2"
    assert len(list(tmp_path.glob("2-*"))) == 1
