"""Figures over several victims against numbers worked out by hand."""

from __future__ import annotations

import dataclasses
import io
import math
from collections.abc import Sequence

import numpy as np
import pyarrow as pa
import pytest
from rich.console import Console

from inversionlab.api.report import Report
from inversionlab.metrics import Gaussian, frechet_distance, wilson
from inversionlab.report.audit.page import render
from inversionlab.report.audit.terminal import terminal_table
from inversionlab.results.load import RunData
from inversionlab.results.models import models_of
from inversionlab.results.pooling import pooled
from inversionlab.results.rows import headline_rows
from inversionlab.results.run_results import RunResults
from tests.report.fake_run import FEATURES
from tests.report.hand_run import each_alone, hand_run

FIRST = [1, 1, 9, 9, 1, 9]
SECOND = [1, 9, 9, 9, 9, 9]
"""Ranks of two tries at each of three people, on the victims of two seeds."""


def one(ranks: Sequence[int], undefended: int, defended: int) -> RunData:
    """The run of one victim."""
    return hand_run(
        {("a", "none"): ranks, ("a", "0.5"): [9] * 6, ("random_latent", "none"): [9] * 6},
        {"none": undefended, "0.5": defended},
    )


def several(*victims: RunData) -> RunData:
    """One run over victims of the seeds 0, 1, ..., from a run of each."""
    cells, rows, models = [], [], []
    for seed, run in enumerate(victims):
        own = run.reconstructions.to_pylist()
        for cell in run.record.cells:
            if cell.null:
                if seed == 0:
                    cells.append(cell)
                    rows += [row for row in own if row["cell"] == cell.cell]
                continue
            changed = {"cell": f"{cell.cell}@{seed}", "protected": f"{cell.protected}@{seed}"}
            # Each victim has taught a generator of its own.
            told = {"seed": seed, "label": f"{seed}", "prior": f"generator@{seed}"}
            cells.append(cell.model_copy(update=changed | told))
            rows += [row | {"cell": changed["cell"]} for row in own if row["cell"] == cell.cell]
        for model in run.models.to_pylist():
            models.append(model | {"protected": f"{model['protected']}@{seed}"})
    first = victims[0]
    return dataclasses.replace(
        first,
        record=first.record.model_copy(update={"cells": tuple(cells)}),
        reconstructions=pa.Table.from_pylist(rows, first.reconstructions.schema),
        models=pa.Table.from_pylist(models, first.models.schema),
    )


@pytest.fixture
def both() -> RunData:
    return several(one(FIRST, 950, 940), one(SECOND, 930, 930))


def test_a_share_is_over_all_tries_and_its_interval_over_people(both: RunData) -> None:
    row = headline_rows(both)[0]
    found = row.by_evaluator[0].metrics["top1"]
    # 4 hits in 12 tries. The three people have 3, 0 and 1 hits in 4 tries each: between them the mean square is
    # 4 (0.75 - 1/3)^2 + 4 (1/3)^2 + 4 (0.25 - 1/3)^2, over 2, so 0.58333; within them 1.5 / 9 = 0.16667. So
    # r = 0.41667 / 1.08333 = 0.38462, and n_eff = 12 / (1 + 3 r) = 5.57143. With Student's quantile of 2 degrees,
    # 4.30265, Wilson's centre is 0.46145 and the half width 0.43270.
    assert (found.value, found.count) == (pytest.approx(1 / 3), 12)
    assert (found.low, found.high) == pytest.approx((0.02875, 0.89414), abs=2e-5)
    assert row.by_evaluator[0].by_victim["top1"] == pytest.approx((3 / 6, 1 / 6))


def test_people_are_paired_by_the_mean_over_tries_and_seeds(both: RunData) -> None:
    rows = headline_rows(both)
    assert rows[0].by_evaluator[0].success_of == {0: 0.75, 1: 0.0, 2: 0.25}
    assert rows[1].by_evaluator[0].success_of == {0: 0.0, 1: 0.0, 2: 0.0}


def test_a_row_stands_for_an_attack_on_all_victims(both: RunData) -> None:
    rows = headline_rows(both)
    assert [(r.kind, r.label, len(r.cells)) for r in rows] == [
        ("undefended", "undefended", 2),
        ("defended", "dummy recognizer, alpha = 0.5", 2),
        ("null", "no model asked", 1),
    ]
    assert [(r.done, r.wanted, r.complete) for r in rows] == [(12, 12, True)] * 2 + [(6, 6, True)]
    # An attack on one victim takes 2 tries of 10 queries, 3 steps and 0.5 seconds for each person.
    assert (rows[0].queries, rows[0].steps, rows[0].seconds) == (20, 6, 1)


def test_a_victim_that_is_not_attacked_yet_leaves_its_row_unfinished(both: RunData) -> None:
    rows = [r for r in both.reconstructions.to_pylist() if r["cell"] != "a/none@1"]
    table = pa.Table.from_pylist(rows, both.reconstructions.schema)
    row = headline_rows(dataclasses.replace(both, reconstructions=table))[0]
    assert (row.done, row.wanted, row.complete) == (6, 12, False)
    assert row.by_evaluator[0].metrics["top1"].value == 0.5
    assert row.by_evaluator[0].by_victim == {}


def test_an_attacker_with_several_tries_has_them_at_one_victim(both: RunData) -> None:
    # On the first victim two of three people are found in any try, on the second one of three.
    found = headline_rows(both)[0].by_evaluator[0].metrics["any_top1"]
    assert (found.value, found.count) == (0.5, 6)


