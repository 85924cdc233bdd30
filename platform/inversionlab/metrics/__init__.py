"""What is measured: pure functions on NumPy arrays, one family of metrics a file."""

from inversionlab.metrics.by_person import by_person
from inversionlab.metrics.distances import (
    Gaussian,
    frechet_distance,
    nearest_distance,
    within_person_distance,
)
from inversionlab.metrics.ranks import attack_accuracy, cmc, mean_score, median_rank
from inversionlab.metrics.wilson import Estimate, wilson

__all__ = [
    "Estimate",
    "Gaussian",
    "attack_accuracy",
    "by_person",
    "cmc",
    "frechet_distance",
    "mean_score",
    "median_rank",
    "nearest_distance",
    "wilson",
    "within_person_distance",
]
