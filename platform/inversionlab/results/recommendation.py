"""Which defense setting to recommend, and against which attack."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass

from inversionlab.metrics import Estimate
from inversionlab.results.rows import Row, headline_rows
from inversionlab.results.run_data import RunData

MAX_LOSS_POINTS = 1.0
"""Recognition accuracy that a recommended setting may cost, in percentage points."""


@dataclass(frozen=True)
class BestSetting:
    """The recommended protected model, as the strongest attack leaves it."""

    row: Row
    """The strongest attack's row."""

    @property
    def point(self) -> float | None:
        """The recommended value of the swept setting; None where nothing is swept."""
        return self.row.point

    @property
    def top5(self) -> Estimate:
        """Top-5 success of the strongest attack, by the first evaluator."""
        return self.row.judgements[0].top5


def best_setting(run: RunData) -> BestSetting | None:
    """The defended model with the lowest top-5 success at no more than 1 point of accuracy lost.

    Each model stands for its strongest attack, judged by the first evaluator; ties go to the more
    accurate model. Models that some attack is not finished on are left out; None where all are.
    """
    return choose(headline_rows(run, frechet=False))


def choose(rows: Iterable[Row]) -> BestSetting | None:
    """`best_setting` on rows that are there already."""
    by_model: dict[str, list[Row]] = {}
    for row in rows:
        if row.kind == "defended":
            by_model.setdefault(row.protected, []).append(row)
    finalists = [
        strongest(group)
        for group in by_model.values()
        # A loss that is not known (NaN) fails the comparison. 1e-9: 1 point must pass as computed.
        if all(r.complete and r.loss_points <= MAX_LOSS_POINTS + 1e-9 for r in group)
    ]
    known = [row for row in finalists if row is not None]
    if not known:
        return None
    return BestSetting(min(known, key=lambda r: (r.judgements[0].top5.value, r.loss_points)))


def helps(best: BestSetting, rows: Iterable[Row]) -> bool:
    """Whether it clearly leaves less than the undefended model: the two intervals do not meet."""
    open_row = undefended(rows)
    return open_row is not None and best.top5.high < open_row.judgements[0].top5.low


def strongest(rows: Iterable[Row], judge: int = 0) -> Row | None:
    """The row with the highest top-5 success by one evaluator; None where none was judged.

    An attack that overhears the answers to private pictures (its `error` is known) faces an easier
    question than one that starts from a class, and counts only where there is no other.
    """
    judged = [r for r in rows if r.judgements and r.judgements[judge].top5.count]
    aimed = [r for r in judged if math.isnan(r.error)] or judged
    return max(aimed, key=lambda r: r.judgements[judge].top5.value) if aimed else None


def undefended(rows: Iterable[Row]) -> Row | None:
    """The strongest attack on the undefended model."""
    return strongest(r for r in rows if r.kind == "undefended")


def null_level(rows: Iterable[Row], judge: int = 0) -> Row | None:
    """The null attack that succeeds most often by one evaluator."""
    return strongest((r for r in rows if r.kind == "null"), judge)
