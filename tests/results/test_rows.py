"""The headline table's numbers against hand-made ranks."""

from __future__ import annotations

import dataclasses
import io
import math

import numpy as np
import pyarrow as pa
import pytest
from rich.console import Console

from inversionlab.metrics import Gaussian, frechet_distance, wilson
from inversionlab.metrics.prdc import Balls, prdc
from inversionlab.report.audit.sentence import caveats
from inversionlab.report.audit.terminal import terminal_table
from inversionlab.results.load import RunData
from inversionlab.results.rows import headline_rows
from inversionlab.results.run_record import JobsRecord
from inversionlab.results.run_results import RunResults
from inversionlab.results.wording import interval
from tests.report.fake_run import FEATURES, GALLERIES
from tests.report.hand_run import hand_run, tries

RANKS = [1, 1, 4, 5, 6, 40]


@pytest.fixture
def small() -> RunData:
    return hand_run(
        {("a", "none"): RANKS, ("a", "0.5"): [9] * 6, ("random_latent", "none"): [50] * 6},
        {"none": 950, "0.5": 940},
    )


def test_numbers_equal_those_by_hand(small):
    row = headline_rows(small)[0]
    result = row.by_evaluator[0]
    assert (row.kind, row.label, row.loss_points) == ("undefended", "undefended", 0.0)
    assert row.accuracy_all == wilson(950, 1000)
    assert row.accuracy_targets == wilson(9, 10)
    assert result.metrics["top1"] == tries(True, True, False, False, False, False)
    assert result.success == tries(True, True, True, True, False, False)
    assert result.metrics["median_rank"] == 4.5
    assert result.metrics["nearest"] == pytest.approx((1 + 2 + 3 + 4 + 5 + 6) / 6)
    assert result.cmc_K[3] == pytest.approx(3 / 6)
    # 6 reconstructions of 3 targets: 2 a target
    assert (row.queries, row.steps, row.seconds) == (20, 6, 1)


def test_order_and_loss(small):
    rows = headline_rows(small)
    assert [r.kind for r in rows] == ["undefended", "defended", "null"]
    assert rows[1].label == "dummy recognizer, alpha = 0.5"
    assert rows[1].loss_points == pytest.approx(1.0)
    assert rows[2].accuracy_all is None
    assert math.isnan(rows[2].loss_points)


def test_points_fall_from_undefended_downwards(run):
    points = [r.point for r in headline_rows(run) if r.attack == "label_only"]
    assert points == [None, 0.6, 0.25, 0.1]


def test_frechet_is_over_the_private_features(small):
    private = [[0.0, 0.0], [1.0, 5.0], [4.0, 2.0]]
    features = [{"evaluator": "same", "target": 0, "feature": f} for f in private]
    run = dataclasses.replace(small, features=pa.Table.from_pylist(features, FEATURES))
    made = [[i, r] for i, r in enumerate(RANKS)]
    expected = frechet_distance(
        Gaussian.fit(np.array(made, float)), Gaussian.fit(np.array(private))
    )
    assert headline_rows(run)[0].by_evaluator[0].metrics["frechet"] == pytest.approx(expected)
    assert math.isnan(headline_rows(run, frechet=False)[0].by_evaluator[0].metrics["frechet"])


def test_frechet_is_left_out_at_unequal_counts():
    run = hand_run({("a", "none"): RANKS, ("a", "0.5"): RANKS[:4]}, {"none": 9, "0.5": 9}, total=9)
    features = [{"evaluator": "same", "target": 0, "feature": [i, i * i]} for i in range(4)]
    run = dataclasses.replace(run, features=pa.Table.from_pylist(features, FEATURES))
    full, part = headline_rows(run)
    assert math.isfinite(full.by_evaluator[0].metrics["frechet"])
    assert math.isnan(part.by_evaluator[0].metrics["frechet"])
    assert (part.done, part.wanted, part.complete) == (4, 6, False)


def test_more_null_rows_do_not_make_the_attacks_unfinished():
    run = hand_run({("a", "none"): RANKS, ("random_latent", "none"): [9] * 40}, {"none": 950})
    assert all(row.complete for row in headline_rows(run))


def test_a_run_whose_attacks_all_stopped_at_once_is_not_complete(small):
    jobs = JobsRecord(targets=tuple(range(16)), repeats=2)
    run = dataclasses.replace(small, record=small.record.model_copy(update={"jobs": jobs}))
    assert {(row.done, row.wanted, row.complete) for row in headline_rows(run)} == {(6, 32, False)}
    assert RunResults.of(run).finalists == []
    assert "3 of 3 combinations are not finished." in caveats(RunResults.of(run))


