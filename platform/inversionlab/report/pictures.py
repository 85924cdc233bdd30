"""The picture grid: what the attacked people look like, and what was reconstructed from the model.

The layout is that of figure 6 in Kotsuji's paper: a column for each person; the rows are the real face,
reconstructions from the undefended model down through the swept values, and the synthetic face that the
defense mixes in.
"""

import base64
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from inversionlab.results.rows import Row
from inversionlab.results.run_results import RunResults
from inversionlab.results.wording import words
from inversionlab.store.tables import in_order

COLUMNS = 10
"""People shown."""
PNG = b"\x89PNG\r\n\x1a\n"


@dataclass(frozen=True)
class GridPicture:
    """One picture, or a gap where `source` is empty."""

    source: str
    """A data: address."""
    alt: str
    rank: int | None = None
    """An evaluator's rank of the person, 1 = best."""
    own_score: float | None = None
    """Where nobody ranks it, the score that the attacked model gives the person."""


@dataclass(frozen=True)
class GridRow:
    """One row of pictures."""

    label: str
    note: str
    pictures: tuple[GridPicture, ...]

    @property
    def filled(self) -> bool:
        """Whether there is any picture."""
        return any(picture.source for picture in self.pictures)


@dataclass(frozen=True)
class Grid:
    """The pictures of one attack."""

    attack: str
    people: tuple[str, ...]
    rows: tuple[GridRow, ...]


def grids(results: RunResults) -> list[Grid]:
    """A grid for each attack except the null ones, the strongest first.

    With three attacks or more on the undefended model, another grid before these shows them side by side. Where
    nobody judges, that grid is always there, and guesses without the model stand below it to compare with.
    """
    run = results.run
    people = named_people((run.reconstructions, run.references), COLUMNS)
    if not people:
        return []
    evaluator = (results.evaluators or [""])[results.headline_evaluator] if results.judged else None
    real = reference_row(people, "real face", "private picture", _references(results, "real"))
    synthetic = _synthetic_rows(results, people)
    by_attack: dict[str, list[GridRow]] = {}
    undefended, guesses = [], []
    for row in results.rows:
        if not row.done or (row.kind == "null" and results.judged):
            continue
        table = of_first_victim(run.reconstructions, row)
        chosen = row.kind == "defended" and row.protected == results.recommended
        note = ", ".join(["paper’s value"] * row.marked + ["recommended"] * chosen)
        shown = attack_pictures(table, people, row.label, evaluator, first=row.inverts_outputs)
        made = GridRow(row.label, note, shown)
        if row.kind == "null":
            guesses.append(replace(made, label=words(row.attack), note="a guess, no model asked"))
            continue
        by_attack.setdefault(row.attack, []).append(made)
        if row.kind == "undefended":
            undefended.append(replace(made, label=words(row.attack)))
    names = tuple(people.values())
    found = []
    if len(undefended) > 2 or guesses:
        rows = tuple(row for row in (real, *undefended, *guesses) if row.filled)
        found.append(Grid("every attack on the undefended model", names, rows))
    if not (results.judged or results.defended):
        return found
    top = results.undefended.attack.attack if results.undefended else ""
    for attack in sorted(by_attack, key=lambda attack: attack != top):
        rows = tuple(r for r in (real, *by_attack[attack], *synthetic) if r.filled)
        if rows:
            found.append(Grid(words(attack), names, rows))
    return found


def example(results: RunResults) -> list[tuple[str, GridPicture, str]]:
    """One real face, its reconstruction and that from the best defended model: title, picture and note of each.

    It is the first of the people shown whom the strongest attack finds, or finds best. Empty where success is not
    judged, or no picture of that person is stored.
    """
    run, bare, best = results.run, results.undefended, results.best
    people = named_people((run.reconstructions, run.references), COLUMNS)
    if bare is None or not people:
        return []
    evaluator, made = results.evaluators[results.headline_evaluator], []
    for found in (bare, *([best] if best else [])):
        row, first = found.attack, found.attack.inverts_outputs
        table = of_first_victim(run.reconstructions, row)
        made.append((row, attack_pictures(table, people, row.label, evaluator, first=first)))
    real = reference_row(people, "real face", "", _references(results, "real")).pictures
    ranks = [picture.rank if picture.source else None for picture in made[0][1]]
    chosen = ranks.index(min((rank for rank in ranks if rank), default=None))
    if not (real[chosen].source and made[0][1][chosen].source):
        return []
    titles = ("undefended", "defended" if results.helps else "best defended")
    pieces = [("real face", real[chosen], list(people.values())[chosen])]
    for title, (row, shown) in zip(titles, made, strict=False):
        note = f"by {words(row.attack)}" if row.kind == "undefended" else row.label
        pieces += [(title, shown[chosen], note)] if shown[chosen].source else []
    return pieces