def test_distances_between_sets_are_means_over_victims(both: RunData) -> None:
    private = [[0.0, 0.0], [1.0, 5.0], [4.0, 2.0]]
    features = pa.Table.from_pylist(
        [{"evaluator": "same", "target": 0, "feature": f} for f in private], FEATURES
    )
    rows = headline_rows(dataclasses.replace(both, features=features))
    each = [
        frechet_distance(
            Gaussian.fit(np.array(list(enumerate(ranks)), float)), Gaussian.fit(np.array(private))
        )
        for ranks in (FIRST, SECOND)
    ]
    assert rows[0].by_evaluator[0].metrics["frechet"] == pytest.approx(sum(each) / 2)
    # A null attack has as many pictures as an attack on one victim, so it can be compared.
    assert math.isfinite(rows[2].by_evaluator[0].metrics["frechet"])


def test_accuracy_is_the_mean_with_the_least_and_the_most(both: RunData) -> None:
    undefended, defended, null = headline_rows(both)
    # The victims saw the same 1000 pictures, so the interval is that of 1000.
    mean = wilson(940, 1000)
    assert undefended.accuracy_all is not None
    assert (undefended.accuracy_all.low, undefended.accuracy_all.high) == pytest.approx(
        (mean.low, mean.high)
    )
    assert undefended.accuracy_all.value == pytest.approx(0.94)
    assert undefended.accuracy_spread == (0.93, 0.95)
    assert defended.accuracy_spread == (0.93, 0.94)
    assert defended.loss_points == pytest.approx(0.5)
    assert null.accuracy_spread is None


def test_what_models_state_is_averaged(both: RunData) -> None:
    models = both.models.to_pylist()
    for place, model in enumerate(models):
        model |= {
            "facts": f'{{"epsilon": {1 + place}.0}}',
            "distortion": 0.1 * place,
            "networks": 2,
        }
    table = pa.Table.from_pylist(models, both.models.schema)
    found = models_of(dataclasses.replace(both, models=table))
    assert set(found) == {"none@0", "0.5@0"}, "the first victim's model stands for all"
    # The table's rows are none@0, 0.5@0, none@1 and 0.5@1.
    assert found["none@0"].facts == {"epsilon": 2.0}
    assert found["0.5@0"].distortion == pytest.approx(0.2)
    assert (found["0.5@0"].networks, found["0.5@0"].accuracies) == (2, (0.94, 0.93))


def test_tables_show_pooled_figures_and_say_so(both: RunData) -> None:
    console = Console(width=160, record=True, file=io.StringIO())
    console.print(terminal_table(RunResults.of(both)))
    text = console.export_text()
    assert "94.0% [93.0–95.0]" in text
    assert "2 victims" in text
    assert "seeds 0 and 1" in text
    page = render(both, pictures=False)
    assert "trained alike from the seeds 0 and 1" in page
    assert page.count("[93.0–95.0]") == 2, "among the results, and among what the models need"
    alone = render(one(FIRST, 950, 940), pictures=False)
    assert "victims, trained alike" not in alone


def test_frames_have_the_spread_over_seeds(both: RunData) -> None:
    report, plain = Report(both, "runs"), Report(one(FIRST, 950, 940), "runs")
    first = report.table.iloc[0]
    assert first[["top1", "top1_least", "top1_most"]].tolist() == pytest.approx(
        [1 / 3, 1 / 6, 1 / 2]
    )
    assert first[["accuracy", "accuracy_least", "accuracy_most"]].tolist() == [0.94, 0.93, 0.95]
    assert report.table["victims"].tolist() == [2, 2, 0, 0, 0]
    assert report.table.iloc[2][["top1_least", "top1_most"]].isna().all()
    assert report.models["accuracy_least"].tolist() == [0.93, 0.93]
    assert report.evaluators["top5_most"].tolist()[:2] == [0.5, 0.0]
    more = {
        "victims",
        *(f"{n}_{e}" for n in ("top1", "top5", "accuracy") for e in ("least", "most")),
    }
    assert set(report.table.columns) - set(plain.table.columns) == more
    assert set(plain.table.columns) < set(report.table.columns)


def test_cells_of_older_records_are_never_pooled(both: RunData) -> None:
    cells = [cell.model_copy(update={"seed": None}) for cell in both.record.cells]
    assert [len(group) for group in pooled(cells)] == [1] * 5
    assert [len(group) for group in pooled(both.record.cells)] == [2, 2, 1]


def test_networks_of_one_person_each_are_one_row_of_one_victim() -> None:
    run = hand_run(
        {("a", "none"): FIRST, ("a", "0.5"): [1, 9, 9, 9, 1, 1]}, {"none": 950, "0.5": 0}
    )
    whole, alone = headline_rows(run)[1], headline_rows(each_alone(run))[1]
    assert [cell.target for cell in alone.cells] == [0, 1, 2]
    assert (alone.done, alone.wanted, alone.complete) == (6, 6, True)
    # The same tries at the same people by one network: every figure but accuracy is the same.
    one, other = alone.by_evaluator[0], whole.by_evaluator[0]
    assert one.success_of == other.success_of
    assert one.by_victim == {}
    assert one.metrics["top1"] == other.metrics["top1"]
    assert one.metrics["feature_mean"] == pytest.approx(other.metrics["feature_mean"], nan_ok=True)
    # Of all people the mean of three networks on the same 1,000 pictures; each person's own pictures are others.
    accuracy, own = alone.accuracy_all, alone.accuracy_targets
    assert accuracy is not None
    assert own is not None
    assert accuracy.value == pytest.approx(0.91)
    assert (accuracy.low, accuracy.high) == (wilson(910, 1000).low, wilson(910, 1000).high)
    assert (own.value, own.low, own.high) == dataclasses.astuple(wilson(24, 30))[:3]
    (model,) = [m for name, m in models_of(each_alone(run)).items() if name != "none"]
    assert model.others_taken_of == (0, 1, 2)
