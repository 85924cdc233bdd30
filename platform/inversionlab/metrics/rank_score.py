"""The target's place in the evaluator's ordering, and the evaluator's score of it.

Median rank: the middle of the ranks (1 = best), the mean of the two middle ones for an even count.
Mean score: the mean of the evaluator's scores of the target.

Inputs: ranks (N,) >= 1; scores (N,), in the evaluator's unit. NaN scores count as missing.
Output: one number, NaN where there is nothing to summarize.
Deviates: nothing. A median, because one reconstruction at rank 5000 would dominate a mean.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray


def median_rank(rank_N: NDArray[np.integer]) -> float:
    """The median of ranks (N,), NaN for N = 0."""
    return float(np.median(rank_N)) if rank_N.size else math.nan


def mean_score(score_N: NDArray[np.floating]) -> float:
    """The mean of the scores (N,) that are not NaN; NaN if there are none."""
    known = score_N[~np.isnan(score_N)]
    return float(known.mean(dtype=np.float64)) if known.size else math.nan
