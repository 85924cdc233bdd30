from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any, Generic

import pytest
import ray

from inversionlab.distributed import actor_pool
from inversionlab.distributed.actor_pool import TRIES, ActorPool, ActorPoolError, Failure, Item

pytestmark = [pytest.mark.ray, pytest.mark.usefixtures("local_ray")]


class Listed(Generic[Item]):
    """A source that hands out the items of an iterable, one by one."""

    def __init__(
        self,
        items: Iterable[Item],
        on_done: Callable[[Item, Any], None],
        expected: int = 1_000_000,
    ) -> None:
        """Hand out `items`; `expected` is how many there are, so that not too many workers are started."""
        self._items = iter(items)
        self._left, self._exhausted = expected, False
        self._on_done = on_done
        self.failures: list[Failure[Item]] = []

    def take(self) -> Item | None:
        """The next item of the iterable."""
        item = next(self._items, None)
        self._exhausted = item is None
        self._left -= 1
        return item

    def waiting(self) -> int:
        """What is left of the expected number."""
        return 0 if self._exhausted else max(1, self._left)

    def open(self) -> bool:
        """Until the iterable has ended."""
        return not self._exhausted

    def done(self, item: Item, result: Any) -> None:
        """Pass the result on."""
        self._on_done(item, result)

    def failed(self, item: Item, reason: str) -> None:
        """Keep the failure."""
        self.failures.append(Failure(item, reason))


@ray.remote(num_cpus=0, max_restarts=0, max_task_retries=0)
class Clerk:
    """Doubles numbers; dies or raises on command, and leaves a file in a folder for each call."""

    def __init__(self, folder: str) -> None:
        self.folder = Path(folder)

    def ready(self) -> bool:
        return True

    def run(self, item: dict[str, Any]) -> int:
        number = item["number"]
        tries = len(list(self.folder.glob(f"{number}-*")))
        (self.folder / f"{number}-{tries}").touch()
        time.sleep(item.get("sleep", 0) if tries == 0 else 0)
        if tries < item.get("die", 0):
            os._exit(1)
        if item.get("raise"):
            raise ValueError(f"no {number}")
        return 2 * number


def run(pool: ActorPool[Item], source: Listed[Item], limit: Callable[[], int]) -> None:
    """Work off a source with as many workers as there may be at the time."""
    more = True
    while more:
        pool.resize(limit(), source.waiting())
        more = pool.work(source)


def work(
    folder: Path, items: Iterable[dict[str, Any]], limit: Callable[[], int] = lambda: 2
) -> tuple[dict[int, int], list[Failure[dict[str, Any]]]]:
    done: dict[int, int] = {}
    pool: ActorPool[dict[str, Any]] = ActorPool(lambda: Clerk.remote(str(folder)))  # type: ignore[attr-defined]
    source = Listed(items, lambda item, result: done.update({item["number"]: result}))
    try:
        run(pool, source, limit)
    finally:
        pool.dismiss()
    return done, source.failures


@pytest.mark.parametrize("count", [1, 2])
def test_every_item_is_done_once(tmp_path: Path, count: int) -> None:
    done, failures = work(tmp_path, [{"number": n} for n in range(20)], lambda: count)
    assert done == {n: 2 * n for n in range(20)}
    assert not failures
    assert len(list(tmp_path.iterdir())) == 20


def test_what_a_dead_worker_held_is_done_again(tmp_path: Path) -> None:
    items = [{"number": n, "die": 1 if n == 3 else 0} for n in range(10)]
    done, failures = work(tmp_path, items)
    assert done == {n: 2 * n for n in range(10)}
    assert not failures
    assert len(list(tmp_path.glob("3-*"))) == 2


def test_a_poisonous_item_is_given_up_and_the_rest_is_done(tmp_path: Path) -> None:
    items = [{"number": n, "die": 99 if n == 0 else 0} for n in range(6)]
    done, failures = work(tmp_path, items, lambda: 1)
    # No item waits on a worker, so none loses a try with the poisonous one.
    assert [f.item["number"] for f in failures] == [0]
    assert f"died {TRIES} times" in failures[0].reason
    assert set(done) == {1, 2, 3, 4, 5}


