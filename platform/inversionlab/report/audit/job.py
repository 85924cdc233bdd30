"""Make a run's page from the store, and say its headline."""

from __future__ import annotations

from rich.console import Console

from inversionlab.report.audit.page import render
from inversionlab.report.audit.sentence import headline_sentence
from inversionlab.report.audit.terminal import terminal_table
from inversionlab.results.load import load_run
from inversionlab.store.storage import Storage


def write_report(root: str, run: str, *, pictures: bool) -> str:
    """Write `runs/RUN/report.html`, print the headline and the page's place; returns the place.

    Raises:
        ConfigError: the storage holds no such run.
    """
    storage = Storage(root)
    data = load_run(storage, run)
    name = f"runs/{run}/report.html"
    storage.write(name, render(data, pictures=pictures).encode())
    place = f"{storage.root}/{name}"
    # A job's log has no width; without one the table would be cut to 80 columns.
    console = Console()
    console = console if console.is_terminal else Console(width=160)
    console.print(terminal_table(data))
    console.print(headline_sentence(data), highlight=False)
    console.print(f"Report: {place}", highlight=False, soft_wrap=True)
    return place
