"""The faces of a search's page: real, undefended, at the paper's point, at the recommended one."""

from __future__ import annotations

from inversionlab.report.pictures import Grid, GridPicture, GridRow, attack_pictures, picture_source
from inversionlab.report.search.wording import settings_text
from inversionlab.results.load import of_jobs
from inversionlab.results.run_record import JobsRecord
from inversionlab.results.search import Search, Trial
from inversionlab.results.wording import words
from inversionlab.store.tables import Store

SHOWN = 5
"""People shown."""


def search_grid(search: Search, store: Store) -> Grid | None:
    """The first people attacked, a column each; None where the store holds no picture of them."""
    models = _models(search)
    drawn = (search.record["experiment"] or {}).get("targets") or {}
    jobs = JobsRecord(
        targets=tuple(search.record["targets"] or ()),
        first_repeat=drawn.get("first_repeat") or 0,
        repeats=search.record["repeats"] or 1,
    )
    tables = [of_jobs(store.reconstructions([t.cells[t.attack]]), jobs) for _, _, t in models]
    names = {
        p["target"]: p["person"]
        for table in tables
        for p in table.select(["target", "person"])
        .group_by(["target", "person"])
        .aggregate([])
        .to_pylist()
    }
    people = {t: names[t] for t in sorted(names)[:SHOWN]}
    rows = [_real(search, store, people)] if people else []
    for (label, note, trial), table in zip(models, tables, strict=True):
        rows.append(GridRow(label, note, attack_pictures(table, people, label, trial.judge)))
    shown = tuple(r for r in rows if any(p.source for p in r.pictures))
    return Grid("the strongest attack", tuple(people.values()), shown) if shown else None


def _models(search: Search) -> list[tuple[str, str, Trial]]:
    """(label, note, trial), each trial under its own strongest attack."""
    best, paper = search.recommended, search.paper
    listed: list[tuple[str, Trial | None]] = [("undefended", search.undefended)]
    if paper is not best:
        listed.append(("paper’s point", paper))
    listed.append(("paper’s point, recommended" if paper is best else "recommended", best))
    return [
        (label, _note(search, trial), trial)
        for label, trial in listed
        if trial is not None and trial.attack in trial.cells
    ]


def _note(search: Search, trial: Trial) -> str:
    settings = settings_text(search, trial)
    return f"{settings}{'; ' if settings else ''}by {words(trial.attack)}"


def _real(search: Search, store: Store, people: dict[int, str]) -> GridRow:
    key = (search.record["tables"] or {}).get("real")
    pictures: dict[int, bytes] = {}
    if key and store.has("references", key):
        found = store.read("references", key).select(["target", "picture"]).to_pylist()
        pictures = {r["target"]: r["picture"] for r in found}
    cells = [
        GridPicture(picture_source(pictures.get(t)), f"real face of {n}") for t, n in people.items()
    ]
    return GridRow("real face", "private picture", tuple(cells))
