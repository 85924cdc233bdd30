"""The headline table as data: a row for each attack on each protected model, and for each null attack."""

import math
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from inversionlab.metrics import Estimate, mean_score
from inversionlab.metrics.difference import Difference
from inversionlab.results.evaluator_results import (
    EvaluatorResult,
    Known,
    evaluator_results,
)
from inversionlab.results.guessing import guesses_of
from inversionlab.results.load import RunData
from inversionlab.results.models import Model, accuracy_lost, models_of, undefended_model
from inversionlab.results.pooling import pooled
from inversionlab.results.run_record import CellRecord, Kind, SweepRecord
from inversionlab.results.verdicts import numbers
from inversionlab.results.wording import IF_STRIPPED, words


@dataclass(frozen=True)
class Row:
    """An attack on a protected model, or a null attack; of several victims on all of them. NaN: "not known"."""

    cells: tuple[CellRecord, ...]
    """One, or one for each of several victims, and for each person who has a model of their own."""
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
    """Those of the run's jobs, for each victim; fewer are done while the run is going, or if it was cut short."""
    accuracy_all: Estimate | None
    accuracy_targets: Estimate | None
    accuracy_spread: tuple[float, float] | None
    """The least and the most accurate of several victims, on all people."""
    lost: Difference | None
    """Accuracy on all people that the defense costs, as a share; None where it is not known."""
    by_evaluator: tuple[EvaluatorResult, ...]
    """In the recipe's order; empty where nothing is done."""
    confidence: float
    """Mean score that the attacked model itself gives the target."""
    queries: float
    """Queries for one target of one victim, all repeats together."""
    steps: float
    seconds: float
    training_queries: float
    """Pictures sent to a model once for all targets: to train the attacker's networks, or to choose starts."""
    error: float
    """Mean squared error per pixel to the private pictures whose score vectors were inverted; else NaN."""

    @property
    def loss_points(self) -> float:
        """`lost` in percentage points; NaN where it is not known."""
        return math.nan if self.lost is None else self.lost.value * 100

    @property
    def cell(self) -> CellRecord:
        """The only cell, or the first victim's, which stands for all."""
        return self.cells[0]

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
        """Whether the attacker has removed the parts of the defense that come off. That takes the weights."""
        return self.cell.stripped

    @property
    def inverts_outputs(self) -> bool:
        """Whether the attack inverts answers to private pictures; in older records its `error` says so."""
        recorded = self.cell.inverts_outputs
        return not math.isnan(self.error) if recorded is None else recorded

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
        """Whether all of it is done."""
        return 0 < self.done == self.wanted


def run_guesses(run: RunData) -> int:
    """k of a run; see `guessing.py`."""
    record, table = run.record, run.evaluators
    names, people = (table[column].to_pylist() for column in ("evaluator", "people"))
    measured = dict(zip(names, people, strict=True))
    return guesses_of(record.data, record.experiment, len(record.jobs.targets), measured)


def headline_rows(run: RunData, *, frechet: bool = True) -> list[Row]:
    """Every cell, or group of cells of several victims, as a row: attack by attack, null attacks last.

    The attacks stand in the record's order. Where nobody judges them, it is that of the mean score that the
    undefended model itself gives their pictures, the highest first. Within an attack: undefended; then the
    defended models in the record's order, each as it was released and then stripped; then the swept ones by
    falling point. Without `frechet` costly distances are NaN.
    """
    cells, column = run.record.cells, run.reconstructions["cell"]
    tables = {c.cell: run.reconstructions.filter(pc.equal(column, c.cell)) for c in cells}
    full = {
        null: max((tables[c.cell].num_rows for c in cells if c.null == null), default=0)
        for null in (False, True)
    }
    # An old record may not say how many tries it wanted.
    jobs = len(run.record.jobs.targets) * run.record.jobs.repeats
    judges = [Known.of(run, name) for name in run.evaluators["evaluator"].to_pylist()]
    models, k = models_of(run), run_guesses(run)
    base = undefended_model(run, models)
    rows = []
    for group in pooled(cells):
        table = pa.concat_tables(tables[cell.cell] for cell in group)
        # Null attacks are compared at the size of the other cells.
        size = full[False] or full[True]
        found = (
            evaluator_results(table, judges, size, costly=frechet, k=k) if table.num_rows else []
        )
        # Where each person has a model of their own, those of one victim are attacked as often as one model.
        victims = len({cell.seed for cell in group})
        model = models.get(group[0].protected, Model())
        wanted = max(jobs, full[group[0].null]) * victims
        rows.append(_row(group, table, wanted, found, run.record.sweep, model, base))
    attacks = list(dict.fromkeys(c.attack for c in cells))
    if not run.record.judged:
        bare = {r.attack: -r.confidence for r in rows if r.kind == "undefended"}
        known = {attack: score for attack, score in bare.items() if not math.isnan(score)}
        attacks.sort(key=lambda attack: known.get(attack, math.inf))
    released = list(dict.fromkeys(row.protected for row in rows))
    kinds = ("undefended", "defended", "null")

    def place(row: Row) -> tuple[bool, int, int, float, int, bool]:
        point = -math.inf if row.point is None else -row.point
        attack, kind = attacks.index(row.attack), kinds.index(row.kind)
        return row.cell.null, attack, kind, point, released.index(row.protected), row.stripped

    return sorted(rows, key=place)


def _row(
    cells: tuple[CellRecord, ...],
    table: pa.Table,
    wanted: int,
    found: list[EvaluatorResult],
    sweep: SweepRecord | None,
    model: Model,
    base: Model,
) -> Row:
    cell = cells[0]
    none = Difference(0.0, 0.0, 0.0)
    point = cell.point if cell.kind == "defended" else None
    name = "no model asked" if cell.null else "undefended"
    if cell.kind == "defended":
        name = words(cell.title or cell.defense)
        if point is not None and sweep is not None:
            name += f", {sweep.short_name} = {point:g}"
    # Each person counts once for each victim.
    person = ["cell", "target"]
    people = table.select(person).group_by(person, use_threads=False).aggregate([]).num_rows

    def per_target(column: str) -> float:
        return float(np.nansum(numbers(table[column])) / people) if people else math.nan

    return Row(
        cells=cells,
        kind=cell.kind,
        model=name,
        point=point,
        marked=point is not None and sweep is not None and point == sweep.marked,
        done=table.num_rows,
        wanted=wanted,
        accuracy_all=model.accuracy_all,
        accuracy_targets=model.accuracy_targets,
        accuracy_spread=model.accuracy_spread,
        lost=none if cell.kind == "undefended" else accuracy_lost(base, model),
        by_evaluator=tuple(found),
        confidence=mean_score(numbers(table["confidence"])),
        queries=per_target("queries"),
        steps=per_target("steps"),
        seconds=per_target("seconds"),
        training_queries=mean_score(numbers(table["training_queries"])),
        error=mean_score(numbers(table["error"])),
    )
