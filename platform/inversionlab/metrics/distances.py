"""Distances between pictures in an evaluator's feature space.

Fréchet distance between two sets of pictures (FID, but of a face network): M. Heusel et al., "GANs Trained by
a Two Time-Scale Update Rule" (NeurIPS 2017). With the means m and covariances C of Gaussians fitted to the two
sets:

    d² = |m1 - m2|² + tr(C1) + tr(C2) - 2·tr((C1^½ C2 C1^½)^½)

Deviates: the features are the evaluator's, not Inception's, so only numbers of one evaluator compare. The last
trace is computed as the sum of the singular values of R1·R2ᵀ, where Cᵢ = RᵢᵀRᵢ comes from a QR factorization
of the centred features. It is the same number without the square root of a rounded eigenvalue, and it stays
exact where N < D leaves the covariances without full rank.
Bias: the distance is too large for few pictures (Chong and Forsyth, CVPR 2020). Compare at equal counts only,
and do not read the number itself as a quality.

Distance of the means alone, |m1 - m2|²: what X. Gong et al., "A GAN-Based Defense Framework Against Model
Inversion Attacks" (IEEE TIFS 2023), print as FID (eq. 13). It is a part of the Fréchet distance, and may order
sets otherwise.

Nearest distance, from a reconstruction to the closest private picture of its target: the "KNN distance" of Y.
Zhang et al., "The Secret Revealer" (CVPR 2020):

    nearest(r) = min_j |f(r) - f(x_j)|

Deviates: the paper squares the distances and uses penultimate Inception features; here they are not squared.
For a network that compares by angle, hand over features of length 1.
Reference: the same distance between the private pictures of one person, each left out in turn. A
reconstruction below it resembles one picture more than the person's pictures resemble each other.

Inputs: features (N, D) and (M, D), any float type; float64 inside. Output: distances >= 0.
"""

import math
from dataclasses import dataclass
from typing import Self

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class Gaussian:
    """The Gaussian that is fitted to a set of features."""

    mean_D: NDArray[np.float64]
    root_KD: NDArray[np.float64]
    """R (min(N, D), D) with RᵀR = C, the unbiased covariance."""

    @classmethod
    def fit(cls, x_ND: NDArray[np.floating]) -> Self:
        """Fit to features (N, D), N >= 2.

        Raises:
            ValueError: fewer than 2 rows, or a value that is not finite.
        """
        wide_ND = checked(x_ND)
        mean_D = wide_ND.mean(axis=0)
        root_KD = np.linalg.qr(wide_ND - mean_D, mode="r")
        return cls(mean_D, root_KD / np.sqrt(len(wide_ND) - 1))


def frechet_distance(first: Gaussian, second: Gaussian) -> float:
    """Squared Fréchet distance between two sets of features, given the Gaussians fitted to them.

    Raises:
        ValueError: the features have different lengths.
    """
    shift = feature_mean_distance(first, second)
    spread = float((first.root_KD**2).sum() + (second.root_KD**2).sum())
    product_KK = first.root_KD @ second.root_KD.T
    overlap = float(np.linalg.svd(product_KK, compute_uv=False).sum())
    return max(0.0, shift + spread - 2 * overlap)


def feature_mean_distance(first: Gaussian, second: Gaussian) -> float:
    """Squared distance of the means of two sets of features, given the Gaussians fitted to them.

    Raises:
        ValueError: the features have different lengths.
    """
    share_a_space(len(first.mean_D), len(second.mean_D))
    return float(((first.mean_D - second.mean_D) ** 2).sum())


def checked(x_ND: NDArray[np.floating]) -> NDArray[np.float64]:
    """A set of features (N, D) as float64; ValueError for fewer than 2 rows, or a value that is not finite."""
    if x_ND.ndim != 2 or len(x_ND) < 2:
        raise ValueError(f"the features are {x_ND.shape}; needed are (at least 2, D)")
    if not np.isfinite(x_ND).all():
        raise ValueError("the features hold NaN or infinity")
    return x_ND.astype(np.float64)


def share_a_space(first: int, second: int) -> None:
    """Raise ValueError if features of these lengths cannot be compared."""
    if first != second:
        raise ValueError(f"features of length {first} and {second} share no space")


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
