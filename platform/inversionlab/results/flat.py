"""A run as one flat table: a row for each reconstruction and evaluator, for DuckDB, pandas or a spreadsheet."""

import io
import json
import math
from collections.abc import Iterator, Mapping
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from inversionlab.results.rows import Row
from inversionlab.results.run_results import RunResults

FIXED = pa.schema(
    [
        ("run", pa.string()),
        ("experiment", pa.string()),
        ("cell", pa.string()),
        ("attack", pa.string()),
        ("access", pa.string()),
        ("model", pa.string()),
        ("kind", pa.string()),
        ("defense", pa.string()),
        ("stripped", pa.bool_()),
        ("point", pa.float64()),
        ("victim_seed", pa.int64()),
        ("target", pa.int32()),
        ("person", pa.string()),
        ("repeat", pa.int32()),
        ("evaluator", pa.string()),
        ("headline", pa.bool_()),
        ("rank", pa.int32()),
        ("score", pa.float32()),
        ("nearest", pa.float32()),
        ("guesses", pa.int32()),
        ("top1", pa.bool_()),
        ("top5", pa.bool_()),
        ("success", pa.bool_()),
        ("confidence", pa.float32()),
        ("converged", pa.bool_()),
        ("steps", pa.int32()),
        ("queries", pa.int64()),
        ("training_queries", pa.int64()),
        ("seconds", pa.float32()),
        ("error", pa.float32()),
        ("accuracy", pa.float64()),
        ("loss_points", pa.float64()),
        ("seed", pa.int64()),
        ("version", pa.string()),
        ("created", pa.string()),
    ]
)
"""The columns of every run. Behind them stand the settings that the run has: `attack.steps`, `defense.alpha`."""
STORED = (
    *("victim_seed", "target", "repeat", "confidence", "converged", "steps", "queries"),
    *("training_queries", "seconds", "error", "seed", "version", "created", "person"),
)
"""Columns that are taken from the store as they are."""
SETTINGS = {"attack": "attack_settings", "defense": "defense_settings"}


def flat_table(results: RunResults, *, names: bool) -> pa.Table:
    """The reconstructions with their verdicts; one that nobody judged has one row without an evaluator.

    Args:
        results: the run.
        names: whether the people's names are in the column `person`; without them it is null.
    """
    rows = [found for row in results.rows for found in _rows(results, row, names)]
    settings = list(dict.fromkeys(key for row in rows for key in row if key not in FIXED.names))
    fields = [pa.field(key, _kind([row.get(key) for row in rows])) for key in settings]
    schema = pa.schema([*FIXED, *fields])
    for field in fields:
        if field.type == pa.string():
            for row in rows:
                row[field.name] = _text(row.get(field.name))
    return pa.Table.from_pylist(rows, schema)


def parquet(table: pa.Table) -> bytes:
    """A table as a Parquet file."""
    sink = io.BytesIO()
    with pq.ParquetWriter(sink, table.schema, compression="zstd") as writer:
        writer.write_table(table)
    return sink.getvalue()


def flat_settings(prefix: str, settings: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    """Settings with dotted names; a list is JSON text."""
    for key, value in settings.items():
        name = f"{prefix}.{key}"
        if isinstance(value, Mapping):
            yield from flat_settings(name, value)
        else:
            yield name, json.dumps(value) if isinstance(value, list) else value


def _rows(results: RunResults, row: Row, names: bool) -> Iterator[dict[str, Any]]:
    record, cells = results.run.record, {cell.cell for cell in row.cells}
    whom = {
        "run": record.run,
        "experiment": record.name,
        "attack": row.attack,
        "access": row.cell.access,
        "model": row.label,
        "kind": row.kind,
        "defense": row.cell.title or row.cell.defense,
        "stripped": row.stripped,
        "point": row.point,
        "accuracy": row.accuracy_all.value if row.accuracy_all else None,
        "loss_points": None if math.isnan(row.loss_points) else row.loss_points,
    }
    wanted = [*STORED, "cell", "verdicts", *SETTINGS.values()]
    deciding = results.evaluators[results.headline_evaluator] if results.evaluators else None
    for stored in results.run.reconstructions.select(wanted).to_pylist():
        if stored["cell"] not in cells:
            continue
        known = {**whom, "cell": stored["cell"], **{key: stored[key] for key in STORED}}
        known["person"] = stored["person"] if names else None
        for prefix, column in SETTINGS.items():
            known |= dict(flat_settings(prefix, json.loads(stored[column] or "{}")))
        for verdict in stored["verdicts"] or [{}]:
            rank = verdict.get("rank") or None
            judged = {key: verdict.get(key) for key in ("evaluator", "score", "nearest")}
            hits = {"top1": 1, "top5": 5, "success": results.guesses}
            yield {
                **known,
                **judged,
                "headline": judged["evaluator"] == deciding if judged["evaluator"] else None,
                "rank": rank,
                "guesses": results.guesses if judged["evaluator"] else None,
                **{key: None if rank is None else rank <= k for key, k in hits.items()},
            }


def _kind(values: list[Any]) -> pa.DataType:
    """The type of a setting's column: numbers, yes or no, or else text."""
    known = [value for value in values if value is not None]
    if known and all(isinstance(value, bool) for value in known):
        return pa.bool_()
    if known and all(isinstance(v, int | float) and not isinstance(v, bool) for v in known):
        return pa.float64()
    return pa.string()


def _text(value: Any) -> str | None:
    return value if value is None or isinstance(value, str) else json.dumps(value)
