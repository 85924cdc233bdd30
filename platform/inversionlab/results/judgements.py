"""What one evaluator says of one cell."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from inversionlab.metrics import (
    Estimate,
    attack_accuracy,
    cmc,
    frechet_distance,
    mean_score,
    median_rank,
)
from inversionlab.results.run_data import RunData
from inversionlab.results.verdicts import Verdicts, feature_matrix, private_features, verdicts

CMC_RANKS = 50
"""How many guesses the cumulative match characteristic goes up to."""


@dataclass(frozen=True)
class Judgement:
    """What one evaluator says of one cell."""

    evaluator: str
    top1: Estimate
    top5: Estimate
    median_rank: float
    mean_score: float
    frechet: float
    """Squared Fréchet distance to the private pictures; NaN where this cell is not full."""
    nearest: float
    """Mean distance to the nearest private picture of the target."""
    within_person: float
    """The same between private pictures of one person."""
    cmc_K: NDArray[np.float64]


@dataclass(frozen=True)
class Judge:
    """One evaluator, and what its verdicts are held against."""

    name: str
    within_person: float
    private_ND: NDArray[np.float64] | None


def judges_of(run: RunData, frechet: bool) -> list[Judge]:
    """The evaluators, in their order; without `frechet` their private features are left out."""
    return [
        Judge(
            name,
            float(within) if within is not None else math.nan,
            private_features(run, name) if frechet else None,
        )
        for name, within in zip(
            run.evaluators["evaluator"].to_pylist(),
            run.evaluators["within_person"].to_pylist(),
            strict=True,
        )
    ]


def judgement(table: pa.Table, judge: Judge, compared: int) -> Judgement:
    """What a judge says of a cell's table; the Fréchet distance only at `compared` pictures."""
    found = verdicts(table, judge.name)
    return Judgement(
        evaluator=judge.name,
        top1=attack_accuracy(found.rank_N, top=1),
        top5=attack_accuracy(found.rank_N, top=5),
        median_rank=median_rank(found.rank_N),
        mean_score=mean_score(found.score_N),
        frechet=_frechet(found, judge, compared),
        nearest=mean_score(found.nearest_N),
        within_person=judge.within_person,
        cmc_K=cmc(found.rank_N, max_rank=CMC_RANKS),
    )


def _frechet(found: Verdicts, judge: Judge, compared: int) -> float:
    # A cell with fewer pictures than the others would look worse for that alone: no number then.
    if judge.private_ND is None or len(judge.private_ND) < 2 or len(found.rank_N) != compared:
        return math.nan
    made_ND = feature_matrix(found.feature)
    usable = len(made_ND) >= 2 and made_ND.shape[1] == judge.private_ND.shape[1]
    if not usable or not (np.isfinite(made_ND).all() and np.isfinite(judge.private_ND).all()):
        return math.nan
    return frechet_distance(made_ND, judge.private_ND)
