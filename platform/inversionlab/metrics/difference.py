"""The difference of two shares, with its interval out of theirs.

G. Y. Zou and A. Donner, "Construction of confidence limits about effect measures: a general approach" (Statistics
in Medicine 27, 2008), equation 3; with Wilson's intervals it is method 10 of R. G. Newcombe (Statistics in
Medicine 17, 1998). For shares p and q with intervals (l, u) and (m, v):

    low = p - q - sqrt((p - l)² + (v - q)²),   high = p - q + sqrt((u - p)² + (q - m)²)

The two count as independent. Two attacks on the same people mostly find the same ones more often, and then the
interval is too wide, never too narrow.

Inputs: estimates in [0, 1]. Output: a difference in [-1, 1].
"""

import math
from dataclasses import dataclass

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


def difference(first: Estimate, second: Estimate) -> Difference:
    """`first` less `second`."""
    value = first.value - second.value
    return Difference(
        value,
        max(-1.0, value - math.hypot(first.value - first.low, second.high - second.value)),
        min(1.0, value + math.hypot(first.high - first.value, second.value - second.low)),
    )
