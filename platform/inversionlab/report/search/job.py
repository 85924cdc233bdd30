"""Make the page of a search from its record and the store, and print its verdict."""

from __future__ import annotations

from rich.console import Console

from inversionlab.core.settings import ConfigError
from inversionlab.report.search.page import render_search
from inversionlab.report.search.pictures import search_grid
from inversionlab.report.search.sentence import search_verdict
from inversionlab.results.holdout_audit import read_holdout_audit
from inversionlab.results.load import load_run, others
from inversionlab.results.search import SearchRecord
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
    audit = None
    # The record names the audit of the recommended setting before the audit is run.
    if search.audited is not None and storage.exists(f"runs/{search.audited.run}/run.json"):
        audit = read_holdout_audit(load_run(storage, search.audited.run), search.headline)
    page = render_search(
        search,
        place=storage.root,
        grid=search_grid(search, Store(storage)) if pictures else None,
        audit=audit,
        pictures=pictures,
    )
    storage.write(f"searches/{name}/index.html", page.encode())
    place = storage.uri(f"searches/{name}/index.html")
    console = Console()
    console = console if console.is_terminal else Console(width=160)
    console.print(search_verdict(search, audit), highlight=False, markup=False)
    console.print(f"Page: {place}", highlight=False, markup=False, soft_wrap=True)
    return place


def load_search(storage: Storage, name: str) -> SearchRecord:
    """The record of a search.

    Raises:
        ConfigError: there is no such search (the text names those that are there), or it has no record yet.
    """
    if name not in storage.folders("searches"):
        raise ConfigError(f"{storage.root}: holds no search `{name}`{others(storage, 'searches')}")
    record = f"searches/{name}/search.json"
    if not storage.exists(record):
        raise ConfigError(
            f"{storage.root}: {record} is not there: the search `{name}` has not ended; run the same "
            "command again to end it"
        )
    return SearchRecord.model_validate(storage.read_json(record))
