"""A run's record and tables, out of the store."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Mapping
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from inversionlab.core.settings import ConfigError
from inversionlab.results.run_data import RunData
from inversionlab.store.storage import Storage
from inversionlab.store.tables import SCHEMAS, Store


def load_run(storage: Storage, run: str) -> RunData:
    """Everything that the store holds of the run.

    Raises:
        ConfigError: there is no such run; names those that are there.
    """
    name = f"runs/{run}/run.json"
    if not storage.exists(name):
        raise ConfigError(f"{storage.root}: holds no run `{run}`{others(storage, 'runs')}")
    manifest = storage.read_json(name)
    store, tables = Store(storage), manifest["tables"]
    return RunData(
        manifest=manifest,
        reconstructions=of_jobs(
            store.reconstructions(dict.fromkeys(c["cell"] for c in manifest["cells"])),
            manifest["jobs"],
        ),
        models=_read(store, "models", tables["models"]),
        evaluators=_read(store, "evaluators", tables["evaluators"]),
        references=_read(store, "references", [tables["real"], *tables["models"]]),
        features=_read(store, "features", tables["evaluators"]),
    )


def of_jobs(rows: pa.Table, jobs: Mapping[str, Any]) -> pa.Table:
    """The rows of these jobs alone: another run may have attacked more targets, or each more often."""
    mine = pc.and_(
        pc.is_in(rows["target"], value_set=pa.array(jobs["targets"], pa.int32())),
        pc.and_(
            pc.greater_equal(rows["repeat"], jobs.get("first_repeat", 0)),
            pc.less(rows["repeat"], jobs.get("first_repeat", 0) + jobs["repeats"]),
        ),
    )
    return rows.filter(mine)


def others(storage: Storage, folder: str) -> str:
    """The end of an error's sentence: what is there instead."""
    names = sorted(storage.folders(folder))
    return f"; there are: {', '.join(names)}" if names else "; there are none"


def _read(store: Store, table: str, keys: Iterable[str]) -> pa.Table:
    """The files of these keys that are there, in this order."""
    parts = []
    for key in keys:
        with contextlib.suppress(FileNotFoundError):
            parts.append(store.read(table, key))
    return pa.concat_tables(parts) if parts else SCHEMAS[table].empty_table()
