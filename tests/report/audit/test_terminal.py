"""The closing table: which columns it has, and what is left of them on a narrow terminal."""

from __future__ import annotations

import dataclasses
import io

import pytest
from rich.console import Console
from rich.table import Table

from inversionlab.report.audit.terminal import terminal_table
from inversionlab.results.load import RunData
from inversionlab.results.run_results import RunResults


def headings(table: Table) -> list[str]:
    return [str(column.header).replace("\n", " ") for column in table.columns]


@pytest.fixture
def results(run: RunData) -> RunResults:
    return RunResults.of(run)


def test_the_first_evaluator_says_top_1_too(results: RunResults) -> None:
    found = headings(terminal_table(results))
    first, second = (name.replace("_", " ") for name in results.evaluators)
    assert found[:6] == [
        *("Attack", "Model", "Accuracy", "Loss"),
        *(f"{first} top-1 (95%)", f"{first} top-5 (95%)"),
    ]
    assert f"{second} top-5 (95%)" in found
    assert f"{second} top-1 (95%)" not in found
    assert found[-2:] == ["Queries", "s"]


def test_a_narrow_table_has_the_first_evaluator_alone(results: RunResults) -> None:
    table = terminal_table(results, narrow=True)
    first = results.evaluators[0].replace("_", " ")
    assert [h for h in headings(table) if "top-" in h] == [
        f"{first} top-1 (95%)",
        f"{first} top-5 (95%)",
    ]
    assert "Queries" not in headings(table)
    console = Console(width=100, file=io.StringIO(), record=True)
    console.print(table)
    assert "the page has all evaluators" in console.export_text()


def test_error_and_distortion_stand_where_outputs_are_inverted(results: RunResults) -> None:
    rows = [dataclasses.replace(row, error=0.25 + place) for place, row in enumerate(results.rows)]
    inverting = dataclasses.replace(results, rows=rows)
    table = terminal_table(inverting)
    assert [h for h in headings(table) if h in ("Distortion", "Error")] == ["Distortion", "Error"]
    console = Console(width=250, file=io.StringIO(), record=True)
    console.print(table)
    assert "0.25" in console.export_text()
    plain = [dataclasses.replace(row, error=float("nan")) for row in results.rows]
    assert "Error" not in headings(terminal_table(dataclasses.replace(results, rows=plain)))
