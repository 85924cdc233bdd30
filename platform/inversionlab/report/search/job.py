"""Make a search's page from its record and the store, and say its verdict."""

from __future__ import annotations

from rich.console import Console

from inversionlab.core.settings import ConfigError
from inversionlab.report.search.page import render_search
from inversionlab.report.search.pictures import search_grid
from inversionlab.report.search.sentence import search_verdict
from inversionlab.results.holdout_audit import HoldoutAudit, read_holdout_audit
from inversionlab.results.load import load_run, others
from inversionlab.results.search import Search, read_search
from inversionlab.store.storage import Storage
from inversionlab.store.tables import Store


def write_search_page(root: str, name: str, *, pictures: bool) -> str:
    """Write `searches/NAME/index.html`, print the verdict and the page's place; returns the place.

    Args:
        root: the storage.
        name: the search: a folder below its `searches`.
        pictures: whether the page shows faces and people's names.

    Raises:
        ConfigError: the storage holds no such search.
    """
    storage = Storage(root)
    search = load_search(storage, name)
    rejudged = _holdout_audit(storage, search)
    page = render_search(
        search,
        place=storage.root,
        grid=search_grid(search, Store(storage)) if pictures else None,
        rejudged=rejudged,
        pictures=pictures,
    )
    storage.write(f"searches/{name}/index.html", page.encode())
    place = storage.uri(f"searches/{name}/index.html")
    console = Console()
    console = console if console.is_terminal else Console(width=160)
    console.print(search_verdict(search, rejudged), highlight=False, markup=False)
    console.print(f"Page: {place}", highlight=False, markup=False, soft_wrap=True)
    return place


def load_search(storage: Storage, name: str) -> Search:
    """The record of a search.

    Raises:
        ConfigError: there is no such search (names those that are there), or it has no record yet.
    """
    if name not in storage.folders("searches"):
        raise ConfigError(f"{storage.root}: holds no search `{name}`{others(storage, 'searches')}")
    record = f"searches/{name}/search.json"
    if not storage.exists(record):
        raise ConfigError(
            f"{storage.root}: {record} is not there: the search `{name}` has not ended; run the same "
            "command again to end it"
        )
    return read_search(storage.read_json(record))


def _holdout_audit(storage: Storage, search: Search) -> HoldoutAudit | None:
    """None until the run that the record names has been made."""
    run = (search.record["rejudged"] or {}).get("run")
    if not run or not storage.exists(f"runs/{run}/run.json"):
        return None
    return read_holdout_audit(load_run(storage, run))
