"""Distances of an attack's pictures to the person and to the decoy, by hand; and who the decoys are."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from inversionlab.core.rows import select
from inversionlab.defenses.parts.fine_tuning import public_labels
from inversionlab.metrics.by_person import student_95
from inversionlab.papers.face_distances import FaceDistance
from inversionlab.papers.finder import DECOYS, NotRunError
from inversionlab.papers.measures import decoy_labels
from inversionlab.pipeline import evaluate
from inversionlab.pipeline.recognizer_specs import outsider_classes
from inversionlab.results.run_results import RunResults
from tests import tiny
from tests.report.hand_run import hand_run
from tests.results.test_pooling import several

PRIVATE = {0: [(0.0, 0.0), (2.0, 0.0)], 1: [(0.0, 1.0)], 2: [(5.0, 5.0)]}
"""Features of three people's pictures: their means are (1, 0), (0, 1) and (5, 5)."""
MADE = [(1.0, 0.0), (1.0, 2.0), (0.0, 1.0), (0.0, 3.0), (5.0, 7.0), (5.0, 9.0)]
"""Of two tries at each: their means are (1, 1), (0, 2) and (5, 8)."""


def results() -> RunResults:
    made = hand_run({("a", "none"): [1] * 6}, {"none": 900})
    place = made.reconstructions.column_names.index("verdicts")
    said = [
        [{**verdicts[0], "feature": list(feature)}]
        for verdicts, feature in zip(
            made.reconstructions["verdicts"].to_pylist(), MADE, strict=True
        )
    ]
    kind = made.reconstructions.schema.field("verdicts").type
    table = made.reconstructions.set_column(place, "verdicts", pa.array(said, kind))
    rows = [
        {"evaluator": "same", "target": person, "feature": list(feature)}
        for person, features in PRIVATE.items()
        for feature in features
    ]
    features = pa.Table.from_pylist(rows, schema=made.features.schema)
    jobs = made.record.jobs.model_copy(update={"targets": (0, 1, 2), "repeats": 2})
    record = made.record.model_copy(update={"jobs": jobs})
    return RunResults.of(
        dataclasses.replace(made, record=record, reconstructions=table, features=features)
    )


def test_it_is_the_squared_distance_of_the_means_person_by_person() -> None:
    found = FaceDistance("r", attack="a").find(results(), {})
    assert found.of_person == {0: 1.0, 1: 1.0, 2: 9.0}
    assert found.estimate.value == pytest.approx(11 / 3)
    deviation = float(np.std([1, 1, 9], ddof=1)) / 3**0.5
    assert found.estimate.high == pytest.approx(11 / 3 + student_95(2) * deviation)


def test_the_decoy_is_the_one_that_was_measured() -> None:
    finder = FaceDistance("r", attack="a", to="decoy")
    with pytest.raises(NotRunError, match="has not been measured"):
        finder.find(results(), {})
    means = {"0": [1.0, 1.0], "1": [0.0, 0.0], "2": [5.0, 6.0]}
    measured = {
        DECOYS: {person: {"means": {"7": {"same": mean}}} for person, mean in means.items()}
    }
    found = finder.find(results(), measured)
    assert found.estimate.value == pytest.approx((0 + 4 + 4) / 3)
    # Each person's own, so that distances on two models are compared in pairs.
    assert found.of_person == {0: 0.0, 1: 4.0, 2: 4.0}
    assert finder.measure == DECOYS


def test_each_victim_leads_to_a_decoy_of_its_own() -> None:
    """The first victim's tries are at (1, 1) and on its decoy, the second's are twice as far from theirs."""
    both = RunResults.of(several(results().run, results().run))
    goals = {"0": [1.0, 1.0], "1": [1.0, 3.0]}
    measured = {DECOYS: {"0": {"means": {seed: {"same": goal} for seed, goal in goals.items()}}}}
    finder = FaceDistance("r", attack="a", to="decoy")
    assert finder.find(both, measured).of_person == {0: (0 + 4) / 2}
    assert FaceDistance("r", attack="a").find(both, {}).of_person == {0: 1.0, 1: 1.0, 2: 9.0}


def test_the_decoys_are_the_public_people_of_the_labels(tmp_path: Path) -> None:
    session = tiny.session(
        tmp_path, sweep=None, defense={"name": "random_fake_samples"}, protect="each"
    )
    tiny.train_all(session)
    found, splits = decoy_labels(session), session.builder.splits
    assert found.keys() == {str(target) for target in session.plan.targets}
    class_N = outsider_classes(splits, 2)
    for target in session.plan.targets:
        (decoy,) = public_labels((target,), int(class_N.max()) + 1, session.experiment.seed)
        own_NCHW = select(splits.public_NCHW, class_N == decoy)
        judge = session.builder.recognizer("evaluator:same")
        mean_D = evaluate.features(judge, own_NCHW, session.builder.device).double().mean(0)
        (means,) = found[str(target)]["means"].values()
        assert means["same"] == pytest.approx(mean_D.tolist(), rel=1e-4, abs=1e-6)
