"""M-candidate success: the person is among the M pictures that an attacker returns.

A defense that hides a person among decoys still fails if the person's face lies in the attacker's hand, beside the
decoys'. So one hit among an attack's M tries at a person counts for the person. An attacker with M tries and no
knowledge succeeds more often than with one: compare with the null attacks at the same M.

Inputs: hits (N,) bool, people (N,).
"""

import numpy as np
from numpy.typing import NDArray

from inversionlab.metrics.wilson import Estimate, wilson


def any_hit(hit_N: NDArray[np.bool_], person_N: NDArray[np.integer]) -> Estimate:
    """The share of the people of whom at least one try (N,) is a hit; its `count` is the number of people."""
    people = np.unique(person_N)
    return wilson(int(np.isin(people, person_N[hit_N]).sum()), len(people))