@pytest.mark.slow
def test_workers_that_die_at_once_are_reported_with_their_cause() -> None:
    @ray.remote(num_cpus=0)
    class Stillborn:
        def __init__(self) -> None:
            raise ValueError("no such experiment")

        def ready(self) -> bool:
            return True

    pool: ActorPool[int] = ActorPool(lambda: Stillborn.remote())
    with pytest.raises(ActorPoolError, match=r"died one after another(.|\n)*no such experiment"):
        run(pool, Listed([1], lambda item, result: None), lambda: 1)
    pool.dismiss()


def test_items_are_drawn_only_when_a_worker_is_free_for_them(tmp_path: Path) -> None:
    """This keeps the driver's memory flat: at most one item per worker is drawn before it is done."""
    drawn = 0

    def items() -> Iterator[dict[str, Any]]:
        nonlocal drawn
        for number in range(10_000):
            drawn += 1
            yield {"number": number}

    done = 0

    def note(item: dict[str, Any], result: int) -> None:
        nonlocal done
        done += 1
        assert drawn <= done + 2
        if done == 50:
            pool.stop()

    pool: ActorPool[dict[str, Any]] = ActorPool(lambda: Clerk.remote(str(tmp_path)))  # type: ignore[attr-defined]
    run(pool, Listed(items(), note), lambda: 2)
    pool.dismiss()
    assert done == 50


def test_an_item_that_hangs_is_done_by_another_worker_as_well(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def limit() -> int:
        if (tmp_path / "3-0").exists():
            # A node that hangs: the first try at item 3 takes minutes.
            monkeypatch.setattr(actor_pool, "SLOW_SECONDS", 1.0)
        return 2

    items = [{"number": n, "sleep": 300 if n == 3 else 0} for n in range(6)]
    done, failures = work(tmp_path, items, limit)
    assert done == {n: 2 * n for n in range(6)}
    assert not failures
    assert len(list(tmp_path.glob("3-*"))) == 2


def test_the_pool_grows_with_the_work_and_shrinks_without(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(actor_pool, "IDLE_SECONDS", 0.5)
    shape: list[int] = []

    class Patient(Listed[dict[str, Any]]):
        """Hands out items once two workers are there, and stays open until both have been ended."""

        def take(self) -> dict[str, Any] | None:
            return super().take() if max(shape) == 2 else None

        def open(self) -> bool:
            shape.append(pool.ready)
            return super().open() or pool.ready > 0

    pool: ActorPool[dict[str, Any]] = ActorPool(lambda: Clerk.remote(str(tmp_path)))  # type: ignore[attr-defined]
    source = Patient([{"number": n} for n in range(4)], lambda item, result: None, expected=4)
    run(pool, source, lambda: 2)
    assert len(list(tmp_path.iterdir())) == 4
    assert shape[-1] == 0


def test_an_item_that_raises_is_set_aside_with_its_reason(tmp_path: Path) -> None:
    items = [{"number": n, "raise": n == 2} for n in range(5)]
    done, failures = work(tmp_path, items)
    assert set(done) == {0, 1, 3, 4}
    (failure,) = failures
    assert failure.reason == "ValueError: no 2"
    assert len(list(tmp_path.glob("2-*"))) == 1


def test_a_pool_that_must_make_room_begins_nothing_more_and_ends_its_workers(
    tmp_path: Path,
) -> None:
    """While a training waits for CPUs, items at work are finished and workers end; then the work continues."""
    limit, ready_while_closed = 2, []
    done: list[int] = []

    class Watched(Listed[dict[str, Any]]):
        def open(self) -> bool:
            nonlocal limit
            if limit == 0:
                ready_while_closed.append((pool.ready, len(done)))
                if pool.ready == 0:
                    limit = 2
            return super().open()

    def note(item: dict[str, Any], result: int) -> None:
        nonlocal limit
        done.append(item["number"])
        if len(done) == 3:
            limit = 0

    pool: ActorPool[dict[str, Any]] = ActorPool(lambda: Clerk.remote(str(tmp_path)))  # type: ignore[attr-defined]
    run(pool, Watched([{"number": n, "sleep": 0.3} for n in range(12)], note), lambda: limit)
    pool.dismiss()
    assert sorted(done) == list(range(12))
    assert ready_while_closed[-1][0] == 0
    # What was at work, and what was begun before the pool was resized.
    assert ready_while_closed[-1][1] <= 3 + 2 * 2
