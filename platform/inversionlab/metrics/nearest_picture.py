"""How near a reconstruction comes to a private picture of its target, and what near means there.

Paper: the "KNN distance" of Y. Zhang et al., "The Secret Revealer" (CVPR 2020): the Euclidean
distance in the evaluator's feature space to the closest private picture of the person attacked,

    nearest(r) = min_j |f(r) - f(x_j)|

Reference: the same measured between private pictures of one person, each left out in turn. A
reconstruction that is nearer than that resembles one picture more than the person's own pictures
resemble each other.

Inputs: features (N, D) and (M, D), any float type; float64 inside. Output: distances >= 0.
Deviates: the paper takes squared distances of penultimate Inception features; here plain distances,
and where a network compares by angle, hand over features of length 1.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray


def nearest_distance(
    feature_ND: NDArray[np.floating], picture_MD: NDArray[np.floating]
) -> NDArray[np.float64]:
    """Distances (N,) of features (N, D) to the closest of the pictures' features (M, D).

    Raises:
        ValueError: there is no picture, or the feature lengths differ.
    """
    if not len(picture_MD):
        raise ValueError("there is no picture to measure the distance to")
    if feature_ND.shape[1:] != picture_MD.shape[1:]:
        raise ValueError(f"features {feature_ND.shape} and {picture_MD.shape} share no space")
    wide_MD = picture_MD.astype(np.float64)
    # Row by row: differences, not |a|²+|b|²-2ab, which loses the small distances to rounding.
    distances = [float(np.linalg.norm(wide_MD - f_D, axis=1).min()) for f_D in feature_ND]
    return np.array(distances, dtype=np.float64)


def leave_one_out_distance(picture_MD: NDArray[np.floating]) -> NDArray[np.float64]:
    """Distances (M,) of each picture of one person to the closest other one; NaN for M = 1."""
    if len(picture_MD) < 2:
        return np.full(len(picture_MD), np.nan)
    rest = (np.delete(picture_MD, i, axis=0) for i in range(len(picture_MD)))
    pairs = zip(picture_MD, rest, strict=True)
    return np.concatenate([nearest_distance(one_D[None], others) for one_D, others in pairs])


def within_person_distance(
    feature_ND: NDArray[np.floating], person_N: NDArray[np.integer]
) -> float:
    """Mean leave-one-out distance over all pictures (N, D) of people (N,) who have two or more.

    NaN where nobody has two pictures.
    """
    parts = [leave_one_out_distance(feature_ND[person_N == p]) for p in np.unique(person_N)]
    known = np.concatenate([part[~np.isnan(part)] for part in parts]) if parts else np.empty(0)
    return float(known.mean()) if known.size else math.nan
