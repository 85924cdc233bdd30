"""All cells of a paper as one table: CSV and Parquet. Shares are in per cent, as papers print them."""

import csv
import io
import math
from collections.abc import Iterable
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from inversionlab.papers.compare import ComparedCell, ComparedTable

SCHEMA = pa.schema(
    [
        *((name, pa.string()) for name in ("paper", "scale", "table", "row", "column", "unit")),
        *((name, pa.float64()) for name in ("ours", "ours_low", "ours_high")),
        ("count", pa.int64()),
        ("printed", pa.float64()),
        *((name, pa.string()) for name in ("printed_sign", "printed_text")),
        *((name, pa.float64()) for name in ("difference", "difference_low", "difference_high")),
        *(
            (name, pa.string())
            for name in ("beyond_noise", "reason", "not_run", "where", "note", "runs")
        ),
    ]
)
"""`count` is of what ours is a share or a mean; `not_run` says why ours is missing."""


def cells_table(paper: str, scale: str, tables: Iterable[ComparedTable]) -> pa.Table:
    """A row for each cell of these tables; a number that is not known is null."""
    rows = [_row(paper, scale, table.table.key, cell) for table in tables for cell in table.cells]
    return pa.Table.from_pylist(rows, schema=SCHEMA)


def as_parquet(table: pa.Table) -> bytes:
    """The table as a Parquet file."""
    sink = io.BytesIO()
    pq.write_table(table, sink, compression="zstd")
    return sink.getvalue()


def as_csv(table: pa.Table) -> bytes:
    """The table as a CSV file; what is not known is empty."""
    sink = io.StringIO()
    writer = csv.DictWriter(sink, table.column_names, lineterminator="\n")
    writer.writeheader()
    for row in table.to_pylist():
        writer.writerow({k: f"{v:.6g}" if isinstance(v, float) else v for k, v in row.items()})
    return sink.getvalue().encode()


def _row(paper: str, scale: str, table: str, cell: ComparedCell) -> dict[str, Any]:
    factor = 100 if cell.unit == "%" else 1
    row: dict[str, Any] = {
        "paper": paper,
        "scale": scale,
        "table": table,
        "row": cell.row,
        "column": cell.column,
        "unit": cell.unit,
        "not_run": "" if cell.ours is not None else cell.why,
        "beyond_noise": cell.beyond_noise,
        "reason": cell.reason,
    }
    if cell.ours is not None:
        found = cell.ours.estimate
        row |= _ends("ours", found.value, found.low, found.high, factor)
        row |= {"count": found.count, "runs": cell.ours.run}
    if (printed := cell.printed) is not None:
        row |= {"printed": printed.value, "printed_sign": printed.sign}
        row |= {"printed_text": printed.text, "where": printed.where, "note": printed.note}
    if (apart := cell.apart) is not None:
        row |= _ends("difference", apart.value, apart.low, apart.high, factor)
    return row


def _ends(name: str, value: float, low: float, high: float, factor: float) -> dict[str, Any]:
    ends = {name: value, f"{name}_low": low, f"{name}_high": high}
    return {key: x * factor if math.isfinite(x) else None for key, x in ends.items()}