def of_first_victim(reconstructions: pa.Table, row: Row) -> pa.Table:
    """The reconstructions of a row; of several victims those of the first.

    Where each person has a model of their own (`protect: each`), these are the pictures of all of them.
    """
    mine = pa.array([cell.cell for cell in row.cells if cell.seed == row.cell.seed])
    return reconstructions.filter(pc.is_in(reconstructions["cell"], value_set=mine))


def named_people(tables: Iterable[pa.Table], count: int) -> dict[int, str]:
    """The first `count` targets in the tables, and their names."""
    key = ["target", "person"]
    pairs = [
        t.select(key).group_by(key, use_threads=False).aggregate([]).to_pylist() for t in tables
    ]
    names = {p["target"]: p["person"] for found in pairs for p in found}
    return {target: names[target] for target in sorted(names)[:count]}


def reference_row(
    people: Mapping[int, str], name: str, note: str, entries: Sequence[Mapping[str, Any]]
) -> GridRow:
    """A row of pictures to compare with; `entries` are rows of the table `references`, in any order."""
    shown = {entry["target"]: entry["picture"] for entry in reversed(entries)}
    pictures = tuple(
        GridPicture(_source(shown.get(target)), f"{name} of {person}")
        for target, person in people.items()
    )
    return GridRow(name, note, pictures)


def attack_pictures(
    table: pa.Table,
    people: Mapping[int, str],
    label: str,
    evaluator: str | None,
    *,
    first: bool = False,
) -> tuple[GridPicture, ...]:
    """One picture of each person out of an attack's reconstructions.

    Of several repeats it is the one that the attacked model scores highest: the attacker's own choice. With
    `first` it is the first repeat's: an attack that inverts answers inverts that to the person's first picture
    there, which stands in the row of real faces.
    `people` are names by target; `label` says what was attacked; `evaluator` ranks the person;
    None: nobody does, and the model's own scores take the place of ranks.
    """
    table = table.select(["target", "repeat", "picture", "confidence", "verdicts"])
    best: dict[int, dict[str, Any]] = {}
    # Only the people shown become Python objects: the features of all would be many.
    shown = table.filter(
        pc.is_in(table["target"], value_set=pa.array(list(people), table["target"].type))
    )
    # A confidence that is NaN or null comes last.
    order = [("repeat", "ascending")]
    order = order if first else [("confidence", "descending"), *order]
    for item in in_order(shown, order).to_pylist():
        best.setdefault(item["target"], item)
    pictures = []
    for target, person in people.items():
        if target not in best:
            pictures.append(GridPicture("", ""))
            continue
        item = best[target]
        ranks = [v["rank"] for v in item["verdicts"] or [] if v["evaluator"] == evaluator]
        rank = ranks[0] if ranks and ranks[0] else None
        ranked = f", rank {rank} by the evaluator" if rank else ""
        alt = f"reconstruction of {person}, {label}{ranked}"
        score = item["confidence"] if evaluator is None else None
        if score is not None and math.isnan(score):
            score = None
        pictures.append(GridPicture(_source(item["picture"]), alt, rank, score))
    return tuple(pictures)


def _references(results: RunResults, kind: str) -> list[dict[str, Any]]:
    table = results.run.references
    found: list[dict[str, Any]] = table.filter(pc.equal(table["kind"], kind)).to_pylist()
    return found


def _synthetic_rows(results: RunResults, people: Mapping[int, str]) -> list[GridRow]:
    """A row for each defense that leads attacks to pictures of its own; models with equal ones share it."""
    by_model: dict[str, list[dict[str, Any]]] = {}
    for entry in _references(results, "synthetic"):
        # Of several victims the first stands for all.
        if entry["protected"] in results.models or not results.run.record.seeds:
            by_model.setdefault(entry["protected"], []).append(entry)
    alike: dict[tuple[bytes, ...], str] = {}
    for model in sorted(by_model, key=lambda m: m != results.recommended):
        pictures = sorted((e["target"], e["picture"]) for e in by_model[model])
        alike.setdefault(tuple(picture for _, picture in pictures), model)
    titles = {row.protected: words(row.cell.title or row.cell.defense) for row in results.rows}
    found = []
    for model in alike.values():
        name = "synthetic face" if len(alike) == 1 else f"synthetic face, {titles.get(model, '')}"
        found.append(reference_row(people, name, "what the defense leads to", by_model[model]))
    return found


def _source(picture: bytes | None) -> str:
    """A PNG as a data: address; empty where there is none."""
    if not picture or not picture.startswith(PNG):
        return ""
    return "data:image/png;base64," + base64.b64encode(picture).decode("ascii")
