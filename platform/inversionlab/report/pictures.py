"""The picture grid: what the attacked people look like, and what was taken out of the model.

Laid out as figure 6 of Kotsuji's paper: a column a person; rows: the real face, reconstructions
from the undefended model down through the swept values, the synthetic face that the
defense mixes in.
"""

from __future__ import annotations

import base64
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from inversionlab.results.recommendation import undefended
from inversionlab.results.rows import Row
from inversionlab.results.run_data import RunData
from inversionlab.results.wording import words

COLUMNS = 10
"""People shown."""

PNG = b"\x89PNG\r\n\x1a\n"


@dataclass(frozen=True)
class Cell:
    """One picture, or a gap where `source` is empty."""

    source: str
    """A data: address."""
    alt: str
    rank: int | None = None
    """The first judge's rank of the person, 1 = best."""


@dataclass(frozen=True)
class GridRow:
    """One row of pictures."""

    label: str
    note: str
    cells: tuple[Cell, ...]


@dataclass(frozen=True)
class Grid:
    """The pictures of one attack."""

    attack: str
    people: tuple[str, ...]
    rows: tuple[GridRow, ...]


def grids(run: RunData, rows: Sequence[Row], recommended: str | None) -> list[Grid]:
    """All attacks on the undefended model side by side, then a grid an attack, the strongest first; no nulls."""
    people = _people(run)
    attacks = list(dict.fromkeys(r.attack for r in rows if r.kind != "null" and r.done))
    top = undefended(rows)
    if top is not None:
        attacks.sort(key=lambda attack: attack != top.attack)
    if not people:
        return []
    real = _reference_row(people, "real face", "private picture", _references(run, "real"))
    synthetic = _synthetic_rows(run, rows, people, recommended)
    found = _side_by_side(run, people, rows, real)
    for attack in attacks:
        mine = [r for r in rows if r.attack == attack and r.done]
        between = [_attack_row(run, people, r, recommended) for r in mine]
        shown = [row for row in (real, *between, *synthetic) if any(c.source for c in row.cells)]
        if shown:
            found.append(Grid(words(attack), tuple(people.values()), tuple(shown)))
    return found


def _side_by_side(
    run: RunData, people: dict[int, str], rows: Sequence[Row], real: GridRow
) -> list[Grid]:
    """All attacks on the undefended model in one grid, where there are enough to compare."""
    open_rows = [r for r in rows if r.kind == "undefended" and r.done]
    if len(open_rows) < 3:
        return []
    shown = [replace(_attack_row(run, people, r, None), label=words(r.attack)) for r in open_rows]
    title = "every attack on the undefended model"
    return [Grid(title, tuple(people.values()), (real, *shown))]


def _people(run: RunData) -> dict[int, str]:
    """The first COLUMNS targets and their names, by the reconstructions or else the references."""
    tables = (run.reconstructions, run.references)
    key = ["target", "person"]
    pairs = [t.select(key).group_by(key).aggregate([]).to_pylist() for t in tables]
    names = {p["target"]: p["person"] for found in pairs for p in found}
    return {target: names[target] for target in sorted(names)[:COLUMNS]}


def _references(run: RunData, kind: str) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = run.references.filter(
        pc.equal(run.references["kind"], kind)
    ).to_pylist()
    return found


def _synthetic_rows(
    run: RunData, rows: Sequence[Row], people: dict[int, str], recommended: str | None
) -> list[GridRow]:
    """A row for each defense that leads attacks to pictures of its own; models with equal ones share it."""
    by_model: dict[str, list[dict[str, Any]]] = {}
    for entry in _references(run, "synthetic"):
        by_model.setdefault(entry["protected"], []).append(entry)
    alike: dict[tuple[bytes, ...], str] = {}
    for model in sorted(by_model, key=lambda m: m != recommended):
        pictures = sorted((e["target"], e["picture"]) for e in by_model[model])
        alike.setdefault(tuple(picture for _, picture in pictures), model)
    titles = {row.protected: words(row.title) for row in rows}
    found = []
    for model in alike.values():
        name = "synthetic face" if len(alike) == 1 else f"synthetic face, {titles.get(model, '')}"
        found.append(_reference_row(people, name, "what the defense leads to", by_model[model]))
    return found


def _reference_row(
    people: dict[int, str], name: str, note: str, entries: Sequence[dict[str, Any]]
) -> GridRow:
    pictures: dict[int, bytes] = {}
    for entry in entries:
        pictures.setdefault(entry["target"], entry["picture"])
    cells = tuple(
        Cell(picture_source(pictures.get(target)), f"{name} of {person}")
        for target, person in people.items()
    )
    return GridRow(name, note, cells)


def _attack_row(run: RunData, people: dict[int, str], row: Row, recommended: str | None) -> GridRow:
    wanted = pc.equal(run.reconstructions["cell"], row.cell)
    judge = row.judgements[0].evaluator if row.judgements else ""
    cells = attack_cells(run.reconstructions.filter(wanted), people, row.label, judge)
    tags = ["paper’s value"] * row.marked + ["recommended"] * (row.protected == recommended)
    return GridRow(row.label, ", ".join(tags), cells)


def attack_cells(
    table: pa.Table, people: Mapping[int, str], label: str, judge: str
) -> tuple[Cell, ...]:
    """One picture a person out of an attack's reconstructions, with the rank that `judge` gives it."""
    table = table.select(["target", "repeat", "picture", "confidence", "verdicts"])
    best: dict[int, dict[str, Any]] = {}
    # Only the people shown become Python objects: the features of all would be many.
    shown = table.filter(
        pc.is_in(table["target"], value_set=pa.array(list(people), table["target"].type))
    )
    for item in sorted(shown.to_pylist(), key=_preference):
        best.setdefault(item["target"], item)
    return tuple(_cell(best.get(t), name, label, judge) for t, name in people.items())


def _preference(item: dict[str, Any]) -> tuple[float, int]:
    """The attacker's own choice among repeats: the one that the attacked model scores highest."""
    confidence = item["confidence"]
    known = confidence is not None and not math.isnan(confidence)
    return (-confidence if known else math.inf, item["repeat"])


def _cell(item: dict[str, Any] | None, person: str, label: str, judge: str) -> Cell:
    if item is None:
        return Cell("", "")
    ranks = [v["rank"] for v in item["verdicts"] or [] if v["evaluator"] == judge]
    rank = ranks[0] if ranks and ranks[0] else None
    told = f", rank {rank} by the judge" if rank else ""
    return Cell(picture_source(item["picture"]), f"reconstruction of {person}, {label}{told}", rank)


def picture_source(picture: bytes | None) -> str:
    """A PNG as a data: address; empty where there is none."""
    if not picture or not picture.startswith(PNG):
        return ""
    return "data:image/png;base64," + base64.b64encode(picture).decode("ascii")
