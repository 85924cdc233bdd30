"""Success against seconds: points, pooling, and the ratio at equal success, by hand."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

import pytest
import torch
from benchmarks.peers.curves import Curve, Snapshot, equal_success, paired_ratio, seconds_to
from benchmarks.peers.networks import Pause
from benchmarks.peers.rounds import followed
from torch import Tensor


def curve(*points: tuple[float, list[int]], cut: bool = False) -> Curve:
    return Curve(tuple(Snapshot(10 * s, s, torch.tensor(ranks)) for s, ranks in points), cut)


def test_time_to_a_success_is_linear_between_points() -> None:
    levels = [(1.0, 0.1), (2.0, 0.3), (4.0, 0.7)]
    assert seconds_to(levels, 0.5) == pytest.approx(3.0)
    assert seconds_to(levels, 0.3) == pytest.approx(2.0)
    assert seconds_to(levels, 0.05) == 1.0, "before its first point nothing is known"
    assert seconds_to(levels, 0.8) == math.inf
    # What was reached once counts: from 0.4, at the second point's time, to 0.6.
    assert seconds_to([(1.0, 0.4), (2.0, 0.2), (3.0, 0.6)], 0.5) == pytest.approx(2.5)


def test_the_ratio_is_taken_at_the_largest_common_success() -> None:
    theirs = [(1.0, 0.1), (2.0, 0.3), (4.0, 0.7)]
    ours = [(0.5, 0.0), (1.0, 0.4), (1.5, 0.5)]
    found = equal_success(theirs, ours)
    assert (found.value, found.level, found.bound) == (pytest.approx(3.0 / 1.5), 0.5, False)
    # The other way round it is the inverse.
    assert equal_success(ours, theirs).value == pytest.approx(0.5)


def test_success_must_lie_above_chance() -> None:
    nobody, somebody = [(4.0, 0.0), (10.0, 0.1)], [(1.0, 0.0), (2.0, 0.5), (3.0, 0.6)]
    ended = equal_success(nobody, somebody, chance=0.1)
    assert (ended.value, ended.bound) == (math.inf, False)
    cut = equal_success(nobody, somebody, chance=0.1, cut=True)
    assert (cut.value, cut.bound) == (pytest.approx(10 / 2), True)
    assert equal_success(somebody, nobody, chance=0.1).value == 0.0
    assert math.isnan(equal_success(nobody, nobody, chance=0.1).value)
    # 0.1 at 10 s against 0.1 at 1.2 s.
    assert equal_success(nobody, somebody).value == pytest.approx(10 / 1.2)


def test_success_counts_ranks_with_a_wilson_interval() -> None:
    made = curve((1.0, [9, 9, 9, 9]), (2.0, [1, 4, 5, 6]))
    assert made.success(1).value == 0.25
    assert made.success(5).value == 0.75
    assert 0.25 < made.success(5).low < 0.75 < made.success(5).high < 1
    assert made.levels(5) == [(1.0, 0.0), (2.0, 0.75)]
    assert made.levels(5, torch.tensor([3, 3])) == [(1.0, 0.0), (2.0, 0.0)]


def test_rounds_are_pooled_by_point_and_one_that_ended_stays_at_its_end() -> None:
    long, short = curve((1.0, [9]), (2.0, [1]), (3.0, [2]), cut=True), curve((3.0, [7]), (6.0, [8]))
    pooled = Curve.pooled([long, short])
    assert [p.seconds for p in pooled.points] == [2.0, 4.0, 4.5]
    assert [p.rank_N.tolist() for p in pooled.points] == [[9, 7], [1, 8], [2, 8]]
    assert pooled.cut
    assert pooled.targets == 2


def test_an_interval_draws_the_same_targets_for_both() -> None:
    # Ours is twice as fast with the same ranks, so the ratio is 2 for any draw of targets that has a success.
    ranks = [[9] * 6, [1, 9, 9, 2, 9, 9], [1, 1, 9, 2, 3, 9]]
    theirs = curve(*zip((2.0, 4.0, 8.0), ranks, strict=True))
    ours = curve(*zip((1.0, 2.0, 4.0), ranks, strict=True))
    found = paired_ratio(theirs, ours, 5, 60)
    assert found.level == pytest.approx(4 / 6)
    assert (found.value, found.low, found.high) == pytest.approx((2.0, 2.0, 2.0))


class Rank:
    """An evaluator that ranks a target by its picture's only pixel."""

    def ranks(self, images_NCHW: Tensor, targets: list[int]) -> Tensor:
        return images_NCHW.flatten().long() + torch.tensor(targets)


def walk(steps: int, made: list[int]) -> Iterator[Pause]:
    for step in range(1, steps + 1):
        made.append(step)
        yield Pause(2 * step, lambda step=step: torch.full((2, 1, 1, 1), float(step)))


def test_a_loop_is_looked_at_on_the_way_and_at_its_end() -> None:
    judge: Any = Rank()
    found, steps = followed(walk(10, []), judge, torch.tensor([100, 200]))
    # 1, and then 1.5 times as many, rounded up; the end always.
    assert [p.rank_N.tolist() for p in found.points] == [
        [100 + step, 200 + step] for step in (1, 2, 3, 5, 8, 10)
    ]
    assert [p.updates for p in found.points] == [2, 4, 6, 10, 16, 20]
    assert steps == 10
    assert not found.cut
    spent = [p.seconds for p in found.points]
    assert all(s >= 0 for s in spent)


@pytest.mark.parametrize(("most", "points", "cut"), [(6, [1, 2, 3, 5, 6], True), (10, None, False)])
def test_a_loop_is_cut_off_where_it_is_told(most: int, points: list[int] | None, cut: bool) -> None:
    judge: Any = Rank()
    found, steps = followed(walk(10, []), judge, torch.tensor([0, 0]), most_pauses=most)
    assert steps == most
    assert found.cut == cut, "only a loop that would have gone on is cut off"
    assert [int(p.rank_N[0]) for p in found.points] == (points or [1, 2, 3, 5, 8, 10])
    made: list[int] = []
    found, steps = followed(walk(10, made), judge, torch.tensor([0, 0]), most_seconds=0.0)
    assert (steps, found.cut, len(found.points)) == (1, True, 1)
