"""The queue that cuts shards, and the missing work that goes into it; no Ray, no clock: tests give seconds."""

from __future__ import annotations

import heapq
import threading
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from inversionlab.distributed.actor_pool import ActorPoolError
from inversionlab.distributed.shard_queue import FIRST, MEASURING, TOGETHER, PendingJobs, ShardQueue
from inversionlab.distributed.work_items import JUDGING, Shard, WorkContext, pending_jobs
from inversionlab.pipeline.cell import Cell
from inversionlab.pipeline.paces import Kind
from inversionlab.pipeline.session import Session, missing_jobs, stored_cells
from inversionlab.store.tables import Job
from tests import tiny
from tests.processes import HANG

Item = tuple[Any, ...]


def queue(*, seconds: float = 30.0, size: int = 64, workers: int = 1) -> ShardQueue[Item]:
    return ShardQueue(shard_seconds=seconds, shard_size=size, workers=workers)


def pending(
    count: int, name: str = "a", pace: str = "pace", expected: float = 1.0
) -> PendingJobs[Item]:
    """Jobs whose shards are the items ("a", ((0, 0), (1, 0), ...))."""
    kind = Kind(pace, expected=expected)
    return PendingJobs(((n, 0) for n in range(count)), count, kind, lambda jobs: (name, jobs))


def targets(item: Item | None) -> list[int]:
    assert item is not None
    return [target for target, _ in item[1]]


def shape(source: ShardQueue[Item], pace: float) -> list[int]:
    """Take and finish all items, each job in `pace` seconds; returns the shards' sizes."""
    found = []
    while (item := source.take()) is not None:
        found.append(len(item[1]))
        source.done(item, pace * found[-1])
    return found


def test_shards_are_as_large_as_the_measured_pace_says() -> None:
    source = queue(seconds=30, size=1000)
    source.put([], [pending(100)])
    # At 2 s a job, 15 of them take the wanted 30 s; FIRST is the size until that is known.
    assert shape(source, 2.0) == [FIRST, 15, 15, 15, 15, 15, 15, 2]


def test_shards_of_a_slow_attack_do_not_shrink_until_each_has_one_job() -> None:
    source = queue(seconds=30, size=1000)
    source.put([], [pending(80)])
    sizes = []
    # As networks are: a shard takes 30 s, and 4 s more for each of its jobs.
    while (item := source.take()) is not None:
        sizes.append(len(item[1]))
        source.done(item, 30.0 + 4.0 * sizes[-1])
    assert sizes == [TOGETHER] * 10


def test_jobs_that_take_very_long_are_shards_of_their_own() -> None:
    source = queue(seconds=30, size=1000)
    source.put([], [pending(FIRST + 10)])
    # Two take five times the wanted 30 s.
    assert shape(source, 70.0) == [FIRST, 2, 2, 2, 2, 2]
    slower = queue(seconds=30, size=1000)
    slower.put([], [pending(FIRST + 3)])
    assert shape(slower, 200.0) == [FIRST, 1, 1, 1]


def test_what_nothing_reads_comes_last_and_side_by_side() -> None:
    source = queue()
    request = source.put([("first",)], [pending(2)], last=[("l1",), ("l2",)])
    assert source.waiting() == 4
    assert source.take() == ("first",)
    assert source.take() is None, "the rest reads it"
    source.done(("first",), 1.0)
    shard = source.take()
    assert targets(shard) == [0, 1]
    # A shard that is still at work keeps nobody waiting, nor does one of the last.
    assert (source.take(), source.take()) == (("l1",), ("l2",))
    assert source.take() is None
    assert shard is not None
    for item in (("l2",), shard):
        source.done(item, 1.0)
    assert not request.finished.is_set()
    source.failed(("l1",), "it broke")
    assert request.finished.is_set()
    assert [failure.item for failure in request.failures] == [("l1",)]
    assert source.done_jobs == 2


