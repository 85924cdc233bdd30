"""The headline table as data: a row for each attack on each protected model, and each null."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from inversionlab.metrics import Estimate, mean_score, wilson
from inversionlab.report.judging import Judge, Judgement, judgement, judges_of
from inversionlab.report.run_data import RunData
from inversionlab.report.verdicts import numbers
from inversionlab.report.wording import words

Kind = Literal["undefended", "defended", "null"]

NULL_ATTACKS = ("random_latent", "random_public")
"""Attacks that ask no model: what a guess without the model achieves."""


@dataclass(frozen=True)
class Row:
    """One cell: an attack on a protected model, or a null attack. NaN stands for "not known"."""

    cell: str
    attack: str
    defense: str
    protected: str
    kind: Kind
    label: str
    """The protected model in words: "undefended", "identity mixture, alpha = 0.25"."""
    point: float | None
    """The value of the swept setting."""
    marked: bool
    """Whether that is the paper's value."""
    done: int
    """Reconstructions that are in the store."""
    wanted: int
    """Reconstructions of the fullest cell of its sort; fewer are done while the run is going."""
    accuracy_all: Estimate | None
    accuracy_targets: Estimate | None
    loss_points: float
    """Accuracy on all people that the defense costs, in percentage points."""
    judgements: tuple[Judgement, ...]
    """One an evaluator, in the evaluators' order; empty where nothing is done."""
    confidence: float
    """Mean score that the attacked model itself gives the target."""
    queries: float
    """Queries a target, all repeats together."""
    steps: float
    seconds: float
    access: str
    """What the attacker sees of the model: "white box", "scores", "labels"; empty for a null attack."""
    training_queries: float
    """Pictures sent to a model, once for all targets, to train the attacker's networks."""
    error: float
    """Mean squared error a pixel to the private pictures whose score vectors were inverted; else NaN."""

    @property
    def complete(self) -> bool:
        """Whether as much is done here as in the fullest cell."""
        return 0 < self.done == self.wanted


def headline_rows(run: RunData, *, frechet: bool = True) -> list[Row]:
    """Every cell as a row: attack by attack, undefended first, then by falling point; nulls last.

    `frechet=False` leaves the costly distance out (NaN).
    """
    cells: list[dict[str, Any]] = run.manifest.get("cells") or []
    tables = {c["cell"]: _of_cell(run, c["cell"]) for c in cells}
    full = {False: 0, True: 0}
    for c in cells:
        null = c["attack"] in NULL_ATTACKS
        full[null] = max(full[null], tables[c["cell"]].num_rows)
    judges = judges_of(run, frechet)
    rows = [_row(run, c, tables[c["cell"]], full, judges) for c in cells]
    order = {attack: i for i, attack in enumerate(dict.fromkeys(r.attack for r in rows))}
    kinds = ("undefended", "defended")

    def place(row: Row) -> tuple[bool, int, int, float]:
        null = row.kind == "null"
        point = -math.inf if row.point is None else -row.point
        return null, order[row.attack], 0 if null else kinds.index(row.kind), point

    return sorted(rows, key=place)


def _of_cell(run: RunData, cell: str) -> pa.Table:
    return run.reconstructions.filter(pc.equal(run.reconstructions["cell"], cell))


def kind_of(cell: dict[str, Any]) -> Kind:
    """Whether a cell is a null, an attack on the undefended model, or one on a defended model."""
    if cell["attack"] in NULL_ATTACKS:
        return "null"
    return "undefended" if cell["defense"] in ("none", "") else "defended"


def _row(
    run: RunData,
    cell: dict[str, Any],
    table: pa.Table,
    full: Mapping[bool, int],
    judges: Sequence[Judge],
) -> Row:
    kind = kind_of(cell)
    compared = full[False] or full[True]
    everyone, targets = (None, None) if kind == "null" else accuracies(run, cell["protected"])
    base = undefended_accuracy(run)
    loss = (base.value - everyone.value) * 100 if base and everyone else math.nan
    sweep = run.manifest.get("sweep") or {}
    point = cell.get("point") if kind == "defended" else None
    people = len(pc.unique(table["target"])) if table.num_rows else 0
    return Row(
        cell=cell["cell"],
        attack=cell["attack"],
        defense=cell["defense"],
        protected=cell["protected"],
        kind=kind,
        label=_label(cell, kind, sweep),
        point=point,
        marked=point is not None and point == sweep.get("marked"),
        done=table.num_rows,
        wanted=full[kind == "null"],
        accuracy_all=everyone,
        accuracy_targets=targets,
        loss_points=0.0 if kind == "undefended" else loss,
        judgements=tuple(judgement(table, j, compared) for j in judges) if people else (),
        confidence=mean_score(numbers(table["confidence"])),
        queries=_per_target(table, "queries", people),
        steps=_per_target(table, "steps", people),
        seconds=_per_target(table, "seconds", people),
        access=str(cell.get("access", "")),
        training_queries=_mean(table, "training_queries"),
        error=_mean(table, "error"),
    )


def _label(cell: dict[str, Any], kind: Kind, sweep: dict[str, Any]) -> str:
    if kind == "null":
        return "no model asked"
    if kind == "undefended":
        return "undefended"
    if cell.get("point") is None or not sweep:
        return words(str(cell.get("label") or cell["defense"]))
    return f"{words(cell['defense'])}, {short_setting(sweep)} = {cell['point']:g}"


def short_setting(sweep: dict[str, Any]) -> str:
    """The last part of the swept setting's dotted path."""
    return str(sweep["setting"]).rpartition(".")[2]


def accuracies(run: RunData, protected: str) -> tuple[Estimate | None, Estimate | None]:
    """Recognition accuracy of a protected model on all people and on the targets, where known."""
    found = run.models.filter(pc.equal(run.models["protected"], protected)).to_pylist()
    if not found:
        return None, None
    model = found[0]
    pairs = [(model[f"correct_{who}"], model[f"total_{who}"]) for who in ("all", "targets")]
    everyone, targets = (wilson(c, n) if n else None for c, n in pairs)
    return everyone, targets


def undefended_accuracy(run: RunData) -> Estimate | None:
    """Recognition accuracy of the undefended model on all people, where it is known."""
    for protected, defense in zip(
        run.models["protected"].to_pylist(), run.models["defense"].to_pylist(), strict=True
    ):
        if defense in ("none", ""):
            return accuracies(run, protected)[0]
    return None


def _mean(table: pa.Table, column: str) -> float:
    """The mean of what is known."""
    known = numbers(table[column])
    known = known[~np.isnan(known)]
    return float(known.mean()) if len(known) else math.nan


def _per_target(table: pa.Table, column: str, people: int) -> float:
    if not people:
        return math.nan
    return float(np.nansum(numbers(table[column])) / people)
