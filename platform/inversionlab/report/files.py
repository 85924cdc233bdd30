"""The figures and tables of a page as files in folders beside it, readable by their owner alone."""

import re
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from inversionlab.report.charts.figure import Figure, FileKind
from inversionlab.store.storage import Storage

if TYPE_CHECKING:
    import pandas as pd


def write_figures(
    storage: Storage, folder: str, figures: Sequence[Figure], kind: FileKind
) -> list[str]:
    """Write each figure as `FOLDER/figures/NAME.KIND`; returns a line on where they are."""
    for figure in figures:
        storage.write(f"{folder}/figures/{file_name(figure.name)}.{kind}", figure.file(kind))
    return [_said(storage, f"{folder}/figures", len(figures), "figure")]


def write_tables(
    storage: Storage,
    folder: str,
    tables: Mapping[str, "pd.DataFrame"],
    figures: Sequence[Figure],
    others: Mapping[str, bytes],
) -> list[str]:
    """Write tables as `FOLDER/tables/NAME.csv`; returns a line on where they are.

    Args:
        storage: where to.
        folder: that of the page.
        tables: by their names; empty ones are left out.
        figures: each writes the table that it shows as `chart-NAME.csv`.
        others: further files, by their names.
    """
    every = {**tables, **{f"chart-{figure.name}": figure.frame for figure in figures}}
    known = {f"{file_name(name)}.csv": t for name, t in every.items() if len(t)}
    files = {name: table.to_csv(index=False).encode() for name, table in known.items()}
    for name, content in {**files, **others}.items():
        storage.write(f"{folder}/tables/{name}", content)
    return [_said(storage, f"{folder}/tables", len(files) + len(others), "table")]


def file_name(name: str) -> str:
    """A name of a figure as that of a file: evaluators and attacks may be called anything."""
    return re.sub(r"[^\w.-]+", "-", name).strip(".-")[:100] or "figure"


def _said(storage: Storage, folder: str, count: int, what: str) -> str:
    return f"{count} {what}{'' if count == 1 else 's'}: {storage.uri(folder)}"
