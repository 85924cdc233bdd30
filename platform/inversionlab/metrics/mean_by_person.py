"""The mean of a number over tries at people, with an interval that says how far it may be from other people's.

Several tries at one person are alike, so the unit is the person: with the means x_1 .. x_M of M people, and s
their standard deviation,

    mean ± t s / sqrt(M),   t the 97.5 % quantile of Student's t with M - 1 degrees of freedom

("Student", "The probable error of a mean", Biometrika 6, 1908), where the mean is that of the people's means. With
equally many tries at each person it is the mean over all tries. It needs three people, as `student_95` does.

Inputs: values (N,), people (N,); NaN values are left out. Output: in the values' unit.
"""

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from inversionlab.metrics.by_person import student_95
from inversionlab.metrics.wilson import Estimate


def mean_by_person(value_N: NDArray[Any], person_N: NDArray[np.integer]) -> Estimate:
    """The mean of the values (N,) of tries at people (N,); its ends are NaN for fewer than three people.

    Raises:
        ValueError: there are not as many people as values.
    """
    if value_N.shape != person_N.shape:
        raise ValueError(f"{value_N.shape} values and {person_N.shape} people; each try is at one")
    known_N = ~np.isnan(value_N)
    value_N, person_N = value_N[known_N].astype(np.float64), person_N[known_N]
    if not value_N.size:
        return Estimate(math.nan, math.nan, math.nan, 0)
    _, place_N = np.unique(person_N, return_inverse=True)
    mean_M = np.bincount(place_N, weights=value_N) / np.bincount(place_N)
    mean, people = float(mean_M.mean()), len(mean_M)
    if people < 3:
        return Estimate(mean, math.nan, math.nan, len(value_N))
    half = student_95(people - 1) * float(mean_M.std(ddof=1)) / math.sqrt(people)
    return Estimate(mean, mean - half, mean + half, len(value_N))
