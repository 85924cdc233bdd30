"""The faces on the page of a search: real, undefended, at the paper's point, at the recommended one."""

from inversionlab.report.pictures import Grid, GridRow, attack_pictures, named_people, reference_row
from inversionlab.report.search.wording import settings_text
from inversionlab.results.load import of_jobs
from inversionlab.results.run_record import JobsRecord
from inversionlab.results.search import SearchRecord
from inversionlab.results.trial_record import TrialRecord
from inversionlab.results.wording import words
from inversionlab.store.tables import Store

SHOWN = 5
"""People shown."""


def search_grid(search: SearchRecord, store: Store) -> Grid | None:
    """The first people attacked, one per column; None where the store holds no picture of them.

    Each model's pictures are by its own strongest attack.
    """
    best, paper = search.best, search.paper
    models: list[tuple[str, TrialRecord | None]] = [("undefended", search.undefended)]
    if paper is not best:
        models.append(("paper’s point", paper))
    chosen = "recommended" if search.helps else "best tried"
    models.append((f"paper’s point, {chosen}" if paper is best else chosen, best))
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
    people = named_people([table for *_, table in attacked], SHOWN)
    key = search.tables.real
    real = store.read("references", key) if key and store.has("references", key) else None
    entries = [] if real is None else real.select(["target", "picture"]).to_pylist()
    rows = [reference_row(people, "real face", "private picture", entries)]
    for label, trial, strongest, table in attacked:
        settings = settings_text(search, trial)
        note = f"{settings}{'; ' if settings else ''}by {words(strongest.attack)}"
        pictures = attack_pictures(table, people, label, strongest.evaluator)
        rows.append(GridRow(label, note, pictures))
    shown = tuple(row for row in rows if row.filled)
    return Grid("the strongest attack", tuple(people.values()), shown) if shown else None
