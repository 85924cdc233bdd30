"""Continuous batching: the batch is kept full, rows are independent of their company, the width is measured."""

from __future__ import annotations

from dataclasses import dataclass, replace

import pytest
import torch
from torch import Tensor

from inversionlab.attacks.engine import TRIALS, InFlight, Width, by_step, keep_full


@dataclass
class _Counting(InFlight):
    need_L: Tensor


def work(need: list[int], width: Width, pictures: int = 1) -> tuple[list[list[int]], list[int]]:
    """Rows that are done after `need` steps: who was in flight at each step, and in what order they left."""
    steps: list[list[int]] = []
    left: list[int] = []

    def judge(flying: _Counting) -> tuple[_Counting, Tensor]:
        steps.append(flying.row_L.tolist())
        return flying, flying.step_L == flying.need_L

    def leave(done: _Counting) -> None:
        assert torch.equal(done.step_L, done.need_L)
        left.extend(done.row_L.tolist())

    keep_full(
        torch.arange(len(need)),
        width,
        enter=lambda row_L: _Counting(row_L, torch.zeros_like(row_L), torch.tensor(need)[row_L]),
        judge=judge,
        move=lambda flying: replace(flying, step_L=flying.step_L + 1),
        leave=leave,
        pictures=pictures,
    )
    return steps, left


def test_when_a_row_leaves_the_next_one_enters() -> None:
    steps, left = work([0, 2, 0, 1], Width((2,)))
    assert steps == [[0, 1], [1, 2], [1, 3], [3]]
    assert left == [0, 2, 1, 3]


@pytest.mark.parametrize(
    ("width", "pictures", "rows"), [(1, 1, 1), (7, 1, 7), (64, 32, 2), (8, 32, 1)]
)
def test_as_many_rows_are_in_flight_as_the_width_has_pictures_for(
    width: int, pictures: int, rows: int
) -> None:
    steps, left = work([1] * 20, Width((width,)), pictures)
    assert max(len(step) for step in steps) == rows
    assert sorted(left) == list(range(20))


def test_the_width_grows_while_a_picture_gets_cheaper_and_steps_back_once() -> None:
    width = Width((8, 16, 32, 64))
    cost = {8: 4.0, 16: 3.0, 32: 2.95, 64: 1.0}  # 64 is never tried: 32 saves too little
    seen = []
    while not width.measured:
        seen.append(width.pictures)
        width.saw(width.pictures, cost[width.pictures] * width.pictures)
    assert seen == [8] * TRIALS + [16] * TRIALS + [32] * TRIALS
    assert width.pictures == 16


def test_the_largest_width_is_kept_where_it_is_the_best() -> None:
    width = Width((8, 16))
    while not width.measured:
        width.saw(width.pictures, 1.0)
    assert width.pictures == 16


def test_a_batch_that_is_not_full_says_nothing_about_its_width() -> None:
    width = Width((8, 16))
    for _ in range(10 * TRIALS):
        width.saw(3, 0.001)
    assert width.pictures == 8
    assert not width.measured


def test_what_belongs_to_a_step_is_made_once_and_handed_to_its_rows() -> None:
    made: list[int] = []

    def make(step: int) -> Tensor:
        made.append(step)
        return torch.tensor([step, 10 * step])

    rows = by_step(torch.tensor([3, 1, 3]), make)
    assert rows.tolist() == [[3, 30], [1, 10], [3, 30]]
    assert made == [3, 1]
