"""The picture grid: what the attacked people look like, and what was reconstructed from the model.

The layout is that of figure 6 in Kotsuji's paper: a column for each person; the rows are the real face,
reconstructions from the undefended model down through the swept values, and the synthetic face that the
defense mixes in.
"""

from __future__ import annotations

import base64
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from inversionlab.results.load import RunData
from inversionlab.results.rows import Row
from inversionlab.results.run_results import RunResults
from inversionlab.results.wording import words

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


@dataclass(frozen=True)
class GridRow:
    """One row of pictures."""

    label: str
    note: str
    pictures: tuple[GridPicture, ...]


@dataclass(frozen=True)
class Grid:
    """The pictures of one attack."""

    attack: str
    people: tuple[str, ...]
    rows: tuple[GridRow, ...]


def grids(results: RunResults) -> list[Grid]:
    """A grid for each attack but the null ones, the strongest first.

    With three attacks or more on the undefended model, another grid before these shows them side by side.
    """
    run, attacked = results.run, [r for r in results.rows if r.kind != "null" and r.done]
    people = _people(run)
    if not people:
        return []
    attacks = list(dict.fromkeys(r.attack for r in attacked))
    if results.undefended is not None:
        top = results.undefended.attack.attack
        attacks.sort(key=lambda attack: attack != top)
    names = tuple(people.values())
    real = _reference_row(people, "real face", "private picture", _references(run, "real"))
    synthetic = _synthetic_rows(results, people)
    found = []
    undefended = [r for r in attacked if r.kind == "undefended"]
    if len(undefended) > 2:
        shown = [_attack_row(results, people, r) for r in undefended]
        named = [replace(s, label=words(r.attack)) for s, r in zip(shown, undefended, strict=True)]
        found.append(Grid("every attack on the undefended model", names, (real, *named)))
    for attack in attacks:
        made = [_attack_row(results, people, r) for r in attacked if r.attack == attack]
        rows = [row for row in (real, *made, *synthetic) if any(p.source for p in row.pictures)]
        if rows:
            found.append(Grid(words(attack), names, tuple(rows)))
    return found


def _people(run: RunData) -> dict[int, str]:
    """The first COLUMNS targets and their names, from the reconstructions or else the references."""
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


def _synthetic_rows(results: RunResults, people: dict[int, str]) -> list[GridRow]:
    """A row for each defense that leads attacks to pictures of its own; models with equal ones share it."""
    by_model: dict[str, list[dict[str, Any]]] = {}
    for entry in _references(results.run, "synthetic"):
        by_model.setdefault(entry["protected"], []).append(entry)
    alike: dict[tuple[bytes, ...], str] = {}
    for model in sorted(by_model, key=lambda m: m != results.recommended):
        pictures = sorted((e["target"], e["picture"]) for e in by_model[model])
        alike.setdefault(tuple(picture for _, picture in pictures), model)
    titles = {row.protected: words(row.cell.title or row.cell.defense) for row in results.rows}
    found = []
    for model in alike.values():
        name = "synthetic face" if len(alike) == 1 else f"synthetic face, {titles.get(model, '')}"
        found.append(_reference_row(people, name, "what the defense leads to", by_model[model]))
    return found


def _reference_row(
    people: dict[int, str], name: str, note: str, entries: Sequence[dict[str, Any]]
) -> GridRow:
    shown: dict[int, bytes] = {}
    for entry in entries:
        shown.setdefault(entry["target"], entry["picture"])
    pictures = tuple(
        GridPicture(picture_source(shown.get(target)), f"{name} of {person}")
        for target, person in people.items()
    )
    return GridRow(name, note, pictures)


def _attack_row(results: RunResults, people: dict[int, str], row: Row) -> GridRow:
    table = results.run.reconstructions
    table = table.filter(pc.equal(table["cell"], row.cell.cell))
    evaluator = (results.evaluators or [""])[results.headline_evaluator]
    chosen = row.kind == "defended" and row.protected == results.recommended
    tags = ["paper’s value"] * row.marked + ["recommended"] * chosen
    pictures = attack_pictures(table, people, row.label, evaluator)
    return GridRow(row.label, ", ".join(tags), pictures)


def attack_pictures(
    table: pa.Table, people: Mapping[int, str], label: str, evaluator: str
) -> tuple[GridPicture, ...]:
    """One picture of each person out of an attack's reconstructions.

    Of several repeats it is the one that the attacked model scores highest: the attacker's own choice.

    Args:
        table: the reconstructions.
        people: names by target.
        label: what was attacked.
        evaluator: whose rank of the person is shown.
    """
    table = table.select(["target", "repeat", "picture", "confidence", "verdicts"])
    best: dict[int, dict[str, Any]] = {}
    # Only the people shown become Python objects: the features of all would be many.
    shown = table.filter(
        pc.is_in(table["target"], value_set=pa.array(list(people), table["target"].type))
    )
    # A confidence that is NaN or null comes last.
    order = [("confidence", "descending"), ("repeat", "ascending")]
    for item in shown.sort_by(order).to_pylist():
        best.setdefault(item["target"], item)
    return tuple(_picture(best.get(t), name, label, evaluator) for t, name in people.items())


def _picture(item: dict[str, Any] | None, person: str, label: str, evaluator: str) -> GridPicture:
    if item is None:
        return GridPicture("", "")
    ranks = [v["rank"] for v in item["verdicts"] or [] if v["evaluator"] == evaluator]
    rank = ranks[0] if ranks and ranks[0] else None
    ranked = f", rank {rank} by the evaluator" if rank else ""
    alt = f"reconstruction of {person}, {label}{ranked}"
    return GridPicture(picture_source(item["picture"]), alt, rank)


def picture_source(picture: bytes | None) -> str:
    """A PNG as a data: address; empty where there is none."""
    if not picture or not picture.startswith(PNG):
        return ""
    return "data:image/png;base64," + base64.b64encode(picture).decode("ascii")
