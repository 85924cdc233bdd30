"""Pictures by row: whatever is read through parts, selections and joins equals a tensor's own rows."""

from __future__ import annotations

import weakref
from collections.abc import Iterator

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from inversionlab.core.rows import Parts, PictureRows, ahead, gathered, join, rows_of, select, table

SHAPE = (1, 2, 2)


def pictures(count: int, first: int = 0) -> Tensor:
    """Pictures whose pixels are their numbers."""
    return (torch.arange(count) + first).view(-1, 1, 1, 1).expand(-1, *SHAPE).to(torch.uint8)


def cut(whole: Tensor, counts: list[int]) -> PictureRows:
    pieces = whole.split(counts)
    return PictureRows(Parts(counts, SHAPE, pieces.__getitem__))


def scattered(whole: Tensor, counts: list[int], place: list[int]) -> PictureRows:
    """The same pictures, of which row i lies at `place[i]` in the parts."""
    mixed = torch.empty_like(whole)
    mixed[place] = whole
    pieces = mixed.split(counts)
    return PictureRows(Parts(counts, SHAPE, pieces.__getitem__, torch.tensor(place)))


@given(st.data())
def test_rows_may_lie_in_another_order(data: st.DataObject) -> None:
    sizes = data.draw(st.lists(st.integers(1, 5), min_size=1, max_size=5))
    whole = pictures(sum(sizes))
    rows = scattered(whole, sizes, data.draw(st.permutations(range(sum(sizes)))))
    assert torch.equal(rows[:], whole)
    assert torch.equal(torch.cat(list(rows.split(2))), whole)
    chosen = torch.tensor(data.draw(st.lists(st.integers(0, len(whole) - 1), min_size=1)))
    assert torch.equal(rows.select(chosen)[:], whole[chosen])


counts = st.lists(st.integers(0, 5), min_size=1, max_size=6)


@given(counts, st.data())
def test_rows_are_those_of_the_whole(sizes: list[int], data: st.DataObject) -> None:
    whole = pictures(sum(sizes))
    rows, total = cut(whole, sizes), sum(sizes)
    assert len(rows) == total
    assert rows.shape == whole.shape
    assert torch.equal(rows[:], whole)
    if total:
        chosen = torch.tensor(
            data.draw(st.lists(st.integers(-total, total - 1), max_size=9)), dtype=torch.int64
        )
        assert torch.equal(rows[chosen], whole[chosen])
        mask_N = torch.tensor(data.draw(st.lists(st.booleans(), min_size=total, max_size=total)))
        assert torch.equal(rows[mask_N], whole[mask_N])
        again = select(rows, mask_N)
        assert isinstance(again, PictureRows)
        assert torch.equal(again[:], whole[mask_N])
        one = data.draw(st.integers(-total, total - 1))
        assert torch.equal(rows[one], whole[one])
    assert [len(part) for part in rows.split(2)] == [len(part) for part in whole.split(2)]
    assert torch.equal(torch.cat(list(rows.split(2))), whole)
    assert [int(x[0, 0, 0]) for x in rows] == list(range(total))


@given(counts, counts)
def test_joined_sets_follow_one_another(first: list[int], second: list[int]) -> None:
    whole = pictures(sum(first)), pictures(sum(second), 100)
    rows = cut(whole[0], first), cut(whole[1], second)
    expected = torch.cat(whole)
    for parts in (rows, (rows[0], whole[1]), (whole[0], rows[1])):
        joined = join(parts)
        assert joined.shape == expected.shape
        assert torch.equal(joined[torch.arange(len(expected)).flip(0)], expected.flip(0))
    assert isinstance(join(whole), Tensor)


def test_a_part_is_opened_when_it_is_needed_and_once() -> None:
    opened: list[int] = []
    whole = pictures(6)

    def open_part(number: int) -> Tensor:
        opened.append(number)
        return whole[2 * number :][:2]

    rows = PictureRows(Parts([2, 2, 2], SHAPE, open_part))
    few = rows.select(torch.tensor([5, 0]))
    assert not opened
    assert torch.equal(few[:], whole[[5, 0]])
    assert torch.equal(rows[4:6], whole[4:6])
    assert sorted(opened) == [0, 2]


@pytest.mark.parametrize("batches", [[], [[3]], [[0, 5], [1], [2, 2, 4]]])
def test_batches_are_read_in_order_and_one_ahead(batches: list[list[int]]) -> None:
    whole, asked = pictures(6), []

    def rows() -> Iterator[Tensor]:
        for batch in batches:
            asked.append(batch)
            yield torch.tensor(batch)

    for images in (whole, cut(whole, [4, 2])):
        asked.clear()
        for place, (row_B, x_BCHW) in enumerate(ahead(images, rows())):
            assert row_B.tolist() == batches[place]
            assert torch.equal(x_BCHW, whole[row_B])
            ahead_by = 0 if isinstance(images, Tensor) else 1
            assert len(asked) == min(place + 1 + ahead_by, len(batches))
        assert len(asked) == len(batches)


def test_a_row_that_is_not_there_is_refused() -> None:
    with pytest.raises(IndexError):
        cut(pictures(4), [2, 2])[torch.tensor([4])]


def test_a_large_table_lies_in_a_file_that_vanishes(monkeypatch: pytest.MonkeyPatch) -> None:
    small, large = table(4, 5), None
    monkeypatch.setattr("inversionlab.core.rows._IN_MEMORY", 16)
    large = table(4, 5)
    for made in (small, large):
        made[:] = torch.arange(20.0).view(4, 5)
        assert made.dtype == torch.float32
        assert torch.equal(made[[3, 0], 1], torch.tensor([16.0, 1.0]))


@given(st.lists(st.integers(0, 6), max_size=30))
def test_the_rows_of_each_owner(owners: list[int]) -> None:
    owner_N = torch.tensor(owners, dtype=torch.int64)
    found = rows_of(owner_N, 8)
    assert [rows.tolist() for rows in found] == [
        [i for i, owner in enumerate(owners) if owner == wanted] for wanted in range(8)
    ]


@given(st.lists(st.integers(0, 5), min_size=1, max_size=5))
def test_gathered_parts_follow_one_another(sizes: list[int]) -> None:
    whole = torch.randn(sum(sizes), 3)
    assert torch.equal(gathered(iter(whole.split(sizes)), len(whole)), whole)


def test_gathered_parts_are_not_kept() -> None:
    made: list[weakref.ref[Tensor]] = []

    def parts() -> Iterator[Tensor]:
        for number in range(5):
            assert all(part() is None for part in made[:-1])
            made.append(weakref.ref(part := torch.full((2,), number)))
            yield part
            del part

    assert gathered(parts(), 10).tolist() == [0, 0, 1, 1, 2, 2, 3, 3, 4, 4]


def test_nothing_cannot_be_gathered() -> None:
    with pytest.raises(ValueError, match="no parts"):
        gathered(iter([]), 0)
