"""Recognition accuracy: the share of test pictures whose person gets the highest score.

Inputs: predicted and true class numbers (N,), and optionally the class numbers of the targets.
Output: shares in [0, 1] with Wilson intervals: over all people, and over the pictures of the
targets only (a defense that gives up just the people it protects would not show in the first).
Deviates: nothing.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from inversionlab.metrics.wilson import Estimate, wilson


def recognition_accuracy(
    predicted_N: NDArray[np.integer],
    true_N: NDArray[np.integer],
    *,
    only: NDArray[np.integer] | None = None,
) -> Estimate:
    """Share of the pictures (N,) that are named rightly, of those whose person is in `only`.

    Raises:
        ValueError: the two arrays differ in shape.
    """
    if predicted_N.shape != true_N.shape:
        raise ValueError(f"{predicted_N.shape} predictions for {true_N.shape} pictures")
    counted_N = np.ones(true_N.shape, bool) if only is None else np.isin(true_N, only)
    return wilson(int((predicted_N == true_N)[counted_N].sum()), int(counted_N.sum()))
