"""The difference of two shares, with its interval out of theirs.

G. Y. Zou and A. Donner, "Construction of confidence limits about effect measures: a general approach" (Statistics
in Medicine 27, 2008), equation 3; with Wilson's intervals it is method 10 of R. G. Newcombe (Statistics in
Medicine 17, 1998). For shares p and q with intervals (l, u) and (m, v), and with the correlation r of the two:

    low = p - q - sqrt((p - l)² - 2 r (p - l)(v - q) + (v - q)²)
    high = p - q + sqrt((u - p)² - 2 r (u - p)(q - m) + (q - m)²)

Two attacks on the same people mostly find the same ones more often, and r is the correlation of their shares of
hits over the people (for one try each it is the phi of Newcombe's paired intervals, Statistics in Medicine 17,
1998, page 2635). Where only the shares are known r is 0, and the interval is mostly too wide.

With many tries at few people that interval is too short. Where an attack finds some people always and others
never, it claims that one of two equal attacks finds more in up to 9 % of simulated pairs on five people, and
should in 2.5 %. So for two attacks on the same people the wider ends count: those of this interval, or those of
Student's for the mean of the people's differences (`mean_by_person.py`). The same simulation then has 3.1 % at
most, for 3 to 60 people.

Inputs: estimates in [0, 1], shares by person. Output: a difference in [-1, 1].
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from inversionlab.metrics.mean_by_person import mean_by_person
from inversionlab.metrics.wilson import Estimate


@dataclass(frozen=True)
class Difference:
    """How much larger one share is than another, with its two-sided 95 % interval; NaN where one is not known."""

    value: float
    low: float
    high: float

    @property
    def clear(self) -> bool:
        """Whether the first share is larger beyond chance."""
        return self.low > 0


def difference(first: Estimate, second: Estimate, correlation: float = 0.0) -> Difference:
    """`first` less `second`, whose correlation is -1 to 1; all NaN where a share is not known."""
    if math.isnan(first.value) or math.isnan(second.value):
        return Difference(math.nan, math.nan, math.nan)
    value = first.value - second.value

    def apart(one: float, other: float) -> float:
        return math.sqrt(max(0.0, one**2 - 2 * correlation * one * other + other**2))

    return Difference(
        value,
        max(-1.0, value - apart(first.value - first.low, second.high - second.value)),
        min(1.0, value + apart(first.high - first.value, second.value - second.low)),
    )


def paired_difference(
    first: Estimate, second: Estimate, first_of: Mapping[int, float], second_of: Mapping[int, float]
) -> Difference:
    """`first` less `second`, with the shares of hits at each person: of two intervals the wider ends.

    With fewer than three people in both there is one interval alone.
    """
    apart = difference(first, second, correlation(first_of, second_of))
    people = sorted(first_of.keys() & second_of.keys())
    apart_M = np.array([first_of[p] - second_of[p] for p in people])
    mean = mean_by_person(apart_M, np.array(people))
    if math.isnan(apart.value) or math.isnan(mean.low):
        return apart
    return Difference(
        apart.value, max(-1.0, min(apart.low, mean.low)), min(1.0, max(apart.high, mean.high))
    )


def correlation(first: Mapping[int, float], second: Mapping[int, float]) -> float:
    """The correlation of two shares by person, over the people of both; 0 where it is not known."""
    people = sorted(first.keys() & second.keys())
    one_M, other_M = (np.array([of[p] for p in people]) for of in (first, second))
    if len(people) < 2 or not one_M.std() or not other_M.std():
        return 0.0
    return float(np.corrcoef(one_M, other_M)[0, 1])
