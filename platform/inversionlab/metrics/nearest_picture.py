"""The distance from a reconstruction to the nearest private picture of its target, with a reference.

Paper: the "KNN distance" of Y. Zhang et al., "The Secret Revealer" (CVPR 2020): the Euclidean
distance in the evaluator's feature space to the closest private picture of the person attacked,

    nearest(r) = min_j |f(r) - f(x_j)|

Reference: the same distance between the private pictures of one person, each left out in turn. A
reconstruction below it resembles one picture more than the person's pictures resemble each other.

Inputs: features (N, D) and (M, D), any float type; float64 inside. Output: distances >= 0.
Deviates: the paper squares the distances and uses penultimate Inception features; here they are not
squared. For a network that compares by angle, hand over features of length 1.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray


def nearest_distance(
    feature_ND: NDArray[np.floating], picture_MD: NDArray[np.floating]
) -> NDArray[np.float64]:
    """Distances (N,) from features (N, D) to the closest of the pictures' features (M, D).

    Raises:
        ValueError: there is no picture, or the feature lengths differ.
    """
    if not len(picture_MD):
        raise ValueError("there is no picture to measure the distance to")
    if feature_ND.shape[1:] != picture_MD.shape[1:]:
        raise ValueError(f"features {feature_ND.shape} and {picture_MD.shape} share no space")
    wide_MD = picture_MD.astype(np.float64)
    # Differences row by row: |a|²+|b|²-2ab would lose small distances to rounding.
    distances = [float(np.linalg.norm(wide_MD - f_D, axis=1).min()) for f_D in feature_ND]
    return np.array(distances, dtype=np.float64)


def leave_one_out_distance(picture_MD: NDArray[np.floating]) -> NDArray[np.float64]:
    """Distances (M,) from each picture of one person to the closest other one; NaN for M = 1."""
    if len(picture_MD) < 2:
        return np.full(len(picture_MD), np.nan)
    rest = (np.delete(picture_MD, i, axis=0) for i in range(len(picture_MD)))
    pairs = zip(picture_MD, rest, strict=True)
    return np.concatenate([nearest_distance(one_D[None], others) for one_D, others in pairs])


def within_person_distance(
    feature_ND: NDArray[np.floating], person_N: NDArray[np.integer]
) -> float:
    """Mean leave-one-out distance over the pictures (N, D) of people (N,) with two or more; NaN without any."""
    parts = [leave_one_out_distance(feature_ND[person_N == p]) for p in np.unique(person_N)]
    known = np.concatenate([part[~np.isnan(part)] for part in parts]) if parts else np.empty(0)
    return float(known.mean()) if known.size else math.nan
