"""Cumulative match characteristic: attack accuracy as a function of the number of guesses.

Paper: P. J. Phillips et al., "The FERET evaluation methodology for face-recognition algorithms"
(IEEE TPAMI 2000): CMC(k) = |{i : rank_i <= k}| / N for k = 1 .. K.

Inputs: ranks (N,), whole numbers >= 1. Output: shares (K,) in [0, 1], never falling.
Deviates: nothing.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray


def cmc(rank_N: NDArray[np.integer], *, max_rank: int) -> NDArray[np.float64]:
    """Shares (K,) of the ranks (N,) that are 1, 2, .. K = `max_rank` or better; NaN for N = 0.

    Raises:
        ValueError: `max_rank` or a rank is below 1.
    """
    if max_rank < 1:
        raise ValueError(f"max_rank = {max_rank}; must be at least 1")
    if not rank_N.size:
        return np.full(max_rank, np.nan)
    if rank_N.min() < 1:
        raise ValueError(f"a rank of {rank_N.min()}; ranks start at 1, the best")
    hits = np.bincount(np.minimum(rank_N, max_rank + 1), minlength=max_rank + 2)
    return np.cumsum(hits[1 : max_rank + 1]) / rank_N.size
