"""What is measured: pure functions on NumPy arrays, one metric a file."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from inversionlab.metrics.accuracy import recognition_accuracy
from inversionlab.metrics.attack_accuracy import attack_accuracy
from inversionlab.metrics.cmc import cmc
from inversionlab.metrics.frechet import frechet_distance
from inversionlab.metrics.nearest_picture import (
    leave_one_out_distance,
    nearest_distance,
    within_person_distance,
)
from inversionlab.metrics.rank_score import mean_score, median_rank
from inversionlab.metrics.wilson import Estimate, wilson

METRICS: dict[str, Callable[..., Any]] = {
    "recognition_accuracy": recognition_accuracy,
    "attack_accuracy": attack_accuracy,
    "median_rank": median_rank,
    "mean_score": mean_score,
    "cmc": cmc,
    "frechet_distance": frechet_distance,
    "nearest_distance": nearest_distance,
    "within_person_distance": within_person_distance,
}

__all__ = [
    "METRICS",
    "Estimate",
    "attack_accuracy",
    "cmc",
    "frechet_distance",
    "leave_one_out_distance",
    "mean_score",
    "median_rank",
    "nearest_distance",
    "recognition_accuracy",
    "wilson",
    "within_person_distance",
]
