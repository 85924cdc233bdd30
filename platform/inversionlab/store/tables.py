"""The result store: Parquet tables. The main one has one row for each reconstruction, and no row twice.

A *cell* is one attack on one protected model; its id is the hash of everything that its rows depend on.
Each shard writes one file into its cell's folder, named by the hash of its jobs. The rows say which jobs are
done, so it does not matter how an earlier run cut them into shards.
"""

import hashlib
import io
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from inversionlab.core.settings import fingerprint
from inversionlab.store.storage import Storage, unreadable

Job = tuple[int, int]
"""(target, repeat): the unit of attack work."""

_FEATURE = pa.list_(pa.float32())


def _columns(*groups: tuple[str, pa.DataType]) -> list[tuple[str, pa.DataType]]:
    """Columns in order; each group is the names of neighbours of one type."""
    return [(name, kind) for names, kind in groups for name in names.split()]


_VERDICT = _columns(
    ("evaluator", pa.string()),
    ("rank", pa.int32()),
    ("score nearest", pa.float32()),
    ("feature", _FEATURE),
)
_COLUMNS = {
    "reconstructions": _columns(
        ("cell attack defense protected attack_settings defense_settings", pa.string()),
        ("target", pa.int32()),
        ("person", pa.string()),
        ("repeat", pa.int32()),
        ("picture", pa.binary()),
        ("confidence", pa.float32()),
        ("converged", pa.bool_()),
        ("steps", pa.int32()),
        ("queries", pa.int64()),
        ("seconds", pa.float32()),
        ("training_queries", pa.int64()),
        ("error", pa.float32()),
        ("verdicts", pa.list_(pa.struct(_VERDICT))),
        ("seed victim_seed", pa.int64()),
        ("victim generator version created", pa.string()),
    ),
    "models": _columns(
        ("protected defense defense_settings", pa.string()),
        ("correct_all total_all correct_targets total_targets", pa.int64()),
        ("milliseconds", pa.float32()),
        ("networks", pa.int32()),
        ("parameters memory", pa.int64()),
        ("distortion log_distortion", pa.float32()),
        ("protects left facts", pa.string()),
        ("others_taken strangers_taken strangers_accepted", pa.float32()),
        ("others_taken_of correct_of total_of", pa.list_(pa.int32())),
    ),
    "evaluators": _columns(
        ("evaluator protocol network", pa.string()),
        ("correct total", pa.int64()),
        ("within_person", pa.float32()),
        ("people", pa.int32()),
    ),
    "held_out": _columns(
        ("evaluator", pa.string()), ("person rank", pa.int32()), ("similarity", pa.float32())
    ),
    "references": _columns(
        ("kind protected", pa.string()),
        ("target", pa.int32()),
        ("person", pa.string()),
        ("picture", pa.binary()),
    ),
    "galleries": _columns(
        ("evaluator", pa.string()), ("person", pa.int32()), ("feature", _FEATURE)
    ),
    "features": _columns(("evaluator", pa.string()), ("target", pa.int32()), ("feature", _FEATURE)),
    "ceilings": _columns(
        ("generator evaluator fit", pa.string()),
        ("target rank real_rank", pa.int32()),
        ("error", pa.float32()),
    ),
}
SCHEMAS = {table: pa.schema(columns) for table, columns in _COLUMNS.items()}
"""Every table's columns; a table is a folder of Parquet files with this schema."""

_NEWEST = {"models": "facts"}
"""For each table that has gained columns, the newest one; a file without it is from an older version."""
_VERDICTS = "verdicts.list.element"


