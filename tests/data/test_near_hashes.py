from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest
from numpy.typing import NDArray

from inversionlab.data.near_hashes import Table, near_pairs, soonest, ways

Hashes = NDArray[np.uint64]


def planted(seed: int, queries: int, rows: int) -> tuple[Hashes, Hashes]:
    """Hashes, and others that differ from them in 0 to 15 bits; some of both are there more than once."""
    stream = np.random.default_rng(seed)
    first = stream.integers(0, 2**64, queries, dtype=np.uint64)
    first[: queries // 10] = first[-(queries // 10) :]
    flips = stream.integers(0, 16, rows)
    masks = [sum(1 << int(b) for b in stream.choice(64, flip, replace=False)) for flip in flips]
    return first, first[stream.integers(0, queries, rows)] ^ np.array(masks, dtype=np.uint64)


def by_force(first: Hashes, second: Hashes, bits: int) -> set[tuple[int, int]]:
    return {
        (i, j)
        for i, a in enumerate(first.tolist())
        for j, b in enumerate(second.tolist())
        if (a ^ b).bit_count() <= bits
    }


def found(
    first: Hashes, second: Hashes, bits: int, tables: Sequence[Table] | None = None
) -> list[tuple[int, int]]:
    return [
        pair
        for left, right in near_pairs(first, second, bits, tables)
        for pair in zip(left.tolist(), right.tolist(), strict=True)
    ]


@pytest.mark.parametrize("bits", [0, 1, 2, 3, 6, 11])
def test_every_pair_within_the_bits_is_found_once_and_no_other(bits: int) -> None:
    first, second = planted(bits, 60, 300)
    expected = by_force(first, second, bits)
    assert len(expected) > 10
    for tables in ways(bits):
        pairs = found(first, second, bits, tables)
        assert set(pairs) == expected
        assert len(pairs) == len(expected)
    assert set(found(first, second, bits)) == expected


@pytest.mark.parametrize("bits", range(12))
def test_there_is_a_way_for_all_numbers_of_bits(bits: int) -> None:
    for queries, rows in [(1, 1), (100, 10**6), (10**6, 10**6), (10**8, 10**8)]:
        assert soonest(bits, queries, rows) in ways(bits)


def test_the_more_hashes_the_longer_the_keys() -> None:
    lengths = [min(t.mask.bit_count() for t in soonest(6, n, n)) for n in (10**3, 10**5, 10**7)]
    assert lengths == sorted(lengths)
    assert lengths[0] < lengths[-1]


def test_few_hashes_among_many_are_not_sorted_into_hundreds_of_tables() -> None:
    assert len(soonest(6, 1000, 10**6)) <= 4


def test_one_hash_of_thousands_of_rows_is_compared_with_some_of_them() -> None:
    same = np.full(6000, 7, dtype=np.uint64)
    pairs = found(same[:2], same, 6)
    assert len(pairs) == len(set(pairs)) == 2 * 4096
    assert not found(same[:0], same, 6)
    assert not found(same, same[:0], 6)
