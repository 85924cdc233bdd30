"""Pairs of 64-bit hashes that differ in few bits, all of them, without comparing each with each.

Hashes are sorted by some of their bits, and those with one key are compared. There are two kinds of keys. If a
pair differs in at most k bits, then of b bands of bits one differs in at most (k - b + 1) / b of them, rounded up
or down, and is looked for at all keys that differ in so few (Norouzi, Punjani, Fleet 2012, "Fast Search in Hamming
Space with Multi-Index Hashing"). And of m blocks of bits all but k are equal, so that each choice of m - k blocks
is the key of a table. Longer keys need more tables and have fewer hashes each: the more hashes, the longer the
keys.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import combinations, pairwise
from math import comb

import numpy as np
from numpy.typing import NDArray

_HASH = 64
_SORT, _LOOK, _MEET = 1.5e-7, 2e-7, 2e-8
"""Seconds to sort a hash into a table, to look for one, and to compare it with one of its key, about."""
_TOLD = 0.75
"""How much a bit of a hash tells, since those of a picture depend on each other: two of the 13,233 faces of LFW
agree in 21 neighbouring bits as often as they would in 16 random ones."""
_MANY = 1000
"""The most tables, and the most places of theirs in which one hash is looked for."""
_EXPANDED = 1 << 22
"""Candidates at once."""
_MOST = 4096
"""Rows of one hash that are compared: a set of flat pictures would be compared with itself."""


@dataclass(frozen=True)
class Table:
    """Hashes by some of their bits, in which near ones agree, or differ in few."""

    mask: int
    """The bits."""
    within: int
    """In how many of them a pair may differ that is met here."""
    unless: tuple[tuple[int, int], ...]
    """Bits and numbers: a pair that differs in no more of them was met before."""

    @property
    def places(self) -> int:
        """In how many places of it a hash is looked for."""
        return sum(comb(self.mask.bit_count(), count) for count in range(self.within + 1))


def _bits(begin: int, end: int) -> int:
    """A number with these bits set."""
    return (1 << end) - (1 << begin)


def _cut(count: int) -> list[int]:
    """64 bits in neighbouring groups of about one size."""
    ends = [round(_HASH * i / count) for i in range(count + 1)]
    return [_bits(a, b) for a, b in pairwise(ends)]


def _bands(count: int, bits: int) -> list[Table]:
    """A table of each band: a pair that differs in more bits of every band differs in more than `bits`."""
    spare = bits - count + 1
    within = [(spare + i) // count for i in range(count)]
    bands = list(zip(_cut(count), within, strict=True))
    return [Table(mask, most, tuple(bands[:i])) for i, (mask, most) in enumerate(bands)]


def _combinations(count: int, bits: int) -> list[Table]:
    """A table of all blocks but `bits` of them: a near pair agrees in such a choice, and is met in the first."""
    blocks = _cut(count)
    tables = []
    for chosen in combinations(range(count), count - bits):
        earlier = tuple((blocks[i], 0) for i in range(chosen[-1]) if i not in chosen)
        tables.append(Table(sum(blocks[i] for i in chosen), 0, earlier))
    return tables


def ways(bits: int) -> list[list[Table]]:
    """Every choice of tables in which all pairs meet that differ in at most so many bits."""
    few = [_bands(count, bits) for count in range(1, 5) if count <= bits + 1]
    # Up to keys of half of the bits.
    numbers = (n for n in range(bits + 1, 2 * bits + 2) if comb(n, bits) <= _MANY)
    more = [_combinations(count, bits) for count in numbers]
    return [*(way for way in few if sum(table.places for table in way) <= _MANY), *more]


def soonest(bits: int, queries: int, rows: int) -> list[Table]:
    """The tables in which so many hashes are found soonest among so many others.

    Few are looked for at many places of few tables; many are sorted into many tables.
    """

    def seconds(tables: Sequence[Table]) -> float:
        met = sum(t.places * 2 ** (-_TOLD * t.mask.bit_count()) for t in tables)
        places = sum(t.places for t in tables)
        return len(tables) * rows * _SORT + places * queries * _LOOK + met * queries * rows * _MEET

    return min(ways(bits), key=seconds)


def near_pairs(
    first_Q: NDArray[np.uint64],
    second_N: NDArray[np.uint64],
    bits: int,
    tables: Sequence[Table] | None = None,
) -> Iterator[tuple[NDArray[np.int64], NDArray[np.int64]]]:
    """Rows of both whose hashes differ in at most so many bits, each pair once.

    Of the rows of `second_N` with one and the same hash, only the first thousands are taken. `tables` are one of
    the `ways`; None: those that find the pairs soonest.
    """
    unique_U, place = np.unique(second_N, return_inverse=True)
    by_hash = np.argsort(place, kind="stable")
    begins = np.searchsorted(place[by_hash], np.arange(len(unique_U) + 1))
    for table in tables or soonest(bits, len(first_Q), len(unique_U)):
        mask = np.uint64(table.mask)
        order = np.argsort(unique_U & mask)
        key_U = unique_U[order] & mask
        sorted_Q = np.argsort(first_Q & mask)
        key_Q = first_Q[sorted_Q] & mask
        for flip in _flips(table):
            begin = np.searchsorted(key_U, key_Q ^ flip)
            count = np.searchsorted(key_U, key_Q ^ flip, side="right") - begin
            for rows in _chunks(count):
                query, spot = _expanded(rows, begin[rows], count[rows])
                query, unique = sorted_Q[query], order[spot]
                near = _first_met(first_Q[query] ^ unique_U[unique], table, bits)
                query, unique = query[near], unique[near]
                sizes = np.minimum(begins[unique + 1] - begins[unique], _MOST)
                for part in _chunks(sizes):
                    again, spot = _expanded(part, begins[unique[part]], sizes[part])
                    yield query[again], by_hash[spot]


def _flips(table: Table) -> Iterator[np.uint64]:
    """Every choice of bits in which a pair of the table may differ."""
    places = [place for place in range(_HASH) if table.mask >> place & 1]
    for count in range(table.within + 1):
        for chosen in combinations(places, count):
            yield np.uint64(sum(1 << place for place in chosen))


def _first_met(differs_P: NDArray[np.uint64], table: Table, bits: int) -> NDArray[np.bool_]:
    """Which pairs are near, and were met in no earlier table."""
    near = _set_bits(differs_P) <= bits
    place = np.flatnonzero(near)
    for mask, most in table.unless:
        place = place[_set_bits(differs_P[place] & np.uint64(mask)) > most]
    near[:] = False
    near[place] = True
    return near


def _chunks(count: NDArray[np.int64]) -> Iterator[NDArray[np.int64]]:
    """Positions, cut so that the counts of each part do not sum to much more than `_EXPANDED`."""
    if not len(count):
        return
    part = np.cumsum(count) // _EXPANDED
    cuts = np.flatnonzero(np.diff(part)) + 1
    yield from np.split(np.arange(len(count)), cuts)


def _expanded(
    rows: NDArray[np.int64], begin: NDArray[np.int64], count: NDArray[np.int64]
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Each row as often as its count says, with the places from its beginning on."""
    total = np.cumsum(count)
    within = np.arange(total[-1] if len(total) else 0) - np.repeat(total - count, count)
    return np.repeat(rows, count), np.repeat(begin, count) + within


def _set_bits(values: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """How many bits of each number are set (Warren, "Hacker's Delight", 5-2); NumPy 1 has no function for it."""
    ones, twos, fours = (
        np.uint64(m) for m in (0x5555555555555555, 0x3333333333333333, 0x0F0F0F0F0F0F0F0F)
    )
    v = values - ((values >> np.uint64(1)) & ones)
    v = (v & twos) + ((v >> np.uint64(2)) & twos)
    v = (v + (v >> np.uint64(4))) & fours
    counts: NDArray[np.uint64] = (v * np.uint64(0x0101010101010101)) >> np.uint64(56)
    return counts
