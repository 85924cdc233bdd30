"""An evaluator's verdicts on reconstructions, out of the store's table as arrays."""

from dataclasses import dataclass
from typing import Self

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray


@dataclass(frozen=True)
class Verdicts:
    """One evaluator's verdicts on the reconstructions that it has ranked."""

    row_N: NDArray[np.int64]
    """The numbers of the reconstructions."""
    person_N: NDArray[np.int64]
    victim_N: NDArray[np.int64]
    """The victims that were attacked, as 0, 1, ..."""
    rank_N: NDArray[np.int64]
    nearest_N: NDArray[np.float64]
    feature_ND: NDArray[np.float64]

    @classmethod
    def read(cls, table: pa.Table, evaluator: str) -> Self:
        """Out of the reconstructions."""
        verdicts = whole(table["verdicts"])
        structs, row_N = verdicts.flatten(), pc.list_parent_indices(verdicts)
        mine = pc.and_kleene(
            pc.equal(structs.field("evaluator"), evaluator), pc.greater(structs.field("rank"), 0)
        )
        mine = pc.fill_null(mine, False)
        structs, row_N = structs.filter(mine), row_N.filter(mine)
        # In rows of before there could be several victims there is no seed, and each cell is an attack on one.
        seed = whole(table["victim_seed"]).cast(pa.string())
        victim = pc.coalesce(seed, whole(table["cell"])).dictionary_encode().indices
        return cls(
            row_N.to_numpy(zero_copy_only=False).astype(np.int64),
            whole(table["target"]).take(row_N).to_numpy(zero_copy_only=False).astype(np.int64),
            victim.take(row_N).to_numpy(zero_copy_only=False).astype(np.int64),
            structs.field("rank").to_numpy(zero_copy_only=False).astype(np.int64),
            numbers(structs.field("nearest")),
            matrix(structs.field("feature")),
        )


def numbers(column: pa.Array | pa.ChunkedArray) -> NDArray[np.float64]:
    """A number column as float64, null as NaN."""
    values: NDArray[np.float64] = column.cast(pa.float64()).to_numpy(zero_copy_only=False)
    return values


def matrix(column: pa.Array) -> NDArray[np.float64]:
    """A list<float> column as (N, D); (0, 0) where it is empty, null or of unequal lengths."""
    lengths = set(pc.list_value_length(column).to_pylist())
    if len(lengths) != 1 or not (length := lengths.pop()):
        return np.empty((0, 0))
    return numbers(column.flatten()).reshape(-1, length)


def whole(column: pa.ChunkedArray) -> pa.Array:
    """A column's chunks as one array."""
    combined = column.combine_chunks()
    return combined.chunk(0) if isinstance(combined, pa.ChunkedArray) else combined
