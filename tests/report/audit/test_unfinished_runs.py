"""Runs with parts missing: the page says so and does not break."""

from __future__ import annotations

import dataclasses
import math
import re

import pyarrow as pa
import pyarrow.compute as pc
import pytest

from inversionlab.report.audit.page import render
from inversionlab.report.audit.sentence import headline_sentence
from inversionlab.report.audit.terminal import terminal_table
from inversionlab.results.load import RunData
from inversionlab.results.run_record import RunRecord
from inversionlab.results.run_results import RunResults
from tests.report.fake_defenses import defended_run
from tests.report.fake_run import EVALUATORS, RECONSTRUCTIONS, cells_of, fake_run, with_record


def everything(run: RunData) -> str:
    results = RunResults.of(run)
    terminal_table(results)
    headline_sentence(results)
    words = set(re.findall(r"\w+", render(run, pictures=False).replace("None recorded", "")))
    assert not words & {"nan", "NaN", "None", "inf", "Undefined"}
    return render(run, pictures=True)


def test_one_evaluator_only():
    run = fake_run(alphas=(0.25, 0.5), evaluators=("same_people",), targets=4, repeats=2)
    assert "only one evaluator" in everything(run)


def test_no_sweep_and_no_defense():
    page = everything(fake_run(alphas=(), targets=4, repeats=2))
    assert "No defense was tried" in page
    assert 'id="curves"' not in page


def test_one_defense_without_a_sweep():
    run = fake_run(alphas=(0.25,), targets=4, repeats=2)
    cells = [{**c, "point": None, "title": c["protected"]} for c in cells_of(run)]
    page = everything(with_record(run, sweep=None, cells=cells))
    assert "mix0.25" in page
    assert 'id="curves"' not in page


def test_defenses_side_by_side_with_parts_missing():
    run = defended_run(targets=4, repeats=1)
    rows = run.reconstructions
    begun = rows.filter(pc.not_equal(rows["cell"], "mirror@noise"))
    assert "not attacked yet" in everything(dataclasses.replace(run, reconstructions=begun))
    unmeasured = dataclasses.replace(run, models=run.models.slice(0, 1))
    assert "Not measured yet" in everything(unmeasured)
    assert "No evaluator has been trained" in everything(
        dataclasses.replace(run, evaluators=EVALUATORS.empty_table())
    )
    everything(dataclasses.replace(run, reconstructions=RECONSTRUCTIONS.empty_table()))


@pytest.mark.parametrize("setting", ["defense.budget", "defense.alpha"])
def test_a_sweep_over_orders_of_magnitude(setting):
    run = fake_run(alphas=(0.01, 1.0, 10.0), targets=4, repeats=2)
    sweep = {**run.record.sweep.model_dump(), "setting": setting, "marked": None}
    assert 'id="curves"' in everything(with_record(run, sweep=sweep))


def test_a_cell_without_rows():
    run = fake_run(alphas=(0.25, 0.5), targets=4, repeats=2)
    rows = run.reconstructions
    kept = rows.filter(pc.not_equal(rows["cell"], "label_only@mix0.5"))
    page = everything(dataclasses.replace(run, reconstructions=kept))
    assert "not attacked yet" in page
    assert "have not been attacked yet" in page


def test_nothing_at_all_yet():
    run = fake_run(alphas=(0.25,), targets=4, repeats=2)
    empty = dataclasses.replace(
        run,
        reconstructions=RECONSTRUCTIONS.empty_table(),
        models=run.models.slice(0, 0),
        evaluators=EVALUATORS.empty_table(),
        references=run.references.slice(0, 0),
        features=run.features.slice(0, 0),
        record=RunRecord(run="r", name="n", created="now", cells=run.record.cells),
    )
    assert "nothing can be said" in everything(dataclasses.replace(empty))
    bare = {"run": "r", "name": "n", "created": "now", "seconds": None, "cells": []}
    assert "No experiment cell" in everything(
        dataclasses.replace(empty, record=RunRecord.model_validate(bare))
    )


def test_rows_that_no_evaluator_has_seen():
    run = fake_run(alphas=(0.25,), targets=4, repeats=2)
    rows = [{**r, "verdicts": None} for r in run.reconstructions.to_pylist()]
    table = pa.Table.from_pylist(rows, RECONSTRUCTIONS)
    everything(dataclasses.replace(run, reconstructions=table))


def test_missing_references_and_pictures():
    run = fake_run(alphas=(0.25,), targets=4, repeats=2)
    run = dataclasses.replace(run, references=run.references.slice(0, 0))
    assert 'id="pictures"' in everything(run)
    rows = [{**r, "picture": None} for r in run.reconstructions.to_pylist()]
    bare = dataclasses.replace(run, reconstructions=pa.Table.from_pylist(rows, RECONSTRUCTIONS))
    assert "<img" not in everything(bare)


def test_nan_everywhere():
    run = fake_run(alphas=(0.25,), targets=4, repeats=2)
    rows = run.reconstructions.to_pylist()
    for row in rows:
        row |= {"confidence": math.nan, "seconds": math.nan}
        for verdict in row["verdicts"]:
            verdict |= {"score": math.nan, "nearest": math.nan, "feature": [math.nan] * 16}
    models = [{**m, "milliseconds": math.nan} for m in run.models.to_pylist()]
    evaluators = [{**e, "within_person": math.nan} for e in run.evaluators.to_pylist()]
    everything(
        dataclasses.replace(
            run,
            reconstructions=pa.Table.from_pylist(rows, RECONSTRUCTIONS),
            models=pa.Table.from_pylist(models, run.models.schema),
            evaluators=pa.Table.from_pylist(evaluators, EVALUATORS),
        )
    )
