"""Fréchet distance between two sets of pictures in a feature space (FID, but of a face network).

Paper: M. Heusel et al., "GANs Trained by a Two Time-Scale Update Rule" (NeurIPS 2017). With the
means m and covariances C of Gaussians fitted to the two sets:

    d² = |m1 - m2|² + tr(C1) + tr(C2) - 2·tr((C1^½ C2 C1^½)^½)

Inputs: features (N, D) and (M, D), N, M >= 2, any float type; float64 inside. Output: d² >= 0.
Deviates: the features are the evaluator's, not Inception's, so only numbers of one evaluator compare.
The last trace is computed as the sum of the singular values of R1·R2ᵀ, where Cᵢ = RᵢᵀRᵢ comes from a
QR factorization of the centred features. It is the same number without the square root of a rounded
eigenvalue, and it stays exact where N < D leaves the covariances without full rank.

Bias: the distance is too large for few pictures (Chong and Forsyth, CVPR 2020). Compare at equal counts
only, and do not read the number itself as a quality.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray


def frechet_distance(first_ND: NDArray[np.floating], second_MD: NDArray[np.floating]) -> float:
    """Squared Fréchet distance between Gaussians fitted to features (N, D) and (M, D).

    Raises:
        ValueError: fewer than 2 rows, different feature lengths, or a value that is not finite.
    """
    for name, x_ND in (("first", first_ND), ("second", second_MD)):
        if x_ND.ndim != 2 or len(x_ND) < 2:
            raise ValueError(f"the {name} features are {x_ND.shape}; needed are (at least 2, D)")
        if not np.isfinite(x_ND).all():
            raise ValueError(f"the {name} features hold NaN or infinity")
    if first_ND.shape[1] != second_MD.shape[1]:
        raise ValueError(
            f"features of length {first_ND.shape[1]} and {second_MD.shape[1]} share no space"
        )
    mean1_D, root1_KD = _fit(first_ND)
    mean2_D, root2_KD = _fit(second_MD)
    shift = float(((mean1_D - mean2_D) ** 2).sum())
    spread = float((root1_KD**2).sum() + (root2_KD**2).sum())
    overlap = float(np.linalg.svd(root1_KD @ root2_KD.T, compute_uv=False).sum())
    return max(0.0, shift + spread - 2 * overlap)


def _fit(x_ND: NDArray[np.floating]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Mean (D,) and a root R (min(N, D), D) of the unbiased covariance, RᵀR = C."""
    wide_ND = x_ND.astype(np.float64)
    mean_D = wide_ND.mean(axis=0)
    root_KD = np.linalg.qr(wide_ND - mean_D, mode="r")
    return mean_D, root_KD / np.sqrt(len(wide_ND) - 1)