def test_terminal_table_shows_the_numbers(small):
    console = Console(width=160, record=True, file=io.StringIO())
    console.print(terminal_table(RunResults.of(small)))
    text = console.export_text()
    for part in (
        "undefended",
        "dummy recognizer, alpha = 0.5",
        f"66.7% ({interval(tries(True, True, True, True, False, False))})",
        "random latent",
        "95.0%",
    ):
        assert part in text


def test_a_gallery_says_how_alike_and_whether_a_matcher_would_accept(small):
    # Row i of a cell has the feature (i, rank). The gallery has three people, and one without pictures.
    galleries = [
        {"evaluator": "same", "person": k, "feature": direction}
        for k, direction in enumerate([[1.0, 0.0], [0.0, 1.0], [0.6, 0.8], [0.0, 0.0]])
    ]
    private = [{"evaluator": "same", "target": 0, "feature": [1.0, 0.001 * i]} for i in range(50)]
    run = dataclasses.replace(
        small,
        galleries=pa.Table.from_pylist(galleries, GALLERIES),
        features=pa.Table.from_pylist(private, FEATURES),
    )
    found = headline_rows(run)[0].by_evaluator[0].metrics
    made_ND = np.array([[i, r] for i, r in enumerate(RANKS)], float)
    made_ND /= np.linalg.norm(made_ND, axis=1)[:, None]
    alike = (made_ND * np.array([[1, 0], [1, 0], [0, 1], [0, 1], [0.6, 0.8], [0.6, 0.8]])).sum(1)
    assert found["distance"] == pytest.approx(1 - alike.mean(), abs=1e-6)
    # 100 impostors, at cosines up to 0.05 and from 0.6 to 0.64: one may be accepted, and so the next must not.
    impostors = np.sort([(0.6 + 0.0008 * i) / math.hypot(1, 0.001 * i) for i in range(50)])
    assert found["accepted_1"].value == (alike > impostors[-2] + 1e-6).mean()
    # A hundred impostors cannot tell one in a thousand.
    assert found["accepted_01"].count == 0
    assert found["any_top1"] == wilson(1, 3)


def test_the_first_evaluator_denies_successes_of_the_others(run):
    for row in headline_rows(run, frechet=False):
        first, *others = row.by_evaluator
        assert first.metrics["denied"].count == 0
        for other in others:
            hits = other.metrics["top1"]
            assert other.metrics["denied"].count == round(hits.value * hits.count)


def test_sets_of_pictures_are_compared_where_private_ones_are_known(small):
    private = [[0.0, 0.0], [1.0, 5.0], [4.0, 2.0]]
    features = [{"evaluator": "same", "target": 0, "feature": f} for f in private]
    run = dataclasses.replace(small, features=pa.Table.from_pylist(features, FEATURES))
    made = np.array([[i, r] for i, r in enumerate(RANKS)], float)
    found, wanted = (
        headline_rows(run)[0].by_evaluator[0].metrics,
        prdc(Balls.around(made), Balls.around(np.array(private))),
    )
    assert {key: found[key] for key in vars(wanted)} == vars(wanted)
    assert all(math.isnan(headline_rows(small)[0].by_evaluator[0].metrics[k]) for k in vars(wanted))


def test_whether_attacks_beat_the_look_alike_is_corrected_for_their_number() -> None:
    """Two tries at each of eight people: one attack finds all of them, one nobody, the look-alike one."""
    tries = 16
    ranks = {
        ("strong", "none"): [1] * tries,
        ("weak", "none"): [9] * tries,
        ("public_look_alike", "none"): [1, 1, *([9] * (tries - 2))],
    }
    run = hand_run(ranks, {"none": 900})
    cells = tuple(
        cell.model_copy(update={"floor": cell.attack == "public_look_alike"})
        for cell in run.record.cells
    )
    record = run.record.model_copy(update={"cells": cells})
    results = RunResults.of(dataclasses.replace(run, record=record))
    # Of seven people with a difference all have the same sign: 1 of 2^7; times two attacks.
    assert results.beats_look_alike == {"strong": 2 / 2**7, "weak": 1.0}
    assert RunResults.of(run).beats_look_alike == {}
