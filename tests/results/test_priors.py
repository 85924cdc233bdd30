"""Ceilings of generators out of rows that were written by hand, and what table, page and terminal say of them."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence
from typing import Any

import pyarrow as pa
import pytest

from inversionlab.report.audit.page import render
from inversionlab.report.audit.sentence import prior_lines
from inversionlab.results.frames import prior_frame
from inversionlab.results.load import RunData
from inversionlab.results.run_record import RunRecord
from inversionlab.results.run_results import RunResults
from inversionlab.store.tables import SCHEMAS
from tests.report.fake_run import EVALUATOR_NAMES, cells_of, fake_run, with_record

FIRST = EVALUATOR_NAMES[0]
ATTACK = "latent_white_box"


def rows(
    generator: str, fit: str, ranks: Sequence[int], error: float = 0.01
) -> list[dict[str, Any]]:
    """Pictures of as many targets; the evaluator ranks all but the last real one first."""
    return [
        {"generator": generator, "evaluator": FIRST, "fit": fit, "target": target, "rank": rank}
        | {"real_rank": 9 if target == len(ranks) - 1 else 1, "error": error}
        for target, rank in enumerate(ranks)
    ]


def measured(run: RunData, *tables: list[dict[str, Any]], searched: str = "g1") -> RunData:
    """The run with two generators; every attack searches one of them, where it searches any."""
    priors = [
        {
            "id": "g1",
            "label": "generator",
            "kind": "vae",
            "trained_on": "7 public pictures",
            "seconds": 90.0,
        }
        | {"ceiling": "k1"},
        {
            "id": "g2",
            "label": "style",
            "kind": "(a.b:C, given)",
            "trained_on": "given",
            "ceiling": "k2",
        },
    ]
    cells = [
        {**cell, "prior": searched if cell["attack"] == ATTACK else ""} for cell in cells_of(run)
    ]
    table = pa.Table.from_pylist([r for t in tables for r in t], SCHEMAS["ceilings"])
    return dataclasses.replace(with_record(run, priors=priors, cells=cells), ceilings=table)


@pytest.fixture(scope="module")
def run() -> RunData:
    return fake_run()


def test_shares_and_their_intervals_are_those_of_the_pictures(run: RunData) -> None:
    found = RunResults.of(measured(run, rows("g1", "pixels", [1, 1, 5, 6, 80], error=0.02)))
    (prior,) = found.priors
    assert (prior.top1.value, prior.top5.value) == (0.4, 0.6)
    assert (prior.real_top1.value, prior.real_top5.value) == (0.8, 0.8)
    assert prior.top5.count == 5
    assert prior.top5.low < 0.6 < prior.top5.high
    assert (prior.evaluator, prior.fit) == (FIRST, "pixels")
    assert prior.error == pytest.approx(0.02)


@pytest.mark.parametrize(
    ("features", "better"),
    [
        ([1, 2, 3, 9], "features"),
        ([1, 1, 9, 9], "features"),
        ([9, 1, 2, 9], "pixels"),
        ([1, 9, 9, 9], "pixels"),
    ],
)
def test_the_fit_that_is_recognized_more_often_counts(
    run: RunData, features: list[int], better: str
) -> None:
    # By pixels two of four are among the first five, and one of them comes first.
    both = measured(run, rows("g1", "pixels", [1, 2, 9, 9]), rows("g1", "features", features))
    (prior,) = RunResults.of(both).priors
    assert prior.fit == better


def test_without_ceilings_nothing_is_said(run: RunData) -> None:
    for bare in (run, measured(run)):
        results = RunResults.of(bare)
        assert results.priors == []
        assert prior_lines(results) == []
        assert len(prior_frame(results)) == 0
        assert 'id="priors"' not in render(bare, pictures=False)


def test_an_older_record_has_no_generators() -> None:
    record = RunRecord.model_validate({"run": "r", "cells": [{"cell": "c", "attack": "a"}]})
    assert record.priors == ()
    assert record.cells[0].prior == ""


def test_the_table_has_a_row_for_each_measured_generator(run: RunData) -> None:
    both = measured(run, rows("g1", "pixels", [1, 2]), rows("g2", "pixels", [9, 2]))
    frame = prior_frame(RunResults.of(both))
    assert frame["generator"].tolist() == ["generator", "style"]
    assert frame["top1"].tolist() == [0.5, 0.0]
    assert frame["top5"].tolist() == [1.0, 0.5]
    assert frame["real_top5"].tolist() == [0.5, 0.5]
    assert frame["seconds"].tolist()[0] == 90
    assert math.isnan(frame["seconds"].tolist()[1])


def test_the_page_shows_what_was_measured(run: RunData) -> None:
    page = render(measured(run, rows("g1", "features", [1, 2, 9, 9, 9])), pictures=False)
    section = page[page.index('id="priors"') :]
    section = section[: section.index("</section>")]
    for text in (
        "generator",
        "7 public pictures",
        "20.0%",
        "40.0%",
        "80.0%",
        "1 min 30 s",
        "features",
    ):
        assert text in section


def test_an_attack_near_the_ceiling_of_its_generator_is_named(run: RunData) -> None:
    success = next(
        row.by_evaluator[0].success.value
        for row in RunResults.of(run).rows
        if row.attack == ATTACK and row.kind == "undefended"
    )
    assert 0.5 < success < 0.99
    # 0.8 of a ceiling of 0.6 is 0.48, and nobody is near one of 1 whose attack finds less than 0.8 of it.
    low = measured(run, rows("g1", "pixels", [1, 1, 1, 9, 9]))
    (line,) = prior_lines(RunResults.of(low))
    assert "latent white box on generator (60.0%)" in line
    others = measured(run, rows("g1", "pixels", [1, 1, 1, 9, 9]), searched="g2")
    assert prior_lines(RunResults.of(others)) == []


def test_an_attack_far_below_it_is_not(run: RunData) -> None:
    results = RunResults.of(measured(run, rows("g1", "pixels", [1] * 5)))
    (prior,) = results.priors
    for row in results.rows:
        near = [r for r, p in results.near_ceiling if r is row]
        mine = row.cell.prior == "g1" and row.kind == "undefended"
        assert bool(near) == (mine and row.by_evaluator[0].success.value >= 0.8 * prior.top5.value)
