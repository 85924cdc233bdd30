"""Runs of given victims: with private pictures and evaluators from elsewhere, and without any pictures."""

from __future__ import annotations

import dataclasses
import json
from typing import Any

import pyarrow as pa

from inversionlab.results.load import RunData
from tests.report.fake_run import (
    EVALUATORS,
    FEATURES,
    MODELS,
    RECONSTRUCTIONS,
    fake_run,
    with_record,
)

GIVEN = {
    "model": "facenet.model:FaceNet",
    "weights": "facenet.pt",
    "answers": "logits",
    "shows": "white box",
    "preprocessing": "size as it is; RGB; range 0..1; mean 0.485, 0.456, 0.406; NCHW",
    "people": 158,
    "checked": ["the given model recognizes 95.0% (93.0% to 96.5%) of 600 pictures"],
}
"""What a record says of a given victim."""
OWN_SCORES = {"latent_white_box": 0.6, "plug_and_play": 0.9, "label_only": None, "mirror": 0.75}
"""The mean score that the undefended model gives each attack's pictures; None where an attack sees no score."""


def given_run(**changes: Any) -> RunData:
    """An audit of a given victim, judged by an embedding from elsewhere and by a given classifier.

    `changes` are made to what the record says of the victim.
    """
    run = fake_run(alphas=(), evaluators=("sface", "hr_model"), targets=4, repeats=2)
    evaluators = run.evaluators.to_pylist()
    evaluators[0] |= {"protocol": "embedding", "network": "SFace"}
    evaluators[1] |= {"protocol": "given", "network": "hr.onnx"}
    run = with_record(run, given={**GIVEN, **changes})
    return dataclasses.replace(run, evaluators=pa.Table.from_pylist(evaluators, EVALUATORS))


def unjudged_run(stranger_score: float | None = 0.43, **changes: Any) -> RunData:
    """An audit of a given victim without private pictures; `changes` as for `given_run`.

    The repeats of a person have scores on both sides of the attack's mean.
    """
    run = fake_run(alphas=(), attacks=tuple(OWN_SCORES), evaluators=(), targets=4, repeats=2)
    rows = run.reconstructions.to_pylist()
    for row in rows:
        score = OWN_SCORES.get(row["attack"])
        apart = 0.05 if row["repeat"] else -0.05
        row |= {"confidence": float("nan") if score is None else score + apart, "verdicts": []}
    facts = {} if stranger_score is None else {"stranger_score": stranger_score}
    (model,) = run.models.to_pylist()
    model |= {"correct_all": 0, "total_all": 0, "correct_targets": 0, "total_targets": 0}
    model |= {"distortion": float("nan"), "facts": json.dumps(facts)}
    experiment = {**run.record.experiment, "data": None, "evaluators": []}
    data = {**run.record.data, "private_pictures": 0, "test_pictures": 0}
    given = {**GIVEN, "checked": [], **changes}
    run = with_record(run, experiment=experiment, data=data, given=given)
    return dataclasses.replace(
        run,
        reconstructions=pa.Table.from_pylist(rows, RECONSTRUCTIONS),
        models=pa.Table.from_pylist([model], MODELS),
        evaluators=EVALUATORS.empty_table(),
        references=run.references.slice(0, 0),
        features=FEATURES.empty_table(),
    )
