"""The headline table's numbers against hand-made ranks."""

from __future__ import annotations

import dataclasses
import io
import math

import numpy as np
import pyarrow as pa
import pytest
from rich.console import Console

from inversionlab.metrics import frechet_distance, wilson
from inversionlab.report.audit.terminal import terminal_table
from inversionlab.results.load import RunData
from inversionlab.results.rows import headline_rows
from inversionlab.results.run_results import RunResults
from inversionlab.results.wording import interval
from tests.report.fake_run import FEATURES
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
    assert result.top5 == tries(True, True, True, True, False, False)
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
    expected = frechet_distance(np.array(made, float), np.array(private))
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
