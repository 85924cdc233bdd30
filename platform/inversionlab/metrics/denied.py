"""The share of an evaluator's successes that the primary evaluator denies.

An evaluator that was trained on the victim's own task is fooled by what fools the victim. Of the reconstructions
that it takes for the target at once, this is the share that the primary evaluator, an independent one, does not.

Inputs: ranks (N,) by the evaluator and by the primary one, whole numbers >= 1; people (N,).
"""

import numpy as np
from numpy.typing import NDArray

from inversionlab.metrics.by_person import by_person
from inversionlab.metrics.wilson import Estimate


def denied(
    rank_N: NDArray[np.integer], primary_N: NDArray[np.integer], person_N: NDArray[np.integer]
) -> Estimate:
    """Of the tries that the evaluator ranks first, the share that the primary evaluator does not rank first."""
    hit_N = rank_N == 1
    return by_person(primary_N[hit_N] > 1, person_N[hit_N])
