"""What one evaluator says of one cell. `METRICS` lists the numbers; tables and pages go through that list."""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import cast

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from inversionlab.metrics import Estimate, distances, ranks
from inversionlab.results.load import RunData
from inversionlab.results.wording import estimate_text, measure, number

CMC_RANKS = 50
"""The largest number of guesses in the cumulative match characteristic."""


@dataclass(frozen=True)
class Metric:
    """How tables show one number that every evaluator gives to every cell."""

    key: str
    heading: str
    text: Callable[[float], str] = number
    """Writes a value that has no interval."""
    compared: bool = False
    """Whether the comparison of defenses shows it, too."""
    printed: str = ""
    """Its heading in the terminal's table; "" leaves it out."""

    def cell(self, value: Estimate | float) -> str:
        """A value as text."""
        return estimate_text(value) if isinstance(value, Estimate) else self.text(value)


METRICS = (
    Metric("top1", "top-1", compared=True),
    Metric("top5", "top-5", compared=True, printed="top-5 (95%)"),
    Metric("median_rank", "median rank"),
    Metric("nearest", "nearest picture", measure),
    Metric("frechet", "FID", measure, compared=True),
)
"""In the tables' order. `top5` decides what is strongest."""


PROTOCOL_NOTES = {
    "embedding": "{}, an embedding trained elsewhere; its gallery is made of held-out private pictures",
    "given": "{}, a classifier that was given and not trained here",
}
"""What an evaluator is that no training of this run made, by its protocol; the blank is for its network."""


@dataclass(frozen=True)
class EvaluatorResult:
    """What one evaluator says of one cell."""

    evaluator: str
    metrics: Mapping[str, Estimate | float]
    """Every metric by its key: a share with its interval, or a number; NaN where it is not known."""
    cmc_K: NDArray[np.float64]
    """Share of hits within 1, 2, .. `CMC_RANKS` guesses."""

    @property
    def top5(self) -> Estimate:
        """The share of reconstructions with the target among the evaluator's first five people."""
        return cast(Estimate, self.metrics["top5"])


def private_features(run: RunData, evaluator: str) -> NDArray[np.float64]:
    """An evaluator's features (M, D) of the targets' private pictures; (0, 0) where they are missing."""
    mine = run.features.filter(pc.equal(run.features["evaluator"], evaluator))
    return _matrix(_whole(mine["feature"]))


def evaluator_result(
    table: pa.Table, evaluator: str, private_MD: NDArray[np.float64] | None, full: int
) -> EvaluatorResult:
    """What an evaluator says of a cell's reconstructions. Those that it has not ranked do not count.

    Args:
        table: the reconstructions.
        evaluator: its name.
        private_MD: its features of the targets' private pictures; None leaves out the Fréchet distance.
        full: reconstructions of a full cell. The Fréchet distance grows as pictures get fewer, so a cell with
            another number of them has none.
    """
    verdicts = _whole(table["verdicts"])
    structs, target_N = verdicts.flatten(), _whole(table["target"])
    target_N = target_N.take(pc.list_parent_indices(verdicts))
    ranked = pc.and_kleene(
        pc.equal(structs.field("evaluator"), evaluator), pc.greater(structs.field("rank"), 0)
    )
    ranked = pc.fill_null(ranked, False)
    structs, person_N = structs.filter(ranked), target_N.filter(ranked).to_numpy()
    rank_N = structs.field("rank").to_numpy(zero_copy_only=False).astype(np.int64)
    frechet = math.nan
    if private_MD is not None and len(structs) == full:
        frechet = _frechet(_matrix(structs.field("feature")), private_MD)
    found: dict[str, Estimate | float] = {
        "top1": ranks.attack_accuracy(rank_N, person_N, top=1),
        "top5": ranks.attack_accuracy(rank_N, person_N, top=5),
        "median_rank": ranks.median_rank(rank_N),
        "nearest": ranks.mean_score(numbers(structs.field("nearest"))),
        "frechet": frechet,
    }
    return EvaluatorResult(evaluator, found, ranks.cmc(rank_N, max_rank=CMC_RANKS))


def numbers(column: pa.Array | pa.ChunkedArray) -> NDArray[np.float64]:
    """A number column as float64, null as NaN."""
    values: NDArray[np.float64] = column.cast(pa.float64()).to_numpy(zero_copy_only=False)
    return values


def _frechet(made_ND: NDArray[np.float64], private_MD: NDArray[np.float64]) -> float:
    comparable = min(len(made_ND), len(private_MD)) >= 2 and made_ND.shape[1] == private_MD.shape[1]
    if comparable and np.isfinite(made_ND).all() and np.isfinite(private_MD).all():
        return distances.frechet_distance(made_ND, private_MD)
    return math.nan


def _matrix(column: pa.Array) -> NDArray[np.float64]:
    """A list<float> column as (N, D); (0, 0) where it is empty, null or of unequal lengths."""
    lengths = set(pc.list_value_length(column).to_pylist())
    if len(lengths) != 1 or not (length := lengths.pop()):
        return np.empty((0, 0))
    return numbers(column.flatten()).reshape(-1, length)


def _whole(column: pa.ChunkedArray) -> pa.Array:
    """A column's chunks as one array."""
    combined = column.combine_chunks()
    return combined.chunk(0) if isinstance(combined, pa.ChunkedArray) else combined
