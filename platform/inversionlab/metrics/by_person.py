"""A share over tries at people, with an interval that says how far it may be from other people's.

Several tries at one person succeed or fail together, so they are worth less than as many people. With n tries at
m people, and r of them the intraclass correlation of the tries at one person (0: independent, 1: all alike):

    n_eff = n / (1 + (b - 1) r),   b the tries a person      (Kish, "Survey Sampling", 1965: the design effect)

Where people have different numbers of tries, b is the mean over tries: sum b_p² / sum b_p. r is the estimate of an
analysis of variance (Fleiss, "Statistical Methods for Rates and Proportions", 1981), bounded by 0 and 1. Where all
tries succeed or all fail it cannot be known, and counts as 1. The interval is Wilson's for n_eff tries, but with
Student's quantile of m - 1 degrees of freedom, because the correlation is itself estimated from m people (Korn and
Graubard, Survey Methodology 1998; Dean and Pagano, Survey Methodology 2015). With one try a person it is Wilson's
interval as it is.

Inputs: hits (N,) bool, people (N,). Output: shares in [0, 1].
Coverage: 1,000 simulated experiments of 50 people with 3 or 5 tries each, at shares from 0.1 to 0.9 and
correlations from 0.1 to 0.9, and of 62 people with 2 to 106 tries: `tests/metrics/test_by_person.py`.
"""

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from inversionlab.metrics.wilson import Z_95, Estimate, wilson, wilson_ends


def by_person(hit_N: NDArray[np.bool_], person_N: NDArray[np.integer]) -> Estimate:
    """The share of the tries (N,) at people (N,) that are hits; its `count` is the number of tries.

    Raises:
        ValueError: there are not as many people as tries.
    """
    if hit_N.shape != person_N.shape:
        raise ValueError(
            f"{hit_N.shape} hits and {person_N.shape} people; each try is at one person"
        )
    _, place_N = np.unique(person_N, return_inverse=True)
    tries_M = np.bincount(place_N, weights=np.ones(len(place_N)))
    return of_counts(np.bincount(place_N, weights=hit_N.astype(np.float64)), tries_M)


def of_counts(hits_M: NDArray[Any], tries_M: NDArray[Any]) -> Estimate:
    """The same from the hits (M,) out of tries (M,) at each of M people, each tried once or more often."""
    count, people = round(float(tries_M.sum())), len(tries_M)
    plain = wilson(round(float(hits_M.sum())), count)
    if people == count:
        return plain
    spread = intraclass_correlation(hits_M, tries_M)
    effective = count / (1 + (float((tries_M**2).sum()) / count - 1) * spread)
    low, high = wilson_ends(plain.value, effective, student_95(max(people - 1, 2)))
    return Estimate(plain.value, low, high, count)


def intraclass_correlation(hits_M: NDArray[Any], tries_M: NDArray[Any]) -> float:
    """How alike the tries at one person are, 0 to 1, from hits (M,) out of tries (M,) at M people."""
    people, count = len(tries_M), float(tries_M.sum())
    share = float(hits_M.sum()) / count
    if people < 2 or share in (0.0, 1.0):
        return 1.0
    of_person_M = hits_M / tries_M
    between = float((tries_M * (of_person_M - share) ** 2).sum()) / (people - 1)
    within = float((hits_M * (1 - of_person_M)).sum()) / (count - people)
    whole = between + (_per_person(tries_M) - 1) * within
    return min(1.0, max(0.0, (between - within) / whole)) if whole > 0 else 1.0


def _per_person(tries_M: NDArray[Any]) -> float:
    """The tries a person in the analysis of variance; of different numbers the average that Fleiss gives."""
    count = float(tries_M.sum())
    return (count - float((tries_M**2).sum()) / count) / max(len(tries_M) - 1, 1)


def student_95(freedom: int) -> float:
    """The 97.5 % quantile of Student's t for 2 or more degrees of freedom.

    Exact for 2; above, Hill's expansion (CACM algorithm 396, 1970) around the normal quantile, good to 0.3 %.
    """
    if freedom == 2:
        return math.sqrt(2 * 0.95**2 / (1 - 0.95**2))
    z, n = Z_95, float(freedom)
    first = (z**3 + z) / 4
    second = (5 * z**5 + 16 * z**3 + 3 * z) / 96
    third = (3 * z**7 + 19 * z**5 + 17 * z**3 - 15 * z) / 384
    fourth = (79 * z**9 + 776 * z**7 + 1482 * z**5 - 1920 * z**3 - 945 * z) / 92_160
    return z + first / n + second / n**2 + third / n**3 + fourth / n**4