@dataclass(frozen=True)
class Store:
    """The tables of one storage root.

    A damaged file counts as missing: it is renamed with a message, and its rows are computed again. One that is
    there and cannot be read is a StorageError.
    """

    storage: Storage
    say: Callable[[str], None] = print

    def write(self, table: str, key: str, rows: Iterable[Mapping[str, Any]]) -> None:
        """Write `rows` as the file `table/key.parquet`, replacing an older one.

        Raises:
            StorageError: it cannot be written.
        """
        content = pa.Table.from_pylist([dict(r) for r in rows], schema=SCHEMAS[table])
        sink = io.BytesIO()
        with pq.ParquetWriter(sink, content.schema, compression="zstd") as writer:
            writer.write_table(content)
            data = sink.getvalue()
            # The footer holds the SHA-256 of everything before it; `_unpacked` checks it.
            digest = hashlib.sha256(data).hexdigest()
            writer.add_key_value_metadata({"bytes": str(len(data)), "sha256": digest})
        self.storage.write(f"{table}/{key}.parquet", sink.getvalue())

    def write_shard(self, cell: str, rows: Sequence[Mapping[str, Any]]) -> None:
        """Write the rows of one shard of `cell`; the file's name depends on its jobs alone."""
        jobs = sorted((int(r["target"]), int(r["repeat"])) for r in rows)
        self.write("reconstructions", f"{cell}/{fingerprint(jobs)}", rows)

    def has(self, table: str, key: str) -> bool:
        """Whether the file `table/key.parquet` is there, undamaged, and has every current column."""
        wanted = [_NEWEST[table]] if table in _NEWEST else []
        content = self._read(table, f"{table}/{key}.parquet", wanted)
        return content is not None and content.num_columns == len(wanted)

    def read(self, table: str, key: str) -> pa.Table:
        """The file `table/key.parquet`; columns that an older file lacks are null.

        Raises:
            FileNotFoundError: there is none, or it is damaged.
        """
        content = self._read(table, f"{table}/{key}.parquet", None)
        if content is None:
            raise FileNotFoundError(f"{table}/{key}.parquet: is missing; run the command again")
        return content

    def done(self, cell: str) -> set[Job]:
        """The jobs of `cell` whose rows are stored."""
        return set(self.where(cell))

    def ranks(self, cell: str) -> dict[Job, dict[str, int]]:
        """The target's rank by each evaluator, for each stored job of `cell`.

        Pictures and features are not read, so this costs little more than `done`.
        """
        wanted = ["target", "repeat", f"{_VERDICTS}.evaluator", f"{_VERDICTS}.rank"]
        ranks: dict[Job, dict[str, int]] = {}
        for part in self._shards(cell, wanted):
            for job, verdicts in zip(_jobs(part), part["verdicts"].to_pylist(), strict=True):
                ranks.setdefault(job, {v["evaluator"]: v["rank"] for v in verdicts or ()})
        return ranks

    def seconds(self, cell: str) -> dict[Job, float]:
        """The seconds of work that each stored job of `cell` took."""
        seconds: dict[Job, float] = {}
        for part in self._shards(cell, ["target", "repeat", "seconds"]):
            seconds |= dict(zip(_jobs(part), part["seconds"].to_pylist(), strict=True))
        return seconds

    def cost(self, cell: str) -> tuple[str, str, float] | None:
        """Of a stored shard: its attack's settings, its defense, mean seconds; None where there is none."""
        wanted = ["attack_settings", "defense", "seconds"]
        for part in self._shards(cell, wanted):
            if part.num_rows:
                settings, defense = part["attack_settings"][0].as_py(), part["defense"][0].as_py()
                return settings, defense, pc.mean(part["seconds"]).as_py()
        return None

    def reconstructions(self, cells: Iterable[str]) -> pa.Table:
        """All rows of these cells, sorted by cell, target and repeat, each job once.

        Two runs that raced on a cell may both have written a job; their rows are equal, and the first is taken.
        """
        parts = [part for cell in cells for part in self._shards(cell, None)]
        if not parts:
            return SCHEMAS["reconstructions"].empty_table()
        table = in_order(
            pa.concat_tables(parts),
            [("cell", "ascending"), ("target", "ascending"), ("repeat", "ascending")],
        )
        keys = list(zip(*(table[c].to_pylist() for c in ("cell", "target", "repeat")), strict=True))
        first = [i for i, key in enumerate(keys) if i == 0 or key != keys[i - 1]]
        return table.take(pa.array(first))

    def where(self, cell: str) -> dict[Job, str]:
        """In which file each stored job of `cell` is."""
        files: dict[Job, str] = {}
        for name in self.storage.files(f"reconstructions/{cell}", ".parquet"):
            if (part := self._read("reconstructions", name, ["target", "repeat"])) is not None:
                files |= dict.fromkeys(_jobs(part), name)
        return files

    def rows(self, files: Iterable[str], jobs: Collection[Job]) -> dict[Job, dict[str, Any]]:
        """The rows of these jobs in these files; one that is missing or damaged has none."""
        rows: dict[Job, dict[str, Any]] = {}
        for name in files:
            if (part := self._read("reconstructions", name, None)) is not None:
                here = [(row, job) for row, job in enumerate(_jobs(part)) if job in jobs]
                found = part.take(pa.array([row for row, _ in here], pa.int64())).to_pylist()
                rows |= {job: row for (_, job), row in zip(here, found, strict=True)}
        return rows

    def _shards(self, cell: str, columns: list[str] | None) -> Iterator[pa.Table]:
        for name in self.storage.files(f"reconstructions/{cell}", ".parquet"):
            if (part := self._read("reconstructions", name, columns)) is not None:
                yield part

    def _read(self, table: str, name: str, columns: list[str] | None) -> pa.Table | None:
        """These columns of a file (None: all); None if there is no file or it is damaged."""
        try:
            raw = self.storage.read(name)
        except FileNotFoundError:
            return None
        except OSError as error:
            raise unreadable(self.storage.uri(name), error) from error
        try:
            return _unpacked(raw, SCHEMAS[table], columns)
        except (pa.ArrowException, OSError, ValueError, MemoryError) as error:
            self._set_aside(name, raw, error)
            return None

    def _set_aside(self, name: str, raw: bytes, error: Exception) -> None:
        """Rename a damaged file, unless another run has replaced it in the meantime."""
        try:
            if self.storage.read(name) != raw:
                return
            self.storage.set_aside(name)
        except OSError as refused:
            self.say(
                f"{self.storage.uri(name)}: is damaged ({error}) and could not be moved away ({refused})"
            )
            return
        self.say(
            f"{self.storage.uri(name)}: is damaged ({error}); it is now {name}.damaged, and its rows "
            "are made again"
        )


