"""The models' own numbers are where everything that goes through their list looks for them."""

import dataclasses

import numpy as np
import pyarrow as pa
import pytest

from inversionlab.metrics import wilson
from inversionlab.metrics.by_person import of_counts
from inversionlab.pipeline.evaluate import Utility
from inversionlab.results.load import RunData
from inversionlab.results.models import (
    MODEL_METRICS,
    Model,
    ModelMetric,
    accuracy_lost,
    mean_model,
    models_of,
)
from inversionlab.results.rows import headline_rows
from inversionlab.results.trial_record import TrialRecord
from inversionlab.store.tables import SCHEMAS
from tests.report.hand_run import hand_run


@pytest.mark.parametrize("metric", MODEL_METRICS, ids=lambda m: m.key)
def test_a_number_is_measured_stored_and_read(metric: ModelMetric) -> None:
    assert metric.key in {field.name for field in dataclasses.fields(Utility)}
    assert metric.key in SCHEMAS["models"].names
    assert metric.key in Model.model_fields


def test_a_trials_record_keeps_a_number_that_has_no_field() -> None:
    made = TrialRecord(number=0).model_copy(update={"new_number": 0.25})
    read = TrialRecord.model_validate_json(made.model_dump_json())
    assert read.metric("new_number") == 0.25
    assert TrialRecord(number=1).metric("new_number") is None


TOTAL = (4, 6, 0, 10)
"""Test pictures of four people; one has none."""


@pytest.fixture
def by_person() -> RunData:
    """Two models, of which each person's test pictures are counted."""
    ranks = {("a", "none"): [1, 9], ("a", "0.5"): [9, 9]}
    run = hand_run(ranks, {"none": 15, "0.5": 11}, total=20)
    correct = {"none": (4, 5, 0, 6), "0.5": (3, 5, 0, 3)}
    models = [
        {**row, "correct_of": correct[row["protected"]], "total_of": TOTAL}
        for row in run.models.to_pylist()
    ]
    jobs = run.record.jobs.model_copy(update={"targets": (1, 3)})
    return dataclasses.replace(
        run,
        record=run.record.model_copy(update={"jobs": jobs}),
        models=pa.Table.from_pylist(models, run.models.schema),
    )


def test_an_accuracys_interval_counts_people(by_person: RunData) -> None:
    model = models_of(by_person)["none"]
    assert model.accuracy_all == of_counts(*map(np.array, ([4.0, 5, 6], [4.0, 6, 10])))
    assert model.accuracy_targets == of_counts(*map(np.array, ([5.0, 6], [6.0, 10])))
    assert model.accuracy_targets.value == 11 / 16
    plain = wilson(15, 20)
    assert model.accuracy_all.low < plain.low < plain.high < model.accuracy_all.high


def test_what_a_defense_costs_is_paired(by_person: RunData) -> None:
    undefended, defended = headline_rows(by_person)
    assert undefended.loss_points == 0
    assert defended.lost is not None
    assert defended.loss_points == pytest.approx(20.0)
    # Two models of the same accuracy that err on other people's pictures are further from known.
    base = models_of(by_person)["none"]
    alike, other = (
        base.model_copy(update={"correct_of": c}) for c in ((4, 5, 0, 6), (2, 3, 0, 10))
    )
    near, far = accuracy_lost(base, alike), accuracy_lost(base, other)
    assert near is not None
    assert far is not None
    assert near.value == far.value == 0
    assert 0 < near.high < far.high


def test_counts_of_several_models_are_added(by_person: RunData) -> None:
    models = models_of(by_person)
    both = mean_model([models["none"], models["0.5"]])
    assert (both.correct_of, both.total_of) == ((7, 10, 0, 9), (8, 12, 0, 20))
    assert both.aimed_total_of == (12, 20)
    # Each person counts once, and the models saw the same 20 pictures.
    lost = accuracy_lost(both, both)
    assert lost is not None
    assert lost.high == pytest.approx(accuracy_lost(models["none"], models["none"]).high)  # type: ignore[union-attr]
    older = models["none"].model_copy(update={"correct_of": (), "total_of": ()})
    assert mean_model([older, models["0.5"]]).total_of == ()
