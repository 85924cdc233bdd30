"""Finds a wrong order of a model's classes from its answers to pictures of people whose names are known.

Three explanations are tried. A usual order of the same names, or a shift by one, is the simplest. Then people who
are taken for each other in a closed circle: a mix-up moves everybody in it, while people who look alike are
confused in one direction. At last any other order, which must be far better on pictures that it was not found on.
"""

import math
import re
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

import torch
from torch import Tensor

SURE = 3.3
"""Standard errors that count as significant."""
NATS = math.log(1e4)
"""Log of the likelihood ratio that counts as significant, where a model is too good to make so many mistakes."""
HIGHEST = 0.99
"""The most that a model is trusted to be right, whatever it was right about."""
LEAST = 4
"""Pictures by which another order must be better."""
AGREED = 0.5
"""Share of a person's pictures that must go to one other class for the person to be mixed up with it."""
FAIR = 0.25
"""Share of the moved people's pictures that a usual order must explain; even a weak model does so."""
TIMES = 3
"""How often an order that nothing but the answers suggest must be right as the given one."""
CLEAR = 0.5
"""Share of the pictures that such an order must explain; a last layer of random weights seems ordered too."""
EQUAL = 0.02
"""Share of all pictures by which a simpler explanation may be worse."""
SHOWN = 3
"""Names or people that the text lists."""

T = TypeVar("T")
Votes = Counter[tuple[int, int]]
"""How many pictures of a class (first) the model takes for a class (second)."""


def _natural(name: str) -> list[tuple[int, int, str]]:
    parts = re.split(r"(\d+)", name)
    return [(0, int(part), "") if part.isdecimal() else (1, 0, part) for part in parts]


ORDERS: dict[str, Callable[[str], Any]] = {
    "sorted by name": str,
    "sorted without regard to capitals": str.casefold,
    "sorted with numbers in their order (2 before 10)": _natural,
}
"""Usual orders of the same names."""


@dataclass(frozen=True)
class OtherOrder:
    """An order of the classes that explains a model's answers far better than the given one."""

    mapping_K: Tensor
    """For each class as given, the class of the model that knows this person."""
    correct: int
    """Pictures that the model recognizes in this order."""
    known: str
    """A usual order or a shift, in words; empty: the answers alone suggest it."""

    def advice(self, people: Sequence[str], before: int, count: int, file: str) -> str:
        """What is wrong, and what to write.

        Args:
            people: the names, in the given order.
            before: pictures that the model recognizes in the given order.
            count: all pictures.
            file: where the given order is written; empty: it is that of the folders' names.
        """
        place_of = self.mapping_K.tolist()
        moved = [own for own, other in enumerate(place_of) if own != other]
        where = f"victim.classes = {file}" if file else "victim.classes"
        better = f"recognizes {self.correct / count:.1%} of {count} pictures, and {before / count:.1%} as given"
        if self.known.startswith("shifted"):
            return f"{where}: with the names {self.known} the model {better}; {_shifted(self.known, file)}"
        target = file or "a file that you name as victim.classes"
        if len(moved) > 2 * SHOWN:
            names = sorted(range(len(people)), key=lambda own: place_of[own])
            listed = ", ".join(f"`{people[own]}`" for own in names[: 2 * SHOWN])
            more = ", ..." if len(people) > 2 * SHOWN else ""
            return (
                f"{where}: with the names {self.known or 'in another order'} the model {better}; write them in "
                f"this order into {target}, one class per line: {listed}{more}"
            )
        taken = "; ".join(f"`{people[own]}` as `{people[place_of[own]]}`" for own in moved)
        lines = ", ".join(f"`{people[own]}` into line {place_of[own] + 1}" for own in moved)
        return (
            f"{where}: {len(moved)} people are mixed up: the model recognizes pictures of {taken}. With the names "
            f"{self.known or 'the other way round'} the model {better}. If the pictures lie in each other's "
            f"folders, exchange the folders' names; otherwise write {lines} of {target}"
        )


def _shifted(known: str, file: str) -> str:
    if "one line down" in known:
        return (
            "write a line for the model's first class, which is missing here (the background, for example), "
            "before the others, so that there is a line for each "
            f"score{'' if file else ', and name the file as victim.classes'}"
        )
    return (
        "take out the first line, which is not a class of the model (a heading, for example)"
        if file
        else "the first of the folders is not a class of the model; take it out"
    )


def other_order(winner_N: Tensor, class_N: Tensor, people: Sequence[str]) -> OtherOrder | None:
    """An order that explains the answers far better than the given one; None if nothing speaks against that.

    Args:
        winner_N: the class that the model names for each picture; -1: none.
        class_N: the class of the person on it, by the names.
        people: the names, in the order that the recipe says.
    """
    own_K = torch.arange(len(people))
    known = [
        OtherOrder(mapping_K, int((winner_N == mapping_K[class_N]).sum()), name)
        for name, mapping_K in _known_orders(people)
        if _significant(winner_N, class_N, mapping_K)
    ]
    fitted = []
    for mapping_K in (
        _circles(winner_N, class_N, own_K),
        _any_order(winner_N, class_N, own_K),
    ):
        if mapping_K is not None:
            fitted.append(OtherOrder(mapping_K, int((winner_N == mapping_K[class_N]).sum()), ""))
    return simplest([*known, *fitted], len(class_N), lambda order: order.correct)


