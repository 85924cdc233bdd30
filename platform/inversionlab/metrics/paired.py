"""Whether attacks find less on one model than on another: a test on the same people.

Each person gives one difference, that of the shares of tries at them that succeed on the two models. If the models
were alike, a difference would be as likely to have either sign: the sign-flip permutation test (Fisher, "The
Design of Experiments", 1935, section 21). It needs no independence of the tries at one person. Where several
models are compared with one, Holm's correction (Scandinavian Journal of Statistics 6, 1979) bounds the chance of
any false claim.

Inputs: hits (N,) bool, people (N,). Output: p-values in (0, 1].
"""

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

DRAWS = 9_999
"""Random sign flips where there are too many to try all."""
CLEAR = 0.05
"""A difference is clear if chance alone would show one as large with less than this probability."""
EXACT = 13
"""Up to so many people with a difference, all sign flips are tried."""


def person_means(
    value_N: NDArray[np.bool_] | NDArray[np.float64], person_N: NDArray[np.integer]
) -> dict[int, float]:
    """The mean value of the tries (N,) at each person; of hits it is their share."""
    people, place_N = np.unique(person_N, return_inverse=True)
    mean_M = np.bincount(place_N, weights=value_N.astype(np.float64)) / np.bincount(place_N)
    return dict(zip(people.tolist(), mean_M.tolist(), strict=True))


def fewer(first: Mapping[int, float], second: Mapping[int, float]) -> float:
    """The one-sided p-value that the shares of `second` are lower; over the people of both, 1 without any.

    The random sign flips have a fixed seed, so equal inputs give equal values.
    """
    people = sorted(first.keys() & second.keys())
    apart_M = np.array([first[p] - second[p] for p in people])
    apart_M = apart_M[apart_M != 0]
    if not apart_M.size:
        return 1.0
    # 1e-12: sums of the same numbers in another order are equal.
    seen, size = float(apart_M.sum()) - 1e-12, np.abs(apart_M)
    if len(size) <= EXACT:
        bits = (np.arange(2 ** len(size))[:, None] >> np.arange(len(size))) & 1
        return float(((2 * bits - 1) @ size >= seen).mean())
    signs = 2 * np.random.default_rng(0).integers(0, 2, (DRAWS, len(size))) - 1
    return float((1 + ((signs @ size) >= seen).sum()) / (1 + DRAWS))


def holm(p_values: Sequence[float]) -> list[float]:
    """The p-values, corrected for their number, in their order."""
    order, corrected, highest = np.argsort(p_values), [1.0] * len(p_values), 0.0
    for place, index in enumerate(order):
        highest = max(highest, min(1.0, (len(p_values) - place) * p_values[index]))
        corrected[index] = highest
    return corrected
