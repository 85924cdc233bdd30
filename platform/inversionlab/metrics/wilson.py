"""A proportion with its Wilson score interval.

Paper: E. B. Wilson, "Probable inference, the law of succession, and statistical inference",
JASA 22 (1927). For k successes in n tries, p = k/n and the normal quantile z:

    centre = (p + z²/2n) / (1 + z²/n),   half = z·sqrt(p(1-p)/n + z²/4n²) / (1 + z²/n)

Inputs: counts 0 <= k <= n. Output: shares in [0, 1].
Deviates: nothing. Unlike the textbook p ± z·sqrt(p(1-p)/n) its interval never shrinks to a point at 0/n or n/n.
The tries count as independent. Tries at one person are not: `by_person.py`.
"""

import math
from dataclasses import dataclass

Z_95 = 1.959963984540054
"""The 97.5 % quantile of N(0, 1): two-sided 95 %."""


@dataclass(frozen=True)
class Estimate:
    """A share in [0, 1] with its two-sided 95 % interval and the number of tries."""

    value: float
    """k/n; NaN if nothing was tried."""
    low: float
    """Lower end of the interval."""
    high: float
    """Upper end of the interval."""
    count: int
    """n, the number of tries."""


def wilson(successes: int, count: int) -> Estimate:
    """The share `successes / count` with its interval; no tries give NaN in [0, 1].

    Raises:
        ValueError: not 0 <= successes <= count.
    """
    if not 0 <= successes <= count:
        raise ValueError(f"{successes} successes in {count} tries; must be 0 <= successes <= tries")
    if count == 0:
        return Estimate(math.nan, 0.0, 1.0, 0)
    low, high = wilson_ends(successes / count, count, Z_95)
    return Estimate(successes / count, low, high, count)


def wilson_ends(share: float, count: float, z: float) -> tuple[float, float]:
    """Both ends of the interval for a share of `count` tries, which need not be a whole number, at quantile z."""
    scale = 1 + z**2 / count
    centre = (share + z**2 / (2 * count)) / scale
    half = z * math.sqrt(share * (1 - share) / count + z**2 / (4 * count**2)) / scale
    # At 0/n and n/n one end is exactly 0 or 1; rounding must not move it.
    low = 0.0 if share == 0 else max(0.0, centre - half)
    high = 1.0 if share == 1 else min(1.0, centre + half)
    return low, high
