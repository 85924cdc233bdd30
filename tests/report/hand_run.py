"""Runs whose numbers are given one by one, so that expectations can be worked out by hand."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence

import numpy as np
import pyarrow as pa

from inversionlab.metrics import Estimate, by_person
from inversionlab.results.load import RunData
from inversionlab.results.run_record import RunRecord
from tests.report.fake_run import (
    EVALUATORS,
    FEATURES,
    GALLERIES,
    MODELS,
    NULLS,
    RECONSTRUCTIONS,
    REFERENCES,
)


def tries(*hits: bool) -> Estimate:
    """The share of hits in rows in order, two for each target."""
    return by_person(np.array(hits), np.arange(len(hits)) // 2)


def hand_run(
    ranks: Mapping[tuple[str, str], Sequence[int]],
    correct: Mapping[str, int],
    *,
    total: int = 1000,
    evaluator_correct: int = 950,
) -> RunData:
    """One evaluator, called "same"; `ranks[attack, model]` are its ranks, models are "none" or an alpha as text.

    Row i of a cell attacks target i // 2 and costs 10 queries, 3 steps and 0.5 seconds.
    """
    cells = [
        {
            "cell": f"{attack}/{model}",
            "attack": attack,
            "defense": "none" if model == "none" else "dummy_recognizer",
            "protected": "" if attack in NULLS else model,
            "label": "",
            "knows_defense": True,
            "victim_share": None if model == "none" else "alpha",
            "point": None if model == "none" else float(model),
            "baseline": model == "none",
        }
        for attack, model in ranks
    ]
    rows = [
        {
            "cell": f"{attack}/{model}",
            "target": i // 2,
            "person": f"p{i // 2}",
            "repeat": i % 2,
            "confidence": 0.5,
            "queries": 10,
            "steps": 3,
            "seconds": 0.5,
            "verdicts": [
                {
                    "evaluator": "same",
                    "rank": r,
                    "score": 0.1,
                    "nearest": 1.0 + i,
                    "feature": [i, r],
                }
            ],
        }
        for (attack, model), found in ranks.items()
        for i, r in enumerate(found)
    ]
    models = [
        {
            "protected": m,
            "defense": "none" if m == "none" else "dummy_recognizer",
            "milliseconds": 1.0,
        }
        | {"correct_all": c, "total_all": total, "correct_targets": 9, "total_targets": 10}
        for m, c in correct.items()
    ]
    evaluator = {
        "evaluator": "same",
        "protocol": "p",
        "network": "n",
        "correct": evaluator_correct,
        "total": 1000,
        "within_person": 0.5,
    }
    values = [float(m) for m in correct if m != "none"]
    return RunData(
        record=RunRecord.model_validate(
            {
                "run": "r",
                "name": "by hand",
                "created": "today",
                "seconds": 1.0,
                "sweep": {"setting": "defense.alpha", "values": values, "marked": None},
                "cells": cells,
            }
        ),
        reconstructions=pa.Table.from_pylist(rows, RECONSTRUCTIONS),
        models=pa.Table.from_pylist(models, MODELS),
        evaluators=pa.Table.from_pylist([evaluator], EVALUATORS),
        references=REFERENCES.empty_table(),
        features=FEATURES.empty_table(),
        galleries=GALLERIES.empty_table(),
    )


def each_alone(run: RunData, correct: Sequence[int] = (900, 910, 920)) -> RunData:
    """The run with the defended attack on a network for each of the three people, as `protect: each` stores it.

    Each network recognizes so many of 1,000 pictures.
    """
    cells, rows, models = [], [], []
    for cell in run.record.cells:
        own = [row for row in run.reconstructions.to_pylist() if row["cell"] == cell.cell]
        if cell.kind != "defended":
            cells.append(cell)
            rows += own
            continue
        for target in range(3):
            changed = {"cell": f"{cell.cell}@{target}", "protected": f"{cell.protected}@{target}"}
            cells.append(cell.model_copy(update=changed | {"target": target}))
            rows += [
                row | {"cell": changed["cell"], "victim_seed": 0}
                for row in own
                if row["target"] == target
            ]
    for model in run.models.to_pylist():
        if model["protected"] == "none":
            models.append(model)
            continue
        for target, (right, own_correct) in enumerate(zip(correct, (10, 8, 6), strict=True)):
            models.append(
                model
                | {
                    "protected": f"{model['protected']}@{target}",
                    "correct_all": right,
                    "total_all": 1000,
                }
                | {"correct_targets": own_correct, "total_targets": 10, "others_taken_of": [target]}
            )
    return dataclasses.replace(
        run,
        record=run.record.model_copy(update={"cells": tuple(cells)}),
        reconstructions=pa.Table.from_pylist(rows, run.reconstructions.schema),
        models=pa.Table.from_pylist(models, run.models.schema),
    )
