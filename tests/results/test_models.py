"""The models' own numbers are where everything that goes through their list looks for them."""

import dataclasses

import pytest

from inversionlab.pipeline.evaluate import Utility
from inversionlab.results.models import MODEL_METRICS, Model, ModelMetric
from inversionlab.results.trial_record import TrialRecord
from inversionlab.store.tables import SCHEMAS


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
