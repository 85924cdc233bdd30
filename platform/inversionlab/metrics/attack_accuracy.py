"""Attack accuracy: the share of reconstructions that an evaluator takes for the attacked person.

Paper: Y. Zhang et al., "The Secret Revealer" (CVPR 2020), where an evaluator that the attacker
never saw names the person; top-k as in S. Chen et al., "Knowledge-Enriched Distributional Model
Inversion Attacks" (ICCV 2021):

    accuracy(k) = |{i : rank_i <= k}| / N

with rank_i the place of the target in the evaluator's ordering of all people, 1 = best.

Inputs: ranks (N,), whole numbers >= 1. Output: share in [0, 1] with a Wilson interval.
Deviates: papers quote a standard deviation over folds; this interval comes from the counts.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from inversionlab.metrics.wilson import Estimate, wilson


def attack_accuracy(rank_N: NDArray[np.integer], *, top: int) -> Estimate:
    """Share of the ranks (N,) that are `top` or better.

    Raises:
        ValueError: `top` or a rank is below 1.
    """
    if top < 1:
        raise ValueError(f"top = {top}; must be at least 1")
    if rank_N.size and rank_N.min() < 1:
        raise ValueError(f"a rank of {rank_N.min()}; ranks start at 1, the best")
    return wilson(int((rank_N <= top).sum()), int(rank_N.size))
