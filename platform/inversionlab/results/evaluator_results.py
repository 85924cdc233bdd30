"""What one evaluator says of one cell. `METRICS` lists the numbers; tables and pages go through that list."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import cast

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from inversionlab.metrics import (
    Estimate,
    attack_accuracy,
    cmc,
    frechet_distance,
    mean_score,
    median_rank,
)
from inversionlab.results.load import RunData
from inversionlab.results.verdicts import Verdicts, feature_matrix, verdicts, whole
from inversionlab.results.wording import measure, number

CMC_RANKS = 50
"""The largest number of guesses in the cumulative match characteristic."""


@dataclass(frozen=True)
class Metric:
    """One number that every evaluator gives to every cell."""

    key: str
    heading: str
    of: Callable[[Verdicts], Estimate | float]
    """A share with its interval, or a number; NaN where it is not known."""
    text: Callable[[float], str] = number
    """A plain number for reading."""
    compared: bool = False
    """Whether the comparison of defenses shows it, too."""


def _frechet(found: Verdicts) -> float:
    private_MD, made_ND = found.private_MD, found.feature_ND
    if private_MD is None or min(len(private_MD), len(made_ND)) < 2:
        return math.nan
    if made_ND.shape[1] != private_MD.shape[1]:
        return math.nan
    finite = np.isfinite(made_ND).all() and np.isfinite(private_MD).all()
    return frechet_distance(made_ND, private_MD) if finite else math.nan


METRICS = (
    Metric("top1", "top-1", lambda v: attack_accuracy(v.rank_N, top=1), compared=True),
    Metric("top5", "top-5", lambda v: attack_accuracy(v.rank_N, top=5), compared=True),
    Metric("median_rank", "median rank", lambda v: median_rank(v.rank_N)),
    Metric("nearest", "nearest picture", lambda v: mean_score(v.column("nearest")), measure),
    Metric("frechet", "FID", _frechet, measure, compared=True),
)
"""In the tables' order. `top5` decides what is strongest."""


@dataclass(frozen=True)
class EvaluatorResult:
    """What one evaluator says of one cell."""

    evaluator: str
    metrics: Mapping[str, Estimate | float]
    """Every metric's value by its key."""
    cmc_K: NDArray[np.float64]
    """Share of hits within 1, 2, .. `CMC_RANKS` guesses."""

    @property
    def top5(self) -> Estimate:
        """The share of reconstructions with the target among the evaluator's first five people."""
        return cast(Estimate, self.metrics["top5"])


def private_features(run: RunData, *, frechet: bool) -> dict[str, NDArray[np.float64] | None]:
    """Each evaluator's features (M, D) of the targets' private pictures; None without `frechet`."""
    found = {}
    for name in run.evaluators["evaluator"].to_pylist():
        mine = run.features.filter(pc.equal(run.features["evaluator"], name))
        found[name] = feature_matrix(whole(mine["feature"])) if frechet else None
    return found


def evaluator_result(
    table: pa.Table, evaluator: str, private_MD: NDArray[np.float64] | None, full: int
) -> EvaluatorResult:
    """What an evaluator says of a cell's reconstructions.

    Args:
        table: the reconstructions.
        evaluator: its name.
        private_MD: its features of the targets' private pictures; None: no distance to them is wanted.
        full: reconstructions of a full cell. The Fréchet distance grows as pictures get fewer, so a cell with
            another number of them has none.
    """
    found = verdicts(table, evaluator)
    if len(found.structs) == full:
        found = replace(found, private_MD=private_MD)
    metrics = {metric.key: metric.of(found) for metric in METRICS}
    return EvaluatorResult(evaluator, metrics, cmc(found.rank_N, max_rank=CMC_RANKS))
