"""The result store: Parquet tables, one row a reconstruction, written whole, never doubled.

A *cell* is one attack on one protected model; its id is the hash of everything that its rows depend on.
Each shard writes one file below its cell, named after the jobs in it; which jobs are done is read from
the rows, so it does not matter how an earlier run cut them.
"""

from __future__ import annotations

import io
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from inversionlab.config import fingerprint
from inversionlab.storage import Storage

Job = tuple[int, int]
"""(target, repeat): the unit of attack work."""

VERDICT = pa.struct(
    [
        ("evaluator", pa.string()),
        ("rank", pa.int32()),
        ("score", pa.float32()),
        ("nearest", pa.float32()),
        ("feature", pa.list_(pa.float32())),
    ]
)

SCHEMAS: dict[str, pa.Schema] = {
    "reconstructions": pa.schema(
        [
            ("cell", pa.string()),
            ("attack", pa.string()),
            ("defense", pa.string()),
            ("protected", pa.string()),
            ("attack_settings", pa.string()),
            ("defense_settings", pa.string()),
            ("target", pa.int32()),
            ("person", pa.string()),
            ("repeat", pa.int32()),
            ("picture", pa.binary()),
            ("confidence", pa.float32()),
            ("converged", pa.bool_()),
            ("steps", pa.int32()),
            ("queries", pa.int64()),
            ("seconds", pa.float32()),
            ("verdicts", pa.list_(VERDICT)),
            ("seed", pa.int64()),
            ("victim", pa.string()),
            ("generator", pa.string()),
            ("version", pa.string()),
            ("created", pa.string()),
        ]
    ),
    "models": pa.schema(
        [
            ("protected", pa.string()),
            ("defense", pa.string()),
            ("defense_settings", pa.string()),
            ("correct_all", pa.int64()),
            ("total_all", pa.int64()),
            ("correct_targets", pa.int64()),
            ("total_targets", pa.int64()),
            ("milliseconds", pa.float32()),
        ]
    ),
    "evaluators": pa.schema(
        [
            ("evaluator", pa.string()),
            ("protocol", pa.string()),
            ("network", pa.string()),
            ("correct", pa.int64()),
            ("total", pa.int64()),
            ("within_person", pa.float32()),
        ]
    ),
    "references": pa.schema(
        [
            ("kind", pa.string()),
            ("protected", pa.string()),
            ("target", pa.int32()),
            ("person", pa.string()),
            ("picture", pa.binary()),
        ]
    ),
    "features": pa.schema(
        [
            ("evaluator", pa.string()),
            ("target", pa.int32()),
            ("feature", pa.list_(pa.float32())),
        ]
    ),
}
"""Every table's columns; a table is a folder of Parquet files of this schema."""


@dataclass(frozen=True)
class Store:
    """The tables of one storage root."""

    storage: Storage

    def write(self, table: str, key: str, rows: Iterable[Mapping[str, Any]]) -> None:
        """Write `rows` as the file `table/key.parquet`, replacing one of the same key."""
        content = pa.Table.from_pylist([dict(r) for r in rows], schema=SCHEMAS[table])
        sink = io.BytesIO()
        pq.write_table(content, sink, compression="zstd")
        self.storage.write(f"{table}/{key}.parquet", sink.getvalue())

    def write_shard(self, cell: str, rows: Sequence[Mapping[str, Any]]) -> None:
        """Write the rows of one shard of `cell`, under a name that only its jobs decide."""
        jobs = sorted((int(r["target"]), int(r["repeat"])) for r in rows)
        self.write("reconstructions", f"{cell}/{fingerprint(jobs)}", rows)

    def has(self, table: str, key: str) -> bool:
        """Whether the file `table/key.parquet` is there."""
        return self.storage.exists(f"{table}/{key}.parquet")

    def read(self, table: str, key: str) -> pa.Table:
        """The file `table/key.parquet`."""
        return self._read(f"{table}/{key}.parquet", SCHEMAS[table], None)

    def done(self, cell: str) -> set[Job]:
        """The jobs of `cell` whose rows are stored."""
        jobs: set[Job] = set()
        for name in self.storage.files(f"reconstructions/{cell}", ".parquet"):
            part = self._read(name, SCHEMAS["reconstructions"], ["target", "repeat"])
            jobs |= set(zip(part["target"].to_pylist(), part["repeat"].to_pylist(), strict=True))
        return jobs

    def reconstructions(self, cells: Iterable[str]) -> pa.Table:
        """All rows of these cells, sorted by cell, target and repeat, each job once.

        Two runs that raced on the same cell may both have written a job; their rows are equal by
        construction, and the first is taken.
        """
        parts = [
            self._read(name, SCHEMAS["reconstructions"], None)
            for cell in cells
            for name in self.storage.files(f"reconstructions/{cell}", ".parquet")
        ]
        if not parts:
            return SCHEMAS["reconstructions"].empty_table()
        table = pa.concat_tables(parts).sort_by(
            [("cell", "ascending"), ("target", "ascending"), ("repeat", "ascending")]
        )
        keys = list(zip(*(table[c].to_pylist() for c in ("cell", "target", "repeat")), strict=True))
        first = [i for i, key in enumerate(keys) if i == 0 or key != keys[i - 1]]
        return table.take(pa.array(first))

    def _read(self, name: str, schema: pa.Schema, columns: list[str] | None) -> pa.Table:
        return pq.read_table(
            pa.BufferReader(self.storage.read(name)),
            columns=columns,
            schema=schema if columns is None else None,
        )
