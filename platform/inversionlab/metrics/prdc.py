"""Precision, recall, density and coverage: how faithful and how varied made pictures are for an evaluator.

Papers: Kynkäänniemi et al., "Improved Precision and Recall Metric for Assessing Generative Models" (NeurIPS 2019),
equations 1 and 2; Naeem et al., "Reliable Fidelity and Diversity Metrics for Generative Models" (ICML 2020),
equations 3 and 4. With B(x) the ball around x that reaches to the k-th nearest other picture of x's own set:

    precision: share of made pictures that lie in some B(real)        recall: share of real ones in some B(made)
    density:   1 / (k N) sum over made pictures of the number of B(real) that they lie in
    coverage:  share of the B(real) that hold a made picture

All lie in [0, 1] but density, which has no upper bound and is about 1 for real pictures. Precision and density say
whether reconstructions look like private pictures, recall and coverage whether they show all of their variety.

Inputs: features (N, D) of the made and (M, D) of the real pictures, any float type; float64 inside.
Deviates: of more than 2,000 real pictures 2,000 count, evenly spread; with fewer than k + 1 pictures in a set, k
is one less than their number. Compare at equal counts only.
"""

from dataclasses import dataclass
from typing import Self

import numpy as np
from numpy.typing import NDArray

from inversionlab.metrics.distances import checked, share_a_space

NEIGHBOURS = 5
"""k of both papers."""
MOST = 2000
"""Real pictures that count at most."""


@dataclass(frozen=True)
class Prdc:
    """The four numbers."""

    precision: float
    recall: float
    density: float
    coverage: float


@dataclass(frozen=True)
class Balls:
    """A set of pictures, each with the ball around it that reaches to its k-th nearest other one."""

    x_MD: NDArray[np.float64]
    radius_M: NDArray[np.float64]
    neighbours: int
    """k, at most one less than the pictures."""

    @classmethod
    def around(cls, x_MD: NDArray[np.floating], neighbours: int = NEIGHBOURS) -> Self:
        """The balls of features (M, D), of `MOST` pictures at most.

        Raises:
            ValueError: fewer than 2 rows, or a value that is not finite.
        """
        wide_MD = checked(x_MD)
        if len(wide_MD) > MOST:
            wide_MD = wide_MD[np.linspace(0, len(wide_MD) - 1, MOST).round().astype(int)]
        apart_MM = _distances(wide_MD, wide_MD)
        np.fill_diagonal(apart_MM, np.inf)
        k = min(neighbours, len(wide_MD) - 1)
        return cls(wide_MD, np.partition(apart_MM, k - 1, axis=1)[:, k - 1], k)


def prdc(made: Balls, real: Balls) -> Prdc:
    """The four numbers of made pictures against real ones.

    Raises:
        ValueError: the features have different lengths.
    """
    share_a_space(made.x_MD.shape[1], real.x_MD.shape[1])
    apart_NM = _distances(made.x_MD, real.x_MD)
    in_real_NM = apart_NM <= real.radius_M
    return Prdc(
        precision=float(in_real_NM.any(1).mean()),
        recall=float((apart_NM <= made.radius_M[:, None]).any(0).mean()),
        density=float(in_real_NM.sum(1).mean() / real.neighbours),
        coverage=float(in_real_NM.any(0).mean()),
    )


def _distances(a_ND: NDArray[np.float64], b_MD: NDArray[np.float64]) -> NDArray[np.float64]:
    """Distances (N, M) between rows; rounding is far below the distances that matter here."""
    squared_NM = (a_ND**2).sum(1)[:, None] + (b_MD**2).sum(1) - 2 * a_ND @ b_MD.T
    apart_NM: NDArray[np.float64] = np.sqrt(np.maximum(squared_NM, 0.0))
    return apart_NM
