"""The headline table as data: one row for each attack on each protected model, and for each null."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from inversionlab.metrics import (
    Estimate,
    attack_accuracy,
    cmc,
    frechet_distance,
    mean_score,
    median_rank,
    wilson,
)
from inversionlab.report.run_data import RunData
from inversionlab.report.verdicts import (
    Verdicts,
    feature_matrix,
    numbers,
    private_features,
    verdicts,
)

Kind = Literal["undefended", "defended", "null"]

NULL_ATTACKS = ("random_latent", "random_public")
"""Attacks that ask no model: what a guess without the model achieves."""

CMC_RANKS = 50
"""How many guesses the cumulative match characteristic goes up to."""


@dataclass(frozen=True)
class Judgement:
    """What one evaluator says of one cell."""

    evaluator: str
    top1: Estimate
    top5: Estimate
    median_rank: float
    mean_score: float
    frechet: float
    """Squared Fréchet distance to the private pictures; NaN where counts are too small or unequal."""
    nearest: float
    """Mean distance to the nearest private picture of the target."""
    within_person: float
    """The same between private pictures of one person."""
    cmc_K: NDArray[np.float64]


@dataclass(frozen=True)
class Row:
    """One cell: an attack on a protected model, or a null attack. NaN stands for "not known"."""

    cell: str
    attack: str
    defense: str
    protected: str
    kind: Kind
    label: str
    """The protected model in words: "undefended", "mixture, alpha = 0.25"."""
    point: float | None
    """The value of the swept setting."""
    marked: bool
    """Whether that is the paper's value."""
    done: int
    """Reconstructions that are in the store."""
    wanted: int
    """Reconstructions of the fullest cell; fewer are done while the run is going."""
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
    wanted = max((t.num_rows for t in tables.values()), default=0)
    judges = _judges(run, frechet)
    rows = [_row(run, c, tables[c["cell"]], wanted, judges) for c in cells]
    order = {attack: i for i, attack in enumerate(dict.fromkeys(r.attack for r in rows))}
    kinds = ("undefended", "defended")

    def place(row: Row) -> tuple[bool, int, int, float]:
        null = row.kind == "null"
        point = -math.inf if row.point is None else -row.point
        return null, order[row.attack], 0 if null else kinds.index(row.kind), point

    return sorted(rows, key=place)


@dataclass(frozen=True)
class _Judge:
    name: str
    within_person: float
    private_ND: NDArray[np.float64] | None


def _judges(run: RunData, frechet: bool) -> list[_Judge]:
    return [
        _Judge(
            name,
            float(within) if within is not None else math.nan,
            private_features(run, name) if frechet else None,
        )
        for name, within in zip(
            run.evaluators["evaluator"].to_pylist(),
            run.evaluators["within_person"].to_pylist(),
            strict=True,
        )
    ]


def _of_cell(run: RunData, cell: str) -> pa.Table:
    return run.reconstructions.filter(pc.equal(run.reconstructions["cell"], cell))


def kind_of(cell: dict[str, Any]) -> Kind:
    """Whether a cell of the manifest is a null, an undefended model under attack, or a defended one."""
    if cell["attack"] in NULL_ATTACKS:
        return "null"
    return "undefended" if cell["defense"] in ("none", "") else "defended"


def _row(
    run: RunData, cell: dict[str, Any], table: pa.Table, wanted: int, judges: Sequence[_Judge]
) -> Row:
    kind = kind_of(cell)
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
        wanted=wanted,
        accuracy_all=everyone,
        accuracy_targets=targets,
        loss_points=0.0 if kind == "undefended" else loss,
        judgements=tuple(_judgement(table, j, wanted) for j in judges) if people else (),
        confidence=mean_score(numbers(table["confidence"])),
        queries=_per_target(table, "queries", people),
        steps=_per_target(table, "steps", people),
        seconds=_per_target(table, "seconds", people),
    )


def _label(cell: dict[str, Any], kind: Kind, sweep: dict[str, Any]) -> str:
    if kind == "null":
        return "no model asked"
    if kind == "undefended":
        return "undefended"
    if cell.get("point") is None or not sweep:
        return str(cell.get("label") or cell["defense"])
    return f"{cell['defense']}, {short_setting(sweep)} = {cell['point']:g}"


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


def _judgement(table: pa.Table, judge: _Judge, wanted: int) -> Judgement:
    found = verdicts(table, judge.name)
    return Judgement(
        evaluator=judge.name,
        top1=attack_accuracy(found.rank_N, top=1),
        top5=attack_accuracy(found.rank_N, top=5),
        median_rank=median_rank(found.rank_N),
        mean_score=mean_score(found.score_N),
        frechet=_frechet(found, judge, wanted),
        nearest=mean_score(found.nearest_N),
        within_person=judge.within_person,
        cmc_K=cmc(found.rank_N, max_rank=CMC_RANKS),
    )


def _frechet(found: Verdicts, judge: _Judge, wanted: int) -> float:
    # A cell with fewer pictures than the others would look worse for that alone: no number then.
    if judge.private_ND is None or len(judge.private_ND) < 2 or len(found.rank_N) != wanted:
        return math.nan
    made_ND = feature_matrix(found.feature)
    usable = len(made_ND) >= 2 and made_ND.shape[1] == judge.private_ND.shape[1]
    if not usable or not (np.isfinite(made_ND).all() and np.isfinite(judge.private_ND).all()):
        return math.nan
    return frechet_distance(made_ND, judge.private_ND)


def _per_target(table: pa.Table, column: str, people: int) -> float:
    if not people:
        return math.nan
    return float(np.nansum(numbers(table[column])) / people)
