"""The index page of a storage: every run and search with its headline, and a link to its page."""

from dataclasses import dataclass
from typing import Literal

from inversionlab.core.settings import ConfigError
from inversionlab.metrics import Estimate
from inversionlab.report.audit.sentence import caveats, headline_sentence
from inversionlab.report.frame import fill, page_name, publish
from inversionlab.report.search.sentence import search_caveats, search_verdict
from inversionlab.results.load import load_run, stored_record
from inversionlab.results.run_results import RunResults
from inversionlab.results.search import SearchRecord
from inversionlab.results.wording import words
from inversionlab.store.storage import Storage

PAGES = {"run": ("runs", "report"), "search": ("searches", "index")}
"""The folder of each kind, and the name of its page."""


@dataclass(frozen=True)
class Entry:
    """A run or a search; what is not known is None or ""."""

    kind: Literal["run", "search"]
    name: str
    created: str = ""
    seconds: float | None = None
    headline: str = ""
    bare: Estimate | None = None
    """Success of the strongest attack on the undefended model."""
    attack: str = ""
    left: Estimate | None = None
    """Success on the best defended model."""
    model: str = ""
    loss_points: float | None = None
    warnings: int = 0
    fault: str = ""
    """Why it cannot be read."""
    page: str = ""
    """Its page, as a path from the index; "" where there is none yet."""


def write_index(root: str) -> str:
    """Write `index.html` into the storage and print where it is; returns that place. It names nobody.

    Raises:
        ConfigError: the storage holds neither runs nor searches.
    """
    storage = Storage(root)
    found = entries(storage)
    if not found:
        raise ConfigError(f"{storage.root}: holds neither runs nor searches")
    counts = {kind: sum(entry.kind == kind for entry in found) for kind in PAGES}
    context = {"entries": found, "counts": counts, "place": storage.root}
    page = fill("index.html.j2", context, scripts=["sort.js.j2"], pictures=False, charts=False)
    said = f"{counts['run']} runs, {counts['search']} searches"
    return publish(storage, "index.html", page, said, kind="Index")


def entries(storage: Storage) -> list[Entry]:
    """Every run and search, the newest first."""
    found = []
    for kind, read in (("run", _run), ("search", _search)):
        for name in storage.folders(PAGES[kind][0]):
            try:
                entry = read(storage, name)
            except ConfigError as error:
                entry = Entry("run" if kind == "run" else "search", name, fault=str(error))
            found.append(entry)
    return sorted(found, key=lambda entry: entry.created, reverse=True)


def _run(storage: Storage, name: str) -> Entry:
    results = RunResults.of(load_run(storage, name), frechet=False)
    record, bare, best = results.run.record, results.undefended, results.best
    return Entry(
        "run",
        name,
        created=record.created,
        seconds=record.seconds,
        headline=headline_sentence(results),
        bare=bare.success if bare else None,
        attack=words(bare.attack.attack) if bare else "",
        left=best.success if best else None,
        model=best.attack.model if best else "",
        loss_points=best.attack.loss_points if best else None,
        warnings=len(caveats(results, names=False)),
        page=_page(storage, "run", name),
    )


def _search(storage: Storage, name: str) -> Entry:
    search = stored_record(SearchRecord, storage, f"searches/{name}/search.json")
    bare, best = search.undefended, search.best
    return Entry(
        "search",
        name,
        created=search.created,
        seconds=search.seconds,
        headline=search_verdict(search),
        bare=bare.attack_success if bare else None,
        attack=words(bare.strongest.attack) if bare and bare.strongest else "",
        left=best.attack_success if best else None,
        model=f"{words(search.defense)}, trial {best.number}" if best else "",
        loss_points=best.accuracy_loss if best else None,
        warnings=len(search_caveats(search, None)),
        page=_page(storage, "search", name),
    )


def _page(storage: Storage, kind: Literal["run", "search"], name: str) -> str:
    folder, page = PAGES[kind]
    names = (page_name(f"{folder}/{name}", page, pictures=shown) for shown in (True, False))
    return next((name for name in names if storage.exists(name)), "")
