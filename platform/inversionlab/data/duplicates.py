"""Equal pictures between sets and between people.

A picture that is private must not be public, and must not train an evaluator of people whom the victim does not
know. A person whose pictures lie in several folders would be several people, of whom one is private and another
public. So equal pictures are looked for between all sets, between training and test, and between people.
"""

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import combinations

import numpy as np
from numpy.typing import NDArray

from inversionlab.core.settings import ConfigError

PRIVATE, EVALUATOR, DECOYS, PUBLIC = "private", "evaluator-only", "decoys", "public"
ADVICE = (
    "take the copies out, join the folders if they show one person, or set split.allow_overlap: true if that is "
    "meant; the report then repeats it"
)
SHOWN = 3
"""Pairs of people that a text lists."""
CROWD = 50
"""A picture of more people is no picture of one of them (`no picture available`); its pairs are not counted."""
_COPY = 0.5
"""Two people who share so large a share of one's pictures are one person."""


@dataclass(frozen=True)
class Part:
    """One set's pictures, a row each."""

    kind: str
    """PRIVATE, EVALUATOR, DECOYS or PUBLIC."""
    digest_N2: NDArray[np.uint64]
    """What each picture is recognized by, as `Pictures.digests` says."""
    person_N: NDArray[np.int64]
    """Positions in `people`."""
    people: Sequence[str]
    test: bool = False
    """Whether it is the half that no training sees."""


@dataclass
class Found:
    """Equal pictures, in numbers."""

    between: Counter[tuple[str, str]] = field(default_factory=Counter)
    """Different pictures that two kinds of sets share; the kinds are in the order of PRIVATE ... PUBLIC."""
    in_both_halves: int = 0
    """Test pictures that equal a training picture of the same set and person."""
    people: Counter[tuple[tuple[str, str], tuple[str, str]]] = field(default_factory=Counter)
    """Different pictures that two people share, each as (kind of set, name)."""
    of_many: int = 0
    """Different pictures that more than `CROWD` people share."""
    pictures: Counter[tuple[str, str]] = field(default_factory=Counter)
    """Different pictures of each person."""


def find_equal(parts: Sequence[Part]) -> Found:
    """What the parts share. The time is that of sorting all rows."""
    found = Found()
    digest_M2 = np.concatenate([part.digest_N2 for part in parts])
    part_M = np.repeat(np.arange(len(parts)), [len(part.digest_N2) for part in parts])
    person_M = np.concatenate([part.person_N for part in parts])
    if not len(digest_M2):
        return found
    order = np.lexsort((digest_M2[:, 1], digest_M2[:, 0]))
    differs = (digest_M2[order[1:]] != digest_M2[order[:-1]]).any(axis=1)
    starts = np.flatnonzero(np.concatenate([[True], differs, [True]]))
    sizes = np.diff(starts)
    for start, size in zip(starts[:-1][sizes > 1], sizes[sizes > 1], strict=True):
        rows = order[start : start + size].tolist()
        _count(found, parts, [(int(part_M[row]), int(person_M[row])) for row in rows])
    if found.people:
        named = {who for pair in found.people for who in pair}
        _count_pictures(found, parts, named)
    return found


def unknown(shown: Part, known: Sequence[Part]) -> NDArray[np.bool_]:
    """Which pictures of `shown` equal none of `known`: (N,)."""
    seen = {pair for part in known for pair in map(tuple, part.digest_N2.tolist())}
    return np.array([tuple(pair) not in seen for pair in shown.digest_N2.tolist()], dtype=bool)


def _count(found: Found, parts: Sequence[Part], rows: Sequence[tuple[int, int]]) -> None:
    """Take in one picture, which lies in these rows, each a part and a person of it."""
    kinds = [kind for kind in _ORDER if any(parts[part].kind == kind for part, _ in rows)]
    found.between.update(combinations(kinds, 2))
    halves: defaultdict[tuple[str, str], Counter[bool]] = defaultdict(Counter)
    for part, person in rows:
        one = parts[part]
        halves[one.kind, one.people[person]][one.test] += 1
    found.in_both_halves += sum(h[True] for h in halves.values() if h[True] and h[False])
    if len(halves) > CROWD:
        found.of_many += 1
    else:
        found.people.update(combinations(sorted(halves, key=_by_kind), 2))


def _count_pictures(found: Found, parts: Sequence[Part], named: set[tuple[str, str]]) -> None:
    """Count the different pictures of the people who share one."""
    seen: set[tuple[tuple[str, str], int, int]] = set()
    for part in parts:
        who = [(part.kind, name) for name in part.people]
        wanted = np.isin(part.person_N, [i for i, w in enumerate(who) if w in named])
        rows = zip(part.person_N[wanted].tolist(), part.digest_N2[wanted].tolist(), strict=True)
        seen |= {(who[person], first, second) for person, (first, second) in rows}
    found.pictures.update(who for who, _, _ in seen)


_ORDER = (PRIVATE, EVALUATOR, DECOYS, PUBLIC)


def _by_kind(who: tuple[str, str]) -> tuple[int, str]:
    return _ORDER.index(who[0]), who[1]


def notes(found: Found, *, allowed: bool) -> list[str]:
    """One line for each thing that was found.

    Raises:
        ConfigError: private pictures are public or evaluator-only, or two people are one, and that is not allowed.
    """
    lines = []
    for (first, second), count in sorted(found.between.items(), key=lambda item: _by_kind(item[0])):
        line = f"{count} {first} pictures are {second} ones too{_examples(found.people, (first, second))}"
        if first == PRIVATE and second in (EVALUATOR, PUBLIC) and not allowed:
            raise ConfigError(f"split: {line}; {ADVICE}")
        lines.append(line)
    if found.of_many:
        lines.append(
            f"{found.of_many} pictures are of more than {CROWD} people each (placeholders?)"
        )
    inside = {pair: n for pair, n in found.people.items() if pair[0][0] == pair[1][0] != PUBLIC}
    if copies := [pair for pair, n in inside.items() if _is_copy(found, pair, n)]:
        one, other = copies[0]
        line = (
            f"{one[0]} `{one[1]}` and `{other[1]}` share {inside[copies[0]]} of their "
            f"{found.pictures[one]} and {found.pictures[other]} pictures, so they are one person "
            f"({len(copies)} such pairs)"
        )
        if not allowed:
            raise ConfigError(f"split: {line}; {ADVICE}")
        lines.append(line)
    if rest := len(inside) - len(copies):
        lines.append(f"{rest} pairs of people of one set share a picture")
    if found.in_both_halves:
        lines.append(
            f"{found.in_both_halves} test pictures equal a training picture of their person"
        )
    return lines


def _is_copy(found: Found, pair: tuple[tuple[str, str], tuple[str, str]], shared: int) -> bool:
    fewest = min(found.pictures[who] for who in pair)
    return shared >= max(2, _COPY * fewest)


def _examples(
    people: Mapping[tuple[tuple[str, str], tuple[str, str]], int], kinds: tuple[str, str]
) -> str:
    pairs = sorted(pair for pair in people if (pair[0][0], pair[1][0]) == kinds)
    if not pairs:
        return ""
    listed = ", ".join(f"of `{a[1]}` and `{b[1]}`" for a, b in pairs[:SHOWN])
    return f" ({listed}{', ...' if len(pairs) > SHOWN else ''})"
