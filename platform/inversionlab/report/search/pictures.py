"""The faces on the page of a search: real, undefended, at the paper's point, at the recommended one."""

from __future__ import annotations

from inversionlab.report.pictures import Grid, GridPicture, GridRow, attack_pictures, picture_source
from inversionlab.report.search.wording import settings_text
from inversionlab.results.load import of_jobs
from inversionlab.results.run_record import JobsRecord
from inversionlab.results.search import SearchRecord, TrialRecord
from inversionlab.results.wording import words
from inversionlab.store.tables import Store

SHOWN = 5
"""People shown."""


def search_grid(search: SearchRecord, store: Store) -> Grid | None:
    """The first people attacked, a column each; None where the store holds no picture of them.

    Each model stands with its own strongest attack.
    """
    best, paper = search.best, search.paper
    models: list[tuple[str, TrialRecord | None]] = [("undefended", search.undefended)]
    if paper is not best:
        models.append(("paper’s point", paper))
    models.append(("paper’s point, recommended" if paper is best else "recommended", best))
    jobs = JobsRecord(
        targets=tuple(search.targets), first_repeat=search.first_repeat, repeats=search.repeats
    )
    attacked = [
        (label, trial, trial.strongest, of_jobs(store.reconstructions([cell]), jobs))
        for label, trial in models
        if trial is not None
        and trial.strongest is not None
        and (cell := trial.cells.get(trial.strongest.attack)) is not None
    ]
    names = {
        p["target"]: p["person"]
        for *_, table in attacked
        for p in table.select(["target", "person"])
        .group_by(["target", "person"])
        .aggregate([])
        .to_pylist()
    }
    people = {t: names[t] for t in sorted(names)[:SHOWN]}
    rows = [_real(search, store, people)] if people else []
    for label, trial, strongest, table in attacked:
        settings = settings_text(search, trial)
        note = f"{settings}{'; ' if settings else ''}by {words(strongest.attack)}"
        rows.append(
            GridRow(label, note, attack_pictures(table, people, label, strongest.evaluator))
        )
    shown = tuple(r for r in rows if any(p.source for p in r.pictures))
    return Grid("the strongest attack", tuple(people.values()), shown) if shown else None


def _real(search: SearchRecord, store: Store, people: dict[int, str]) -> GridRow:
    key = search.tables.real
    pictures: dict[int, bytes] = {}
    if key and store.has("references", key):
        found = store.read("references", key).select(["target", "picture"]).to_pylist()
        pictures = {r["target"]: r["picture"] for r in found}
    pictures_shown = [
        GridPicture(picture_source(pictures.get(t)), f"real face of {n}") for t, n in people.items()
    ]
    return GridRow("real face", "private picture", tuple(pictures_shown))
