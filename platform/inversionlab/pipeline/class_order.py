"""Finds a wrong order of a model's classes from its answers to pictures of people whose names are known."""

import re
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor

from inversionlab.metrics import wilson

AGREED = 0.6
"""Share of a person's pictures that must go to one other class for it to count as that person's class."""
LEAST = 2
"""Pictures of a person that can show a mix-up."""
SHOWN = 3
"""Mixed-up people whom the text lists."""


def _natural(name: str) -> list[tuple[int, int, str]]:
    parts = re.split(r"(\d+)", name)
    return [(0, int(part), "") if part.isdecimal() else (1, 0, part) for part in parts]


ORDERS: dict[str, Callable[[str], Any]] = {
    "by name": str,
    "without regard to capitals": str.casefold,
    "with numbers in their order (2 before 10)": _natural,
}
"""Usual orders of the same names."""


def order_advice(winner_N: Tensor, class_N: Tensor, people: Sequence[str]) -> str | None:
    """What is wrong with the order of the classes, and what would be right; None if nothing speaks against it.

    Args:
        winner_N: the class that the model names for each picture.
        class_N: the class of the person on it, by the names.
        people: the names, in the order that the recipe says.
    """
    taken = _taken_for(winner_N, class_N, len(people))
    moved = {own: other for own, other in taken.items() if own != other}
    # A mix-up is a closed circle: whoever is taken for B is not B, and B is taken for somebody else in the circle.
    circles = {own: other for own, other in moved.items() if _closes(own, moved)}
    right_N = winner_N == class_N
    known = _known_order(winner_N, class_N, people, right_N)
    if known or not circles:
        return known
    mapping_K = torch.arange(len(people))
    for own, other in circles.items():
        mapping_K[own] = other
    mended = wilson(int((winner_N == mapping_K[class_N]).sum()), len(class_N))
    listed = "; ".join(
        f"pictures of `{people[own]}` are recognized as `{people[other]}`"
        for own, other in list(circles.items())[:SHOWN]
    )
    more = f"; and {len(circles) - SHOWN} more" if len(circles) > SHOWN else ""
    return (
        f"victim.classes: {len(circles)} people are mixed up: {listed}{more}. In the other order the model "
        f"recognizes {mended.value:.1%} of the pictures; correct the file of classes, or the folders' names"
    )


def _taken_for(winner_N: Tensor, class_N: Tensor, classes: int) -> dict[int, int]:
    """For every person with enough pictures, the class to which most of them go, if that is clear."""
    found: dict[int, int] = {}
    for own in class_N.unique().tolist():
        votes_K = torch.bincount(winner_N[class_N == own], minlength=classes)
        if votes_K.sum() >= LEAST and float(votes_K.max() / votes_K.sum()) >= AGREED:
            found[own] = int(votes_K.argmax())
    return found


def _closes(start: int, moved: dict[int, int]) -> bool:
    """Whether following who is taken for whom leads back to the start."""
    at, steps = moved[start], 1
    while at != start:
        if at not in moved or steps > len(moved):
            return False
        at, steps = moved[at], steps + 1
    return True


def _known_order(
    winner_N: Tensor, class_N: Tensor, people: Sequence[str], right_N: Tensor
) -> str | None:
    """A usual order of the same names, or a shift, that explains far more of the answers."""
    mappings: dict[str, Tensor] = {}
    for order, key in ORDERS.items():
        place = {name: index for index, name in enumerate(sorted(people, key=key))}
        mappings[f"the classes sorted {order}"] = torch.tensor([place[name] for name in people])
    step_K = torch.arange(len(people))
    mappings["every class one later (with a class 0 for the background)"] = step_K + 1
    mappings["every class one earlier"] = step_K - 1
    before = int(right_N.sum())
    for name, mapping_K in mappings.items():
        correct = int((winner_N == mapping_K[class_N]).sum())
        if correct >= max(2 * before, before + LEAST * SHOWN) and correct > len(class_N) / 4:
            after, own = wilson(correct, len(class_N)), wilson(before, len(class_N))
            return (
                f"victim.classes: with {name} the model recognizes {after.value:.1%} of the pictures, and "
                f"{own.value:.1%} as given; bring the file of classes into the order of the model's scores"
            )
    return None