def simplest(found: Sequence[T], count: int, correct: Callable[[T], int]) -> T | None:
    """The first explanation that is about as good as the best one; None if there are none."""
    best = max(map(correct, found), default=0)
    return next((one for one in found if correct(one) >= best - EQUAL * count), None)


def significant(gained: int, lost: int, accuracy: float, classes: int) -> bool:
    """Whether an explanation is better than another, by the pictures that only one of them explains.

    Either by McNemar's test, or because a model of this accuracy among so many classes would hardly ever be wrong
    so often.
    """
    if gained - lost < LEAST:
        return False
    right = min(accuracy, HIGHEST)
    sure = gained - lost > SURE * (gained + lost) ** 0.5
    # How much less likely a picture's class is by mistake, and by guessing.
    each = min(math.log(right / (1 - right)), math.log(classes)) if right > 0.5 else 0.0
    return sure or (gained - lost) * each > NATS


def _significant(winner_N: Tensor, class_N: Tensor, mapping_K: Tensor) -> bool:
    """Whether another order is better, and explains a fair share of the people whom it moves."""
    mended_N, right_N = winner_N == mapping_K[class_N], winner_N == class_N
    gained, lost = int((mended_N & ~right_N).sum()), int((right_N & ~mended_N).sum())
    fair = gained >= FAIR * int((mapping_K[class_N] != class_N).sum())
    return fair and significant(gained, lost, float(mended_N.float().mean()), len(mapping_K))


def _known_orders(people: Sequence[str]) -> Iterable[tuple[str, Tensor]]:
    """Usual orders and shifts: for each class as given, the class in that order."""
    for order, key in ORDERS.items():
        place = {name: index for index, name in enumerate(sorted(people, key=key))}
        yield order, torch.tensor([place[name] for name in people])
    own_K = torch.arange(len(people))
    yield "shifted one line down", (own_K + 1) % len(people)
    yield "shifted one line up", (own_K - 1) % len(people)


def _votes(winner_N: Tensor, class_N: Tensor) -> Votes:
    pairs = zip(class_N.tolist(), winner_N.tolist(), strict=True)
    return Counter(pair for pair in pairs if pair[1] >= 0)


def _assigned(votes: Votes) -> dict[int, int]:
    """A class of the model for every person with pictures, no class twice, by the most pictures first."""
    found: dict[int, int] = {}
    taken: set[int] = set()
    # Where the votes are equal, nobody is moved.
    for (own, other), _ in sorted(votes.items(), key=lambda v: (-v[1], v[0][0] != v[0][1], v[0])):
        if own not in found and other not in taken:
            found[own] = other
            taken.add(other)
    return found


def _circles(winner_N: Tensor, class_N: Tensor, own_K: Tensor) -> Tensor | None:
    """The order in which people who are taken for each other all round have changed places; None: nobody is."""
    votes = _votes(winner_N, class_N)
    pictures = Counter(class_N.tolist())
    assigned = _assigned(votes)
    mapping_K = own_K.clone()
    candidates = []
    for start in assigned:
        circle = [start]
        while (nxt := assigned.get(circle[-1], -1)) not in circle and nxt in assigned:
            circle.append(nxt)
        if nxt == start == min(circle) and len(circle) > 1:
            candidates.append(circle)
    for circle in candidates:
        mapping_K[circle] = torch.tensor([assigned[own] for own in circle])
    accuracy = float((winner_N == mapping_K[class_N]).float().mean())
    for circle in candidates:
        shares = [votes[own, assigned[own]] / pictures[own] for own in circle]
        gained = sum(votes[own, assigned[own]] for own in circle)
        lost = sum(votes[own, own] for own in circle)
        clear = min(shares) >= AGREED and min(pictures[own] for own in circle) > 1
        if not clear or not significant(gained, lost, accuracy, len(own_K)):
            mapping_K[circle] = torch.tensor(circle)
    return None if torch.equal(mapping_K, own_K) else mapping_K


def _any_order(winner_N: Tensor, class_N: Tensor, own_K: Tensor) -> Tensor | None:
    """The order that the answers suggest; None if it is not far better on pictures that did not suggest it."""
    half_N = torch.zeros(len(class_N), dtype=torch.bool)
    for own in class_N.unique().tolist():
        half_N[(class_N == own).nonzero().flatten()[::2]] = True
    gained = lost = right = before = 0
    for seen_N in (half_N, ~half_N):
        mapping_K = _completed(_assigned(_votes(winner_N[seen_N], class_N[seen_N])), own_K)
        winner, own = winner_N[~seen_N], class_N[~seen_N]
        mended_N, right_N = winner == mapping_K[own], winner == own
        gained += int((mended_N & ~right_N).sum())
        lost += int((right_N & ~mended_N).sum())
        right, before = right + int(mended_N.sum()), before + int(right_N.sum())
    share = right / len(class_N)
    far = right > TIMES * before and share >= CLEAR
    if not far or not significant(gained, lost, share, len(own_K)):
        return None
    return _completed(_assigned(_votes(winner_N, class_N)), own_K)


def _completed(assigned: dict[int, int], own_K: Tensor) -> Tensor:
    """A whole order: people without pictures keep their class, or get one that is left."""
    taken = set(assigned.values())
    mapping_K = own_K.clone()
    without = [k for k in own_K.tolist() if k not in assigned]
    left = iter([k for k in own_K.tolist() if k not in taken and k not in without])
    for k in without:
        mapping_K[k] = k if k not in taken else next(left)
    for own, other in assigned.items():
        mapping_K[own] = other
    return mapping_K
