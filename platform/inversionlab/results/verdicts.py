"""From the store's nested Arrow columns to the arrays that the metrics take."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from inversionlab.results.run_data import RunData


@dataclass(frozen=True)
class Verdicts:
    """What one evaluator says of the N reconstructions that it has seen."""

    row_N: NDArray[np.int64]
    """Which row of the table each entry judges."""
    rank_N: NDArray[np.int64]
    score_N: NDArray[np.float64]
    nearest_N: NDArray[np.float64]
    feature: pa.Array
    """list<float> features; `feature_matrix` turns them into (N, D)."""


def verdicts(reconstructions: pa.Table, evaluator: str) -> Verdicts:
    """The verdicts of one evaluator on a table of reconstructions; rows without a rank are out."""
    column = _whole(reconstructions["verdicts"])
    parents, structs = pc.list_parent_indices(column), column.flatten()
    wanted = pc.and_kleene(
        pc.equal(structs.field("evaluator"), evaluator), pc.greater(structs.field("rank"), 0)
    )
    wanted = pc.fill_null(wanted, False)
    structs = structs.filter(wanted)
    return Verdicts(
        row_N=parents.filter(wanted).to_numpy(zero_copy_only=False).astype(np.int64),
        rank_N=structs.field("rank").to_numpy(zero_copy_only=False).astype(np.int64),
        score_N=numbers(structs.field("score")),
        nearest_N=numbers(structs.field("nearest")),
        feature=structs.field("feature"),
    )


def private_features(run: RunData, evaluator: str) -> NDArray[np.float64]:
    """The evaluator's features (M, D) of the targets' private pictures."""
    kept = run.features.filter(pc.equal(run.features["evaluator"], evaluator))
    return feature_matrix(_whole(kept["feature"]))


def feature_matrix(column: pa.Array) -> NDArray[np.float64]:
    """A list<float> column as (N, D); (0, 0) where it is empty, null or of unequal lengths."""
    lengths = set(pc.list_value_length(column).to_pylist())
    if len(lengths) != 1 or not (length := lengths.pop()):
        return np.empty((0, 0))
    return numbers(column.flatten()).reshape(-1, length)


def numbers(column: pa.Array | pa.ChunkedArray) -> NDArray[np.float64]:
    """A number column as float64, null as NaN."""
    cast: NDArray[np.float64] = column.cast(pa.float64()).to_numpy(zero_copy_only=False)
    return cast


def _whole(column: pa.ChunkedArray) -> pa.Array:
    combined = column.combine_chunks()
    return combined.chunk(0) if isinstance(combined, pa.ChunkedArray) else combined