def test_one_of_the_last_that_fails_leaves_the_others() -> None:
    source = queue()
    request = source.put([], [], last=[("l1",), ("l2",)])
    source.failed(source.take() or (), "it broke")
    assert source.take() == ("l2",)
    source.done(("l2",), 1.0)
    assert request.finished.is_set()


def test_a_measurement_that_fails_takes_what_reads_it_along() -> None:
    source = queue()
    request = source.put([("first",)], [pending(2)], last=[("l1",)])
    source.failed(source.take() or (), "it broke")
    assert source.take() is None
    assert request.finished.is_set()


def test_the_pace_follows_what_is_measured_by_half() -> None:
    source = queue(seconds=30, size=1000)
    source.put([], [pending(1000)])
    first, second, third = source.take(), None, None
    assert first is not None
    source.done(first, 1.0 * FIRST)
    second = source.take()
    assert len(targets(second)) == 30
    source.done(second, 5.0 * 30)
    # 0.5 * 1 s + 0.5 * 5 s = 3 s a job.
    third = source.take()
    assert len(targets(third)) == 10


def test_each_kind_of_work_has_a_pace_of_its_own() -> None:
    source = queue(seconds=30, size=1000)
    source.put([], [pending(FIRST, "slow", "slow"), pending(100, "quick", "quick")])
    slow = source.take()
    assert slow is not None
    source.done(slow, 30.0 * FIRST)
    quick = source.take()
    assert quick is not None
    assert (quick[0], len(quick[1])) == ("quick", FIRST)


def test_no_shard_is_larger_than_allowed_and_none_is_empty() -> None:
    source = queue(size=10)
    source.put([], [pending(35)])
    assert shape(source, 1e-12) == [FIRST, 10, 10, 7]
    source.put([], [pending(3)])
    # A job that takes longer than a shard should is a shard of its own.
    assert shape(source, 1e6) == [3]
    source.put([], [pending(3)])
    assert shape(source, 1e6) == [1, 1, 1]


def test_the_tail_is_shared_among_the_workers() -> None:
    source = queue(size=1000, workers=4)
    source.put([], [pending(FIRST), pending(20)])
    first = source.take()
    # 28 are left for four workers: seven each.
    assert len(targets(first)) == 7
    source.done(first, 0.007)
    # No worker takes all that is left: a quarter, then a quarter of what is left then, ...
    assert shape(source, 0.001) == [1, 5, 4, 3, 2, 2, 1, 1, 1, 1]


def test_every_job_is_handed_out_once_and_in_order() -> None:
    source = queue(size=7, workers=3)
    source.put([], [pending(50, "a"), pending(9, "b")])
    seen: dict[str, list[int]] = {"a": [], "b": []}
    items = 0
    while (item := source.take()) is not None:
        seen[item[0]] += targets(item)
        source.done(item, 0.5)
        items += 1
    assert seen == {"a": list(range(50)), "b": list(range(9))}
    assert (source.done_jobs, source.spent_seconds) == (59, 0.5 * items)


def test_the_first_request_is_served_first_but_no_worker_idles_for_it() -> None:
    source = queue(size=4)
    first = source.put([("measurement", 1)], [pending(8, "first")])
    second = source.put([], [pending(4, "second")])
    measurement = source.take()
    assert measurement == ("measurement", 1)
    # The first request waits for its measurement; the second need not.
    other = source.take()
    assert other is not None
    assert other[0] == "second"
    assert source.take() is None
    source.done(measurement, 1.0)
    assert [source.take()[0], source.take()[0]] == ["first", "first"]  # type: ignore[index]
    source.done(other, 1.0)
    assert second.finished.is_set()
    assert not first.finished.is_set()


def test_all_measurements_are_done_before_the_first_shard() -> None:
    source = queue()
    source.put([("measurement", 1), ("measurement", 2)], [pending(4)])
    one, two = source.take(), source.take()
    assert (one, two) == (("measurement", 1), ("measurement", 2))
    source.done(one, 1.0)
    assert source.take() is None
    source.done(two, 1.0)
    assert targets(source.take()) == [0, 1, 2, 3]


