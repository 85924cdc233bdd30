"""Whether a run's page is up to date: a command that finds everything stored need not draw it again."""

import hashlib
from functools import cache
from pathlib import Path

from inversionlab.core.settings import fingerprint
from inversionlab.results.run_record import RunRecord
from inversionlab.store.storage import Storage

PACKAGE = Path(__file__).resolve().parents[2]
CODE = ("report", "results", "metrics")
"""Folders whose files decide what a page looks like and says."""
TABLES = "models", "evaluators", "references", "features", "galleries", "held_out", "ceilings"


def origin_of(storage: Storage, record: RunRecord) -> str:
    """A fingerprint of all that a page is made from: the record, the rows and measurements there, and this code.

    Files with one name have one content, so their names are enough.
    """
    cells = sorted({cell.cell for cell in record.cells})
    rows = [[cell, sorted(storage.files(f"reconstructions/{cell}"))] for cell in cells]
    of_run = {*record.tables.models, *record.tables.evaluators, record.tables.real}
    of_run |= {prior.ceiling for prior in record.priors}
    measured = [
        sorted({f"{table}/{key}.parquet" for key in of_run} & {*storage.files(table)})
        for table in TABLES
    ]
    return fingerprint([record.model_dump(mode="json"), rows, measured, _code()])


def is_current(storage: Storage, page: str, origin: str) -> bool:
    """Whether the page is there, whole, and was made from this."""
    try:
        content = storage.read(page)
    except OSError:
        return False
    return mark(origin).encode() in content and content.rstrip().endswith(b"</html>")


def mark(origin: str) -> str:
    """What a page says in its head of what it was made from."""
    return f'<meta name="made-from" content="{origin}">'


@cache
def _code() -> str:
    digest = hashlib.sha256()
    for folder in CODE:
        for file in sorted((PACKAGE / folder).rglob("*")):
            if file.suffix in (".py", ".j2", ".css"):
                digest.update(file.read_bytes())
    return digest.hexdigest()
