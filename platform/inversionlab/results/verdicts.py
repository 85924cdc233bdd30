"""From the store's nested Arrow columns to the arrays that the metrics take."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray


@dataclass(frozen=True)
class Verdicts:
    """One evaluator's verdicts on the N reconstructions that it has ranked."""

    structs: pa.StructArray
    """One struct for each reconstruction, with the fields of `store.tables.VERDICT`."""
    private_MD: NDArray[np.float64] | None = None
    """The evaluator's features of the targets' private pictures; None where they are not to be compared with."""

    @property
    def rank_N(self) -> NDArray[np.int64]:
        """Ranks of the target, 1 = best."""
        ranks: NDArray[np.int64] = self.structs.field("rank").to_numpy(zero_copy_only=False)
        return ranks.astype(np.int64)

    def column(self, name: str) -> NDArray[np.float64]:
        """A number of each verdict (N,), NaN where it is null."""
        return numbers(self.structs.field(name))

    @property
    def feature_ND(self) -> NDArray[np.float64]:
        """The evaluator's features of the reconstructions; (0, 0) where they are missing."""
        return feature_matrix(self.structs.field("feature"))


def verdicts(reconstructions: pa.Table, evaluator: str) -> Verdicts:
    """The verdicts of one evaluator on a table of reconstructions, without those that have no rank."""
    structs = whole(reconstructions["verdicts"]).flatten()
    wanted = pc.and_kleene(
        pc.equal(structs.field("evaluator"), evaluator), pc.greater(structs.field("rank"), 0)
    )
    return Verdicts(structs.filter(pc.fill_null(wanted, False)))


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


def whole(column: pa.ChunkedArray) -> pa.Array:
    """A column's chunks as one array."""
    combined = column.combine_chunks()
    return combined.chunk(0) if isinstance(combined, pa.ChunkedArray) else combined