def test_a_measurement_that_fails_ends_its_request_but_no_other() -> None:
    source = queue()
    bad = source.put([("measurement", 1), ("measurement", 2)], [pending(4)])
    good = source.put([], [pending(4, "good")])
    source.failed(source.take(), "no such network")  # type: ignore[arg-type]
    (failure,) = bad.wait()
    assert (failure.item, failure.reason) == (("measurement", 1), "no such network")
    assert shape(source, 1.0) == [4]
    assert good.wait() == []


def test_a_measurement_that_fails_while_another_is_at_work() -> None:
    source = queue()
    request = source.put([("measurement", 1), ("measurement", 2)], [pending(4)])
    one, two = source.take(), source.take()
    assert one is not None
    assert two is not None
    source.failed(one, "broken")
    assert not request.finished.is_set()
    assert source.take() is None
    source.done(two, 1.0)
    assert [f.item for f in request.wait()] == [one]


def test_a_shard_that_fails_does_not_end_its_request() -> None:
    source = queue(size=2)
    request = source.put([], [pending(6)])
    source.failed(source.take(), "poison")  # type: ignore[arg-type]
    assert shape(source, 1.0) == [2, 2]
    assert [targets(f.item) for f in request.wait()] == [[0, 1]]
    assert source.done_jobs == 4


def test_jobs_are_drawn_only_when_a_shard_is_taken() -> None:
    drawn = 0

    def jobs() -> Iterator[Job]:
        nonlocal drawn
        for number in range(100_000):
            drawn += 1
            yield number, 0

    source = queue(size=5)
    source.put([], [PendingJobs(jobs(), 100_000, Kind("pace"), lambda cut: ("lazy", cut))])
    assert source.waiting() == 100_000 / 5
    assert drawn == 0
    for number in range(1, 4):
        source.take()
        assert drawn == 5 * number


def test_what_waits_is_counted_in_shards() -> None:
    source = queue(size=10)
    assert source.waiting() == 0
    source.put([("measurement", 1)], [pending(16), pending(3)])
    # FIRST = 8 while the pace is unknown: 2 shards and 1, and the measurement.
    assert source.waiting() == 4


def test_nothing_to_do_is_done_at_once() -> None:
    source = queue()
    assert source.put([], []).wait() == []
    assert source.put([], [pending(0)]).wait() == []
    assert source.take() is None


def test_the_caller_hears_what_is_done() -> None:
    source = queue(size=4)
    heard: list[tuple[int, float]] = []
    source.put(
        [("measurement", 1)], [pending(6)], lambda jobs, seconds: heard.append((jobs, seconds))
    )
    source.done(source.take(), 0.5)  # type: ignore[arg-type]
    shape(source, 2.0)
    assert heard == [(0, 0.5), (4, 8.0), (2, 4.0)]


def test_a_queue_is_open_until_it_is_closed_and_empty() -> None:
    source = queue()
    assert source.open()
    source.put([], [pending(2)])
    source.close()
    assert source.open()
    item = source.take()
    assert source.open()
    assert item is not None
    source.done(item, 1.0)
    assert not source.open()


def test_giving_up_wakes_all_callers_that_wait() -> None:
    source = queue()
    requests = [source.put([], [pending(5)]), source.put([("measurement", 1)], [pending(5)])]
    source.take()
    ends: list[str] = []

    def wait(request: Any) -> None:
        try:
            request.wait()
        except ActorPoolError as error:
            ends.append(str(error))

    waiting = [threading.Thread(target=wait, args=(request,)) for request in requests]
    for thread in waiting:
        thread.start()
    source.give_up(ActorPoolError("they all died"))
    for thread in waiting:
        thread.join(HANG)
    assert ends == ["they all died"] * 2
    assert source.take() is None
    assert not source.open()
    # A later caller does not wait for a pool that has given up.
    with pytest.raises(ActorPoolError, match="they all died"):
        source.put([], [pending(5)]).wait()


