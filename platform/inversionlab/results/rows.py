"""The headline table as data: a row for each attack on each protected model, and each null."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from inversionlab.metrics import Estimate, mean_score
from inversionlab.results.judgements import Judge, Judgement, judgement, judges_of
from inversionlab.results.models import Model, models_of, undefended_accuracy
from inversionlab.results.run_data import RunData
from inversionlab.results.verdicts import numbers
from inversionlab.results.wording import IF_STRIPPED, words

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
    title: str
    """What its recipe calls the defense."""
    model: str
    """The protected model in words: "undefended", "dummy recognizer, alpha = 0.25"."""
    stripped: bool
    """Whether the attacker, who holds the weights, has taken off what comes off of the defense."""
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
    def label(self) -> str:
        """What was attacked: the model, or what is left of it."""
        return f"{self.model}, stripped" if self.stripped else self.model

    @property
    def by(self) -> str:
        """The attack in words."""
        return words(self.attack) + (f", {IF_STRIPPED}" if self.stripped else "")

    @property
    def complete(self) -> bool:
        """Whether as much is done here as in the fullest cell."""
        return 0 < self.done == self.wanted


def headline_rows(run: RunData, *, frechet: bool = True) -> list[Row]:
    """Every cell as a row: attack by attack, nulls last.

    Within an attack: undefended; then the defended models in the record's order, each as it was released and
    then stripped; then the swept ones by falling point.
    `frechet=False` leaves the costly distance out (NaN).
    """
    cells: list[dict[str, Any]] = run.manifest.get("cells") or []
    tables = {c["cell"]: _of_cell(run, c["cell"]) for c in cells}
    full = {False: 0, True: 0}
    for c in cells:
        null = c["attack"] in NULL_ATTACKS
        full[null] = max(full[null], tables[c["cell"]].num_rows)
    judges = judges_of(run, frechet)
    models = models_of(run)
    rows = [_row(run, c, tables[c["cell"]], full, judges, models) for c in cells]
    released = {name: i for i, name in reversed(list(enumerate(r.protected for r in rows)))}
    order = {attack: i for i, attack in enumerate(dict.fromkeys(r.attack for r in rows))}
    kinds = ("undefended", "defended")

    def place(row: Row) -> tuple[bool, int, int, float, int, bool]:
        null = row.kind == "null"
        kind = 0 if null else kinds.index(row.kind)
        point = -math.inf if row.point is None else -row.point
        return null, order[row.attack], kind, point, released[row.protected], row.stripped

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
    models: Mapping[str, Model],
) -> Row:
    kind = kind_of(cell)
    compared = full[False] or full[True]
    known = models.get(cell["protected"]) if kind != "null" else None
    everyone, targets = (known.accuracy_all, known.accuracy_targets) if known else (None, None)
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
        title=_title(cell),
        model=_model(cell, kind, sweep),
        stripped=bool(cell.get("stripped", False)),
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


def _title(cell: dict[str, Any]) -> str:
    return str(cell.get("title") or cell["defense"])


def _model(cell: dict[str, Any], kind: Kind, sweep: dict[str, Any]) -> str:
    if kind == "null":
        return "no model asked"
    if kind == "undefended":
        return "undefended"
    name = words(_title(cell))
    if cell.get("point") is None or not sweep:
        return name
    return f"{name}, {short_setting(sweep)} = {cell['point']:g}"


def short_setting(sweep: dict[str, Any]) -> str:
    """The last part of the swept setting's dotted path."""
    return str(sweep["setting"]).rpartition(".")[2]


def _mean(table: pa.Table, column: str) -> float:
    """The mean of what is known."""
    known = numbers(table[column])
    known = known[~np.isnan(known)]
    return float(known.mean()) if len(known) else math.nan


def _per_target(table: pa.Table, column: str, people: int) -> float:
    if not people:
        return math.nan
    return float(np.nansum(numbers(table[column])) / people)
