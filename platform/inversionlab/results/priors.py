"""The attackers' generators and their ceilings: what an evaluator recognizes of the faces that they can make."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from inversionlab.metrics import Estimate, attack_accuracy
from inversionlab.results.guessing import MANY
from inversionlab.results.load import RunData
from inversionlab.results.rows import Row
from inversionlab.results.run_record import PriorRecord

NEAR = 0.8
"""The share of its ceiling from which on an attack is near it."""


@dataclass(frozen=True)
class Prior:
    """A generator whose ceiling is measured."""

    record: PriorRecord
    evaluator: str
    """Who ranked the pictures."""
    top1: Estimate
    """Share of the private pictures that, as the generator can make them, are recognized at once."""
    top5: Estimate
    """The same for the first five guesses."""
    real_top1: Estimate
    """Share of these pictures themselves that are recognized at once."""
    real_top5: Estimate
    error: float
    """Mean squared error per pixel of what the generator makes of them."""
    fit: str
    """How they were sought, `pixels` or `features`: the way that is recognized more often."""

    @property
    def id(self) -> str:
        """The generator's id."""
        return self.record.id

    def success(self, k: int) -> Estimate:
        """The share that is recognized within k guesses, 1 or 5."""
        return self.top1 if k == 1 else self.top5


def priors_of(run: RunData, k: int = MANY) -> list[Prior]:
    """The measured generators, in the record's order; `k` guesses decide which fit is best."""
    found = []
    for record in run.record.priors:
        rows = run.ceilings.filter(pc.equal(run.ceilings["generator"], record.id))
        ways = rows["fit"].unique().to_pylist()
        fits = [_prior(record, rows.filter(pc.equal(rows["fit"], way))) for way in ways]
        if fits:
            # Of equals the first, by pixels alone.
            found.append(max(fits, key=lambda prior: (prior.success(k).value, prior.top1.value)))
    return found


def _prior(record: PriorRecord, rows: pa.Table) -> Prior:
    rank_N, real_N, target_N = (
        rows[name].to_numpy().astype(np.int64) for name in ("rank", "real_rank", "target")
    )
    return Prior(
        record=record,
        evaluator=rows["evaluator"][0].as_py(),
        top1=attack_accuracy(rank_N, target_N, top=1),
        top5=attack_accuracy(rank_N, target_N, top=5),
        real_top1=attack_accuracy(real_N, target_N, top=1),
        real_top5=attack_accuracy(real_N, target_N, top=5),
        error=float(pc.mean(rows["error"]).as_py()),
        fit=rows["fit"][0].as_py(),
    )


def near_ceiling(rows: Sequence[Row], priors: Sequence[Prior]) -> list[tuple[Row, Prior]]:
    """The attacks on the undefended model that find nearly all that their generators can make, each with its own.

    They find at least `NEAR` of the ceiling, by the evaluator that measured it.
    """
    known, found = {prior.id: prior for prior in priors}, []
    for row in rows:
        prior = known.get(row.cell.prior)
        if prior is None or row.kind != "undefended" or row.cell.floor:
            continue
        judged = next((e for e in row.by_evaluator if e.evaluator == prior.evaluator), None)
        if (
            judged is not None
            and judged.success.count
            and judged.success.value >= NEAR * prior.success(judged.guesses).value
        ):
            found.append((row, prior))
    return found
