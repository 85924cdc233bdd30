"""The headline table as data: a row for each attack on each protected model, and for each null attack."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from inversionlab.metrics import Estimate, mean_score
from inversionlab.results.evaluator_results import (
    EvaluatorResult,
    evaluator_result,
    private_features,
)
from inversionlab.results.load import RunData
from inversionlab.results.models import Model, models_of, undefended_accuracy
from inversionlab.results.run_record import CellRecord, Kind, SweepRecord
from inversionlab.results.verdicts import numbers
from inversionlab.results.wording import IF_STRIPPED, words


@dataclass(frozen=True)
class Row:
    """One cell: an attack on a protected model, or a null attack. NaN stands for "not known"."""

    cell: CellRecord
    kind: Kind
    model: str
    """The protected model in words: "undefended", "dummy recognizer, alpha = 0.25"."""
    point: float | None
    """The value of the swept setting."""
    marked: bool
    """Whether that is the paper's value."""
    done: int
    """Reconstructions that are in the store."""
    wanted: int
    """Reconstructions of the fullest cell of its kind; fewer are done while the run is going."""
    accuracy_all: Estimate | None
    accuracy_targets: Estimate | None
    loss_points: float
    """Accuracy on all people that the defense costs, in percentage points."""
    by_evaluator: tuple[EvaluatorResult, ...]
    """In the recipe's order; empty where nothing is done."""
    confidence: float
    """Mean score that the attacked model itself gives the target."""
    queries: float
    """Queries for one target, all repeats together."""
    steps: float
    seconds: float
    training_queries: float
    """Pictures sent to a model, once for all targets, to train the attacker's networks."""
    error: float
    """Mean squared error a pixel to the private pictures whose score vectors were inverted; else NaN."""

    @property
    def attack(self) -> str:
        """The attack's title."""
        return self.cell.attack

    @property
    def protected(self) -> str:
        """Id of the released model."""
        return self.cell.protected

    @property
    def stripped(self) -> bool:
        """Whether the attacker, who holds the weights, has taken off what comes off of the defense."""
        return self.cell.stripped

    @property
    def inverts_outputs(self) -> bool:
        """Whether the attack inverts answers to private pictures; in older records its `error` says so."""
        told = self.cell.inverts_outputs
        return not math.isnan(self.error) if told is None else told

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
    """Every cell as a row: attack by attack, null attacks last.

    Within an attack: undefended; then the defended models in the record's order, each as it was released and
    then stripped; then the swept ones by falling point.

    Args:
        run: the run.
        frechet: False leaves out the costly distance (NaN).
    """
    cells, column = run.record.cells, run.reconstructions["cell"]
    tables = {c.cell: run.reconstructions.filter(pc.equal(column, c.cell)) for c in cells}
    full = {False: 0, True: 0}
    for c in cells:
        full[c.null] = max(full[c.null], tables[c.cell].num_rows)
    private = private_features(run, frechet=frechet)
    models, base = models_of(run), undefended_accuracy(run)
    rows = [
        _row(c, tables[c.cell], full, private, run.record.sweep, models.get(c.protected), base)
        for c in cells
    ]
    attacks = list(dict.fromkeys(c.attack for c in cells))
    released = list(dict.fromkeys(c.protected for c in cells))
    kinds = ("undefended", "defended", "null")

    def place(row: Row) -> tuple[bool, int, int, float, int, bool]:
        point = -math.inf if row.point is None else -row.point
        attack, kind = attacks.index(row.attack), kinds.index(row.kind)
        return row.cell.null, attack, kind, point, released.index(row.protected), row.stripped

    return sorted(rows, key=place)


def _row(
    cell: CellRecord,
    table: pa.Table,
    full: Mapping[bool, int],
    private: Mapping[str, NDArray[np.float64] | None],
    sweep: SweepRecord | None,
    model: Model | None,
    base: Estimate | None,
) -> Row:
    everyone = model.accuracy_all if model else None
    loss = (base.value - everyone.value) * 100 if base and everyone else math.nan
    point = cell.point if cell.kind == "defended" else None
    compared, people = full[False] or full[True], len(pc.unique(table["target"]))
    found = [evaluator_result(table, e, p, compared) for e, p in private.items() if people]
    return Row(
        cell=cell,
        kind=cell.kind,
        model=_model(cell, sweep),
        point=point,
        marked=point is not None and sweep is not None and point == sweep.marked,
        done=table.num_rows,
        wanted=full[cell.null],
        accuracy_all=everyone,
        accuracy_targets=model.accuracy_targets if model else None,
        loss_points=0.0 if cell.kind == "undefended" else loss,
        by_evaluator=tuple(found),
        confidence=mean_score(numbers(table["confidence"])),
        queries=_per_target(table, "queries", people),
        steps=_per_target(table, "steps", people),
        seconds=_per_target(table, "seconds", people),
        training_queries=mean_score(numbers(table["training_queries"])),
        error=mean_score(numbers(table["error"])),
    )


def _model(cell: CellRecord, sweep: SweepRecord | None) -> str:
    if cell.kind != "defended":
        return "no model asked" if cell.null else "undefended"
    name = words(cell.title or cell.defense)
    if cell.point is None or sweep is None:
        return name
    return f"{name}, {sweep.short_name} = {cell.point:g}"


def _per_target(table: pa.Table, column: str, people: int) -> float:
    return float(np.nansum(numbers(table[column])) / people) if people else math.nan
