"""A run's record and tables, out of the store."""

import contextlib
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import PurePosixPath

import pyarrow as pa
import pyarrow.compute as pc

from inversionlab.core.settings import ConfigError
from inversionlab.core.yaml_io import cut
from inversionlab.results.record_part import RecordT, read_record
from inversionlab.results.run_record import JobsRecord, RunRecord
from inversionlab.results.trainings import TrainingCurve, training_curves
from inversionlab.store.storage import Storage
from inversionlab.store.tables import SCHEMAS, Store


@dataclass(frozen=True)
class RunData:
    """One run as the store holds it, in memory. Tables of an unfinished run may be empty.

    The columns are those of `store.tables.SCHEMAS`; older files have nulls in the newer ones.
    """

    record: RunRecord
    reconstructions: pa.Table
    """One row for each reconstruction; `verdicts` is a list with one struct for each evaluator."""
    models: pa.Table
    """One row for each protected model."""
    evaluators: pa.Table
    """One row for each evaluator, in the recipe's order."""
    references: pa.Table
    """Pictures to compare with, of kind "real" or "synthetic"; `protected` is empty for real ones."""
    features: pa.Table
    """The evaluators' features of the targets' private pictures."""
    galleries: pa.Table
    """Of evaluators that compare with galleries, the mean direction of every private person."""
    held_out: pa.Table = field(default_factory=SCHEMAS["held_out"].empty_table)
    """The evaluators' verdicts on real pictures that no training has seen, a row for each."""
    ceilings: pa.Table = field(default_factory=SCHEMAS["ceilings"].empty_table)
    """Private pictures as the attackers' generators can make them, with the first evaluator's ranks."""
    trainings: tuple[TrainingCurve, ...] = ()
    """How its networks learned, where that was asked for and is known."""


def load_run(storage: Storage, run: str, *, trainings: bool = False) -> RunData:
    """Everything that the store holds of the run; the curves of its `trainings` only if they are asked for.

    Raises:
        ConfigError: there is no such run; the text names those that are there.
    """
    name = f"runs/{run}/run.json"
    try:
        there = PurePosixPath(run).name == run and storage.exists(name)
    except (OSError, ValueError):
        there = False  # No file can have this name.
    if not there:
        raise ConfigError(f"{storage.root}: holds no run `{cut(run)}`{others(storage, 'runs')}")
    record = stored_record(RunRecord, storage, name)
    store, tables = Store(storage), record.tables
    cells = dict.fromkeys(c.cell for c in record.cells)
    return RunData(
        record=record,
        reconstructions=of_jobs(store.reconstructions(cells), record.jobs),
        models=_read(store, "models", tables.models),
        evaluators=_read(store, "evaluators", tables.evaluators),
        references=_read(store, "references", [tables.real, *tables.models]),
        features=_read(store, "features", tables.evaluators),
        galleries=_read(store, "galleries", tables.evaluators),
        held_out=_read(store, "held_out", tables.evaluators),
        ceilings=_read(store, "ceilings", [p.ceiling for p in record.priors if p.ceiling]),
        trainings=training_curves(storage, record.artifacts) if trainings else (),
    )


def stored_record(kind: type[RecordT], storage: Storage, name: str) -> RecordT:
    """The record in a JSON file of the storage.

    Raises:
        ConfigError: the file is damaged, cannot be read, or holds no record, or an empty one.
    """
    try:
        value = storage.read_json(name)
    except (OSError, ValueError, RecursionError) as error:
        raise ConfigError(
            f"{storage.uri(name)}: cannot be read ({error}); run the command that wrote it again; it writes this "
            "file anew and repeats no stored work"
        ) from error
    record = read_record(kind, value, storage.uri(name))
    if record == kind():
        raise ConfigError(
            f"{storage.uri(name)}: does not say what was run; run the command that wrote it again; it writes this "
            "file anew and repeats no stored work"
        )
    return record


def of_jobs(rows: pa.Table, jobs: JobsRecord) -> pa.Table:
    """The rows of these jobs only; another run may have attacked more targets, or with more repeats."""
    wanted = pc.is_in(rows["target"], value_set=pa.array(jobs.targets, pa.int32()))
    repeat, first = rows["repeat"], jobs.first_repeat
    for bound in (pc.greater_equal(repeat, first), pc.less(repeat, first + jobs.repeats)):
        wanted = pc.and_(wanted, bound)
    # A filter by an expression would start Arrow's threads; see `store.tables._unpacked`.
    return rows.filter(wanted)


def others(storage: Storage, folder: str) -> str:
    """The end of an error message: the names that are in the folder."""
    names = sorted(storage.folders(folder))
    return f"; there are: {', '.join(names)}" if names else "; there are none"


def _read(store: Store, table: str, keys: Iterable[str]) -> pa.Table:
    """The rows of those keys that the store has, in this order."""
    parts = []
    for key in keys:
        with contextlib.suppress(FileNotFoundError):
            parts.append(store.read(table, key))
    return pa.concat_tables(parts) if parts else SCHEMAS[table].empty_table()
