"""Metrics of the target's rank in an evaluator's ordering of all people; rank 1 is the best.

Attack accuracy, the share of reconstructions that an evaluator takes for the attacked person: Y. Zhang et al.,
"The Secret Revealer" (CVPR 2020), where an evaluator that the attacker never saw names the person; top-k as in
S. Chen et al., "Knowledge-Enriched Distributional Model Inversion Attacks" (ICCV 2021):

    accuracy(k) = |{i : rank_i <= k}| / N

Papers quote a standard deviation over folds; the interval here comes from the people (`by_person.py`).

Cumulative match characteristic, the same share for k = 1 .. K: P. J. Phillips et al., "The FERET evaluation
methodology for face-recognition algorithms" (IEEE TPAMI 2000).

Median rank: the mean of the two middle ranks for an even count. It is a median because one reconstruction at rank
5000 would dominate a mean.

Inputs: ranks (N,), whole numbers >= 1.
"""

import math

import numpy as np
from numpy.typing import NDArray

from inversionlab.metrics.by_person import by_person
from inversionlab.metrics.wilson import Estimate


def attack_accuracy(
    rank_N: NDArray[np.integer], person_N: NDArray[np.integer], *, top: int
) -> Estimate:
    """Share of the ranks (N,) that are `top` or better, with its interval by the attacked people (N,).

    Raises:
        ValueError: `top` or a rank is below 1, or there are not as many people as ranks.
    """
    _check(rank_N, top)
    return by_person(rank_N <= top, person_N)


def cmc(rank_N: NDArray[np.integer], *, max_rank: int) -> NDArray[np.float64]:
    """Shares (K,) in [0, 1] of the ranks (N,) that are 1, 2, .. K = `max_rank` or better; NaN for N = 0.

    Raises:
        ValueError: `max_rank` or a rank is below 1.
    """
    _check(rank_N, max_rank)
    if not rank_N.size:
        return np.full(max_rank, np.nan)
    hits = np.bincount(np.minimum(rank_N, max_rank + 1), minlength=max_rank + 2)
    return np.cumsum(hits[1 : max_rank + 1]) / rank_N.size


def median_rank(rank_N: NDArray[np.integer]) -> float:
    """The median of the ranks (N,); NaN for N = 0."""
    return float(np.median(rank_N)) if rank_N.size else math.nan


def mean_score(score_N: NDArray[np.floating]) -> float:
    """The mean of the evaluator's scores (N,) that are not NaN, in its own unit; NaN if there are none."""
    known = score_N[~np.isnan(score_N)]
    return float(known.mean(dtype=np.float64)) if known.size else math.nan


def _check(rank_N: NDArray[np.integer], top: int) -> None:
    if top < 1:
        raise ValueError(f"top = {top}; ranks start at 1, the best")
    if rank_N.size and rank_N.min() < 1:
        raise ValueError(f"a rank of {rank_N.min()}; ranks start at 1, the best")
