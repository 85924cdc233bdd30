"""Verification: would a face matcher accept the reconstruction as the person, at a stated rate of false accepts?

A matcher accepts a picture if its similarity to the person's gallery is at least t. The threshold t is the
smallest that accepts at most a share F of impostors, pictures of other people against this gallery. The true
acceptance rate at F is the share of the person's own pictures that are accepted (TAR at FAR: P. Grother et al.,
NIST's Face Recognition Vendor Test; here the threshold is one for all people).

Unlike a rank among the people of a gallery, it does not grow easier as the gallery gets smaller.

Inputs: similarities, any float type; larger is more alike.
"""

import math

import numpy as np
from numpy.typing import NDArray

from inversionlab.metrics.by_person import by_person
from inversionlab.metrics.wilson import Estimate, wilson


def threshold(impostor_N: NDArray[np.floating], rate: float) -> float:
    """The smallest similarity that accepts at most the share `rate` of the impostors' (N,).

    NaN where there are fewer than 1 / `rate` impostors, of whom not even one could be accepted.

    Raises:
        ValueError: not 0 < `rate` < 1.
    """
    if not 0 < rate < 1:
        raise ValueError(f"rate = {rate}; a rate of false accepts lies between 0 and 1")
    allowed = int(rate * impostor_N.size)
    if not allowed:
        return math.nan
    highest = np.sort(impostor_N.astype(np.float64))[::-1]
    # The next number above the first impostor that must be refused.
    return float(np.nextafter(highest[allowed], math.inf))


def accepted(
    similarity_N: NDArray[np.floating], person_N: NDArray[np.integer], least: float
) -> Estimate:
    """The share of the tries (N,) at people (N,) that are accepted; nothing tried if the threshold is NaN."""
    if math.isnan(least):
        return wilson(0, 0)
    return by_person(similarity_N >= least, person_N)
