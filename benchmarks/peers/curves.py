"""Curves of success against seconds, and the ratio of two of them at equal success."""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Self

import torch
from torch import Tensor

from inversionlab.metrics import Estimate, wilson

DRAWS = 500
"""Draws of targets for the interval of a ratio."""


@dataclass(frozen=True)
class Snapshot:
    """What an attack would have handed out for its targets after some seconds."""

    updates: float
    """Updates, a target."""
    seconds: float
    """CPU-seconds a target, with the final choice, without the evaluator."""
    rank_N: Tensor
    """The evaluator's rank (N,) of every target; 1 is the best."""


@dataclass(frozen=True)
class Curve:
    """Success against seconds; the last point is the end of the attack, or where it was cut off."""

    points: tuple[Snapshot, ...]
    cut: bool = False
    """Whether the attack would have gone on."""

    @classmethod
    def pooled(cls, rounds: Sequence[Curve]) -> Self:
        """One curve of all rounds' targets: medians of seconds and updates, and all ranks together.

        A round that ended before the others stays at its end.
        """
        points = []
        for number in range(max(len(each.points) for each in rounds)):
            parts = [each.points[min(number, len(each.points) - 1)] for each in rounds]
            points.append(
                Snapshot(
                    statistics.median(p.updates for p in parts),
                    statistics.median(p.seconds for p in parts),
                    torch.cat([p.rank_N for p in parts]),
                )
            )
        return cls(tuple(points), any(each.cut for each in rounds))

    @property
    def end(self) -> Snapshot:
        """The last point."""
        return self.points[-1]

    @property
    def targets(self) -> int:
        """How many were attacked."""
        return len(self.end.rank_N)

    def success(self, top: int) -> Estimate:
        """The share of targets within the evaluator's `top` at the end, with its Wilson interval."""
        return wilson(int((self.end.rank_N <= top).sum()), self.targets)

    def levels(self, top: int, chosen_N: Tensor | None = None) -> list[tuple[float, float]]:
        """(seconds, success) of every point; `chosen_N` are the numbers of targets that count, by default all."""
        rows = slice(None) if chosen_N is None else chosen_N
        return [(p.seconds, float((p.rank_N[rows] <= top).double().mean())) for p in self.points]


def seconds_to(levels: Levels, level: float) -> float:
    """When a curve of (seconds, success) first reaches `level`; infinite if it never does.

    Between two points the best success so far grows linearly to the next point's. A curve whose first point has
    reached the level took that point's seconds.
    """
    began, best = 0.0, -1.0
    for seconds, success in sorted(levels):
        if success >= level:
            grown = (level - best) / (success - best) if best >= 0 else 1.0
            return began + (seconds - began) * grown
        began, best = seconds, max(best, success)
    return math.inf


@dataclass(frozen=True)
class Ratio:
    """Their seconds over ours at equal success."""

    value: float
    """Infinite where only ours finds more than chance does, 0 where only they do, NaN where neither does."""
    level: float
    """The share of targets at which both are compared."""
    bound: bool = False
    """They were cut off before they found more than chance does: the value is a lower bound, their whole time over
    ours to the first success above chance."""
    low: float = math.nan
    high: float = math.nan
    """The middle 95 % of the ratio over draws of the targets, the same targets for both."""

    def __str__(self) -> str:
        return f"{'>= ' if self.bound else ''}{self.value:.1f} ({self.low:.1f}-{self.high:.1f})"


Levels = Sequence[tuple[float, float]]
"""(seconds, success) of the points of a curve."""


def equal_success(theirs: Levels, ours: Levels, *, chance: float = 0.0, cut: bool = False) -> Ratio:
    """Their seconds over ours at the largest success that both curves reach.

    That is the smaller of the two curves' highest points. It must lie above `chance`, the success of pictures that
    show nobody; `cut` says that the peer would have gone on.
    """
    most_theirs, most_ours = (max(success for _, success in each) for each in (theirs, ours))
    level = min(most_theirs, most_ours)
    if level > chance:
        return Ratio(seconds_to(theirs, level) / seconds_to(ours, level), level)
    if most_ours > chance and cut:
        first = min(seconds for seconds, success in ours if success > chance)
        return Ratio(max(theirs)[0] / first, level, bound=True)
    if most_ours > chance:
        return Ratio(math.inf, level)
    return Ratio(0.0 if most_theirs > chance else math.nan, level)


def paired_ratio(theirs: Curve, ours: Curve, top: int, people: int) -> Ratio:
    """`equal_success` of two curves of the same targets, in the same order, with its interval.

    Success is a rank of at most `top` among `people`, so chance is their quotient.
    """

    def ratio(chosen_N: Tensor | None = None) -> Ratio:
        levels = theirs.levels(top, chosen_N), ours.levels(top, chosen_N)
        return equal_success(*levels, chance=top / people, cut=theirs.cut)

    rng, count = torch.Generator().manual_seed(0), theirs.targets
    drawn = [ratio(torch.randint(count, (count,), generator=rng)).value for _ in range(DRAWS)]
    known = sorted(value for value in drawn if not math.isnan(value))
    if not known:
        return ratio()
    low, high = (known[round(share * (len(known) - 1))] for share in (0.025, 0.975))
    return replace(ratio(), low=low, high=high)