def in_order(rows: pa.Table, by: list[tuple[str, str]]) -> pa.Table:
    """The rows sorted by these columns, each `ascending` or `descending`; nulls and NaN come last."""
    # Not by `Table.sort_by`, which starts Arrow's threads; see `_unpacked`.
    return rows.take(pc.sort_indices(rows, sort_keys=by))


def _jobs(rows: pa.Table) -> list[Job]:
    return list(zip(rows["target"].to_pylist(), rows["repeat"].to_pylist(), strict=True))


def _unpacked(raw: bytes, schema: pa.Schema, columns: list[str] | None) -> pa.Table:
    """These columns of a file, or all in the order of `schema`.

    Raises:
        ValueError, ArrowException: the file is damaged.
    """
    file = pq.ParquetFile(pa.BufferReader(raw))
    notes = file.metadata.metadata or {}
    digest = hashlib.sha256(raw[: int(notes.get(b"bytes", 0))]).hexdigest().encode()
    # The first versions wrote no digest.
    if notes.get(b"sha256", digest) != digest:
        raise ValueError("its SHA-256 differs from the one that was written")
    known = {field.name: field for field in schema}
    if not all(f.name in known and f.equals(known[f.name]) for f in file.schema_arrow):
        raise ValueError("its columns are not those of this table")
    # Arrow's threads may still hold `raw` when the interpreter ends, which then aborts (Arrow's issue 34314).
    content = file.read(columns=columns, use_threads=False)
    return content if columns is not None else _with_nulls(content, schema)


def _with_nulls(content: pa.Table, schema: pa.Schema) -> pa.Table:
    """The columns of `schema`, in its order; one that `content` lacks is null."""
    held = set(content.column_names)
    columns = [
        content[field.name] if field.name in held else pa.nulls(content.num_rows, field.type)
        for field in schema
    ]
    return pa.table(columns, schema=schema)
