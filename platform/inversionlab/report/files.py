"""The figures and tables of a page as files in folders beside it, readable by their owner alone."""

import re
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from inversionlab.report.charts.figure import Figure, FileKind
from inversionlab.store.storage import Storage

if TYPE_CHECKING:
    import pandas as pd


def write_files(
    storage: Storage,
    folder: str,
    charts: Mapping[str, Sequence[Figure]],
    kind: FileKind | None,
    tables: "Mapping[str, pd.DataFrame | bytes] | None",
) -> list[str]:
    """Write charts as `FOLDER/figures/NAME.KIND` and tables as `FOLDER/tables/NAME.csv`.

    Args:
        storage: where to.
        folder: that of the page.
        charts: by the sections of the page.
        kind: of the files of charts; None: none.
        tables: by their names, empty ones are left out; of bytes the name is the file's. With tables the one that
            each chart shows is written, too, as `chart-NAME.csv`. None: none.

    Returns:
        A line on each folder.
    """
    figures = [figure for section in charts.values() for figure in section]
    files: dict[str, dict[str, bytes]] = {}
    if kind:
        files["figure"] = {f"{file_name(f.name)}.{kind}": f.file(kind) for f in figures}
    if tables is not None:
        files["table"] = named = {}
        for name, table in {**tables, **{f"chart-{f.name}": f.frame for f in figures}}.items():
            if isinstance(table, bytes):
                named[name] = table
            elif len(table):
                named[f"{file_name(name)}.csv"] = table.to_csv(index=False).encode()
    for what, contents in files.items():
        for name, content in contents.items():
            storage.write(f"{folder}/{what}s/{name}", content)
    return [
        f"{len(found)} {what}{'' if len(found) == 1 else 's'}: {storage.uri(f'{folder}/{what}s')}"
        for what, found in files.items()
    ]


def file_name(name: str) -> str:
    """A name of a figure as that of a file: evaluators and attacks may be called anything."""
    return re.sub(r"[^\w.-]+", "-", name).strip(".-")[:100] or "figure"
