"""Others taken for a label: how often a released model gives a protected person's label to somebody else.

A defense may pay for hiding a person by giving their label to others (decoys, noise, a blurred boundary). Three
numbers say so:

    others taken:        for a label t, |{i : w_i = t, y_i != t}| over test pictures of all private people y_i
    strangers taken:     the share of pictures of people whom the model does not know that get a protected label
    strangers accepted:  the share of these whose largest score is at least tau, the highest one that still accepts
                         95 % of the genuine test pictures by theirs

The last one is the false positive identification rate of an open-set search at a false negative rate of 5 % of the
genuine pictures (P. Grother et al., NIST's Face Recognition Vendor Test, Part 2: Identification), except that a
genuine picture counts as accepted whoever it is taken for. The strangers are evaluator-only people, or else public
people on one picture: those on more some defenses learn to tell apart, and would look better than they are.

Inputs: winning classes (N,) int, largest log-scores (N,) float. A model whose largest scores are all equal, such
as one that answers with labels, can refuse nobody: it accepts all strangers.
"""

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

GENUINE = 0.95
"""The share of genuine pictures that are accepted."""


def others_taken(
    winner_N: NDArray[np.integer], class_N: NDArray[np.integer], labels: Sequence[int]
) -> list[int]:
    """For each of the labels, the number of pictures (N,) of others that are taken for it."""
    wrong_N = winner_N[winner_N != class_N]
    return [int((wrong_N == label).sum()) for label in labels]


def strangers_taken(winner_M: NDArray[np.integer], labels: Sequence[int]) -> float:
    """The share of the strangers' pictures (M,) that get one of the labels; NaN for M = 0."""
    return float(np.isin(winner_M, labels).mean()) if winner_M.size else math.nan


def strangers_accepted(
    genuine_N: NDArray[np.floating], stranger_M: NDArray[np.floating], share: float = GENUINE
) -> float:
    """The share of the strangers' scores (M,) that reach what `share` of the genuine ones (N,) reach.

    NaN where there are none of either.

    Raises:
        ValueError: not 0 < `share` <= 1.
    """
    if not 0 < share <= 1:
        raise ValueError(
            f"share = {share}; a share of accepted pictures lies above 0 and is 1 at most"
        )
    if not genuine_N.size or not stranger_M.size:
        return math.nan
    # 1e-9: 0.95 x 20 is 19 pictures, and not 20, however it rounds.
    needed = math.ceil(share * genuine_N.size - 1e-9)
    least = np.sort(genuine_N)[::-1][needed - 1]
    return float((stranger_M >= least).mean())
