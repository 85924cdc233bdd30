"""M-candidate success: the person is among the M pictures that an attacker returns.

A defense that hides a person among decoys still fails if the person's face lies in the attacker's hand, beside the
decoys'. So one hit among an attack's M tries at a person counts for the person. An attacker with M tries and no
knowledge succeeds more often than with one: compare with the null attacks at the same M.

Inputs: hits (N,) bool, people (N,).
"""

import numpy as np
from numpy.typing import NDArray

from inversionlab.metrics.by_person import by_person
from inversionlab.metrics.wilson import Estimate


def any_hit(
    hit_N: NDArray[np.bool_],
    person_N: NDArray[np.integer],
    victim_N: NDArray[np.integer] | None = None,
) -> Estimate:
    """The share of the people of whom at least one try (N,) is a hit; its `count` is the number of people.

    An attacker holds one model. So with tries on several victims, whose numbers are `victim_N`, each person counts
    once for each of them.
    """
    on_N = np.zeros_like(person_N) if victim_N is None else victim_N
    pair_P2, place_N = np.unique(np.stack([person_N, on_N], 1), axis=0, return_inverse=True)
    found_P = np.zeros(len(pair_P2), bool)
    found_P[place_N.reshape(-1)[hit_N]] = True
    return by_person(found_P, pair_P2[:, 0])