def test_nothing_is_put_into_a_closed_queue() -> None:
    source = queue()
    source.close()
    with pytest.raises(ActorPoolError, match="dismissed"):
        source.put([], [pending(5)]).wait()


def test_many_threads_put_while_others_work() -> None:
    source = queue(size=3)
    taken: list[tuple[str, int]] = []
    over = threading.Event()

    def work() -> None:
        while True:
            # Read before the queue is asked, so what was put before the end is still taken.
            last = over.is_set()
            item = source.take()
            if item is None and last:
                return
            if item is not None:
                taken.extend((item[0], target) for target in targets(item))
                source.done(item, 0.001)

    def request_work(name: str) -> None:
        for part in range(20):
            assert source.put([], [pending(10, f"{name}{part}")]).wait() == []

    workers = [threading.Thread(target=work) for _ in range(3)]
    callers = [threading.Thread(target=request_work, args=(name,)) for name in "xyz"]
    for thread in [*workers, *callers]:
        thread.start()
    for thread in callers:
        thread.join(HANG)
    over.set()
    for thread in workers:
        thread.join(HANG)
    expected = [(f"{name}{part}", n) for name in "xyz" for part in range(20) for n in range(10)]
    assert sorted(taken) == sorted(expected)
    assert source.done_jobs == 600


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("storage")


@pytest.fixture(scope="module")
def session(root: Path) -> Session:
    """Repeats 3, 4 and 5; nothing is trained."""
    return tiny.session(root, **{"targets.repeats": 3, "targets.first_repeat": 3})


def store(session: Session, cell: Cell, jobs: list[Job]) -> None:
    session.store.write_shard(
        cell.id, [{"cell": cell.id, "target": t, "repeat": r} for t, r in jobs]
    )


def test_all_jobs_of_an_empty_store_are_missing_in_the_order_of_the_targets(
    session: Session,
) -> None:
    jobs, count = missing_jobs(session, session.plan.cells[0], (7, 2))
    assert list(jobs) == [(7, 3), (7, 4), (7, 5), (2, 3), (2, 4), (2, 5)]
    assert count == 6


def test_only_what_the_store_lacks_is_missing(session: Session) -> None:
    cell, other = session.plan.cells[1:3]
    store(session, cell, [(7, 4)])
    store(session, cell, [(2, 5), (2, 3)])
    # Rows of another run: other repeats, another target.
    store(session, cell, [(7, 0), (7, 6), (9, 3)])
    jobs, count = missing_jobs(session, cell, (7, 2))
    assert list(jobs) == [(7, 3), (7, 5), (2, 4)]
    assert count == 3
    # Rows of one cell do not count for another.
    assert missing_jobs(session, other, (7, 2))[1] == 6


def test_a_finished_cell_has_nothing_missing(session: Session) -> None:
    cell = session.plan.cells[3]
    store(session, cell, [(7, repeat) for repeat in (3, 4, 5)])
    jobs, count = missing_jobs(session, cell, (7,))
    assert (list(jobs), count) == ([], 0)


def test_pictures_that_other_evaluators_have_judged_are_work_of_their_own(root: Path) -> None:
    judge = tiny.RECIPE["evaluators"][1]
    changed = {"targets.repeats": 3, "targets.first_repeat": 3}
    before = tiny.session(root, evaluators=[judge], **changed)
    after = tiny.session(root, **changed)
    old, new = before.plan.cells[-1], after.plan.cells[-1]
    assert old.id in new.judged_otherwise
    store(before, old, [(2, 4), (7, 4)])
    store(before, old, [(2, 3)])
    context = WorkContext(after.spec, after.plan.data_id, None, {})
    judged, attacked = pending_jobs(after, new, (7, 2), context, stored_cells(after))
    # At another pace, and without asking the model; each file is read for one shard.
    assert (judged.kind, judged.asks, judged.left) == (JUDGING, False, 3)
    assert attacked.kind != JUDGING
    assert list(attacked.jobs) == [(7, 3), (7, 5), (2, 5)]
    jobs = tuple(judged.jobs)
    assert {jobs[:2], jobs[1:]} & {((2, 4), (7, 4))}
    item = judged.make_item(jobs[:2])
    assert isinstance(item, Shard)
    assert len(item.files) == (1 if jobs[:2] == ((2, 4), (7, 4)) else 2)
    # Where nothing is stored, there is one kind of work.
    (alone,) = pending_jobs(after, after.plan.cells[2], (7, 2), context, stored_cells(after))
    assert alone.asks
    assert alone.left == 6


