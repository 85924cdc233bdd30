"""The index page of a storage: every run and search with its headline, and a link to its page."""

from dataclasses import dataclass, replace
from typing import Literal

from inversionlab.core.settings import ConfigError
from inversionlab.metrics import Estimate
from inversionlab.report.audit.sentence import caveats, headline_sentence
from inversionlab.report.frame import fill, page_name, publish
from inversionlab.report.search.sentence import search_caveats, search_verdict
from inversionlab.results.load import load_run, stored_record
from inversionlab.results.run_record import RunRecord
from inversionlab.results.run_results import RunResults
from inversionlab.results.search import SearchRecord
from inversionlab.results.wording import words
from inversionlab.store.storage import Storage, StorageError

Kind = Literal["run", "search"]
PAGES: dict[Kind, tuple[str, str]] = {"run": ("runs", "report"), "search": ("searches", "index")}
"""The folder of each kind, and the name of its page."""


@dataclass(frozen=True)
class Found:
    """What the strongest attack finds on a model; what is not known is None or ""."""

    success: Estimate | None = None
    what: str = ""
    """The attack on the undefended model, or the defended model."""
    loss_points: float | None = None


@dataclass(frozen=True)
class Entry:
    """A run or a search; what is not known is None or ""."""

    kind: Kind
    name: str
    created: str = ""
    seconds: float | None = None
    headline: str = ""
    bare: Found = Found()
    left: Found = Found()
    """On the best defended model."""
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
    for kind, (folder, page) in PAGES.items():
        for name in storage.folders(folder):
            pages = (page_name(f"{folder}/{name}", page, pictures=shown) for shown in (True, False))
            try:
                entry = _entry(storage, kind, name)
                place = next((place for place in pages if storage.exists(place)), "")
                found.append(replace(entry, page=place))
            except (ConfigError, StorageError) as error:
                found.append(Entry(kind, name, fault=str(error)))
    return sorted(found, key=lambda entry: entry.created, reverse=True)


def _entry(storage: Storage, kind: Kind, name: str) -> Entry:
    record: RunRecord | SearchRecord
    bare, left = Found(), Found()
    if kind == "run":
        results = RunResults.of(load_run(storage, name), frechet=False)
        record, headline = results.run.record, headline_sentence(results)
        doubts = caveats(results, names=False)
        if first := results.undefended:
            bare = Found(first.success, words(first.attack.attack))
        if best := results.best:
            left = Found(best.success, best.attack.model, best.attack.loss_points)
    else:
        record = stored_record(SearchRecord, storage, f"searches/{name}/search.json")
        headline, doubts = search_verdict(record), search_caveats(record, None)
        if plain := record.undefended:
            attack = words(plain.strongest.attack) if plain.strongest else ""
            bare = Found(plain.attack_success, attack)
        if trial := record.best:
            model = f"{words(record.defense)}, trial {trial.number}"
            left = Found(trial.attack_success, model, trial.accuracy_loss)
    return Entry(kind, name, record.created, record.seconds, headline, bare, left, len(doubts))
