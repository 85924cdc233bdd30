"""What the report is made from: the content of a store, in memory, and nothing else."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import pyarrow as pa


@dataclass(frozen=True)
class RunData:
    """One run as the store holds it; tables may be empty, so a run that is going can be shown."""

    manifest: dict[str, Any]
    """JSON values: run, name, created, seconds, experiment, provenance, data, sweep, cells,
    artifacts, timings, warnings. `sweep` is null or {setting, values, marked}; a cell is {cell,
    attack, defense, title, protected, stripped, label, point, baseline}. One cell may stand there more than
    once: an attack on what is left of a stripped model is the attack on that."""
    reconstructions: pa.Table
    """One row a reconstruction: cell, attack, defense, protected, target, person, repeat, picture
    (PNG), confidence, converged, steps, queries, seconds, and verdicts, a list with one struct
    {evaluator, rank (1 = best), score, nearest, feature} an evaluator."""
    models: pa.Table
    """One row a protected model: protected, defense, defense_settings (JSON), correct_all,
    total_all, correct_targets, total_targets, milliseconds (a picture), and what `models.Model` tells;
    null where an older run did not measure it."""
    evaluators: pa.Table
    """One row an evaluator, the one that decides first: evaluator, protocol, network, correct,
    total, within_person."""
    references: pa.Table
    """Pictures to compare with: kind ("real" or "synthetic"), protected (empty for real), target,
    person, picture (PNG)."""
    features: pa.Table
    """The evaluators' features of the targets' private pictures: evaluator, target, feature."""