@pytest.mark.parametrize(("count", "others"), [(1, 0), (2, 3), (4, 63), (5, 30)])
def test_how_many_other_choices_of_evaluators_are_looked_for(
    root: Path, count: int, others: int
) -> None:
    judge = tiny.RECIPE["evaluators"][1]
    judges = [{**judge, "name": f"j{n}"} for n in range(count)]
    cell = tiny.session(root, evaluators=judges).plan.cells[0]
    assert len(set(cell.judged_otherwise) - {cell.id}) == len(cell.judged_otherwise) == others


def test_skipped_people_are_not_attacked(root: Path) -> None:
    first = tiny.session(root, **{"targets.count": 4}).plan.targets
    rest = tiny.session(root, **{"targets.count": 2, "targets.skip": 4})
    jobs, count = missing_jobs(rest, rest.plan.cells[0], rest.plan.targets)
    # Of six private people two are left when four are skipped.
    assert {target for target, _ in jobs} == set(range(6)) - set(first)
    assert count == 2 * 2


def test_a_lasting_failure_ends_whatever_else_asks_the_model() -> None:
    source: ShardQueue[Item] = ShardQueue(
        shard_seconds=1e9, shard_size=1, lasting=("BudgetError", "EndpointError")
    )
    free = replace(pending(2, "free"), asks=False)
    request = source.put([("measurement", 1), ("measurement", 2)], [pending(4), free])
    source.failed(source.take(), "BudgetError: spent")  # type: ignore[arg-type]
    # Another measurement may ask nothing, and is done.
    second = source.take()
    assert second == ("measurement", 2)
    source.done(second, 1.0)
    shards = [source.take() for _ in range(2)]
    assert shards == [("free", ((0, 0),)), ("free", ((1, 0),))]
    assert source.take() is None
    for shard in shards:
        assert shard is not None
        source.done(shard, 1.0)
    assert [failure.reason for failure in request.wait()] == ["BudgetError: spent"]
    source.put([], [pending(3)])
    source.failed(source.take(), "ValueError: BudgetError")  # type: ignore[arg-type]
    assert targets(source.take()) == [1]


def test_the_time_left_is_that_of_each_kind_of_job_and_not_of_the_mean() -> None:
    source = queue(seconds=1000, size=10)
    slow = pending(20, "slow", "slow", expected=8.0)
    fast = pending(40, "fast", "fast", expected=0.5)
    source.put([], [fast, slow])
    assert source.seconds_left() is None, "nothing was measured"
    item = source.take()
    source.done(item, len(targets(item)) * 1.0)
    # Of the fast ones FIRST are done, each in 1 s and not in 0.5. Planned seconds count for 0.1 more, so all take
    # (1 + 0.1) / (0.5 + 0.1) times longer than planned: the slow ones 8 * 11 / 6 s.
    assert source.seconds_left() == pytest.approx((40 - FIRST) * 1.0 + 20 * 8.0 * 11 / 6)
    while (item := source.take()) is not None and item[0] == "fast":
        source.done(item, len(targets(item)) * 1.0)
    source.done(item, len(targets(item)) * 3.0)
    # Now they are measured too: 3 s each.
    assert source.seconds_left() == pytest.approx((20 - FIRST) * 3.0)
    source.workers = 2
    assert source.seconds_left() == pytest.approx((20 - FIRST) * 3.0 / 2)


def test_the_time_left_holds_what_is_at_work_and_what_comes_last(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("inversionlab.distributed.shard_queue.time.monotonic", lambda: 0.0)
    source = queue(seconds=1000, size=100)
    source.put([], [pending(FIRST + 4)], last=[("last",)])
    source.done(source.take(), FIRST * 2.0)
    slower = (2.0 + 0.1) / (1.0 + 0.1)
    assert source.seconds_left() == pytest.approx(4 * 2.0 + slower * MEASURING)
    shard = source.take()
    assert source.seconds_left() == pytest.approx(4 * 2.0 + slower * MEASURING)
    source.workers = 100
    # Many workers do not shorten what one of them does.
    assert source.seconds_left() == pytest.approx(4 * 2.0)
    source.done(shard, 8.0)
    source.done(source.take(), 5.0)
    assert source.seconds_left() == 0.0


def test_each_attack_and_then_each_kind_is_begun_early_and_the_rest_comes_in_order() -> None:
    source = queue(seconds=30, size=1000)

    def of(attack: str, model: str) -> PendingJobs[Item]:
        key = f"{attack} on {model}"
        return replace(pending(10, key), kind=Kind(key, attack, model))

    cells = [of("a", "none"), of("a", "dummy"), of("b", "none"), of("b", "dummy")]
    source.put([], [*cells, pending(1, "of none")])
    taken = []
    while (item := source.take()) is not None:
        taken.append((item[0], len(item[1])))
        source.done(item, 3.0 * len(item[1]))
    assert taken == [
        ("a on none", FIRST),
        ("b on none", FIRST),
        ("a on dummy", FIRST),
        ("b on dummy", FIRST),
        ("a on none", 2),
        ("a on dummy", 2),
        ("b on none", 2),
        ("b on dummy", 2),
        ("of none", 1),
    ]


# Seconds of a reconstruction in a demo on two quiet cores, by attack and model: undefended, and the dummy at four
# values of alpha. What was planned is from another data set.
DEMO = {
    "random_latent": (0.02, (0.002,)),
    "random_public": (0.02, (0.001,)),
    "pixel_gray_box": (0.1, (0.068, 0.417, 0.255, 0.253, 0.246)),
    "latent_white_box": (0.2, (0.065, 0.563, 0.532, 0.427, 0.201)),
    "multi_mode": (3.8, (0.446, 1.696, 0.955, 0.864, 1.673)),
}


def test_the_time_left_of_a_demo_is_about_right_from_early_on(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    now = 0.0
    monkeypatch.setattr("inversionlab.distributed.shard_queue.time.monotonic", lambda: now)
    source = queue(seconds=30, size=512, workers=2)
    work = []
    for attack, (planned, paces) in DEMO.items():
        for place, pace in enumerate(paces):
            model = "dummy" if place else "none"
            kind = Kind(f"{attack} {place}", attack, model, planned)
            work.append(
                PendingJobs(
                    ((n, 0) for n in range(16)),
                    16,
                    kind,
                    lambda jobs, attack=attack, place=place, pace=pace: (
                        *(attack, place, jobs),
                        len(jobs) * pace,
                    ),
                )
            )
    source.put([], work)
    busy: list[tuple[float, Item]] = []
    said: list[tuple[float, float]] = []
    more = True
    while more:
        while len(busy) < 2 and (item := source.take()) is not None:
            heapq.heappush(busy, (now + item[3], item))
        if not busy:
            break
        now, item = heapq.heappop(busy)
        source.done(item, item[3])
        if (left := source.seconds_left()) is not None:
            said.append((now, left))
    assert now == pytest.approx(70, abs=10), "two workers for 138 s of work"

    def ratio(share: float) -> float:
        then, left = [each for each in said if each[0] <= share * now][-1]
        return left / (now - then)

    # Before attacks were begun early and models compared, the first two were above 4; before kinds were begun
    # early, the last was 1.7.
    assert [ratio(share) for share in (0.1, 0.25, 0.5, 0.75)] == [pytest.approx(1, abs=0.2)] * 4
