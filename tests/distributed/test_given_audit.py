"""Audits of a model that was trained outside, by the call that a user's command makes."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import pytest

from inversionlab.distributed.audit import audit
from inversionlab.results.load import RunData, load_run
from inversionlab.store.storage import Storage
from tests import audits
from tests.given.outside_audit import Own

pytestmark = [pytest.mark.ray, pytest.mark.slow, pytest.mark.usefixtures("local_ray")]

FORMS = ("state", "script", "exported", "onnx")


def run(own: Own, root: Path, form: str, **changed: Any) -> tuple[RunData, list[str], float]:
    """The run, what it said, and seconds until the first reconstruction was stored."""
    said: list[str] = []
    began = time.time()
    name = audit(own.experiment(own.victim(form), **changed), str(root), said.append)
    times = [f.stat().st_mtime for f in root.glob("reconstructions/*/*.parquet")]
    first = min((t - began for t in times if t > began), default=float("nan"))
    return load_run(Storage(str(root)), name), said, first


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The storage of all runs."""
    return tmp_path_factory.mktemp("forms")


@pytest.fixture(scope="module")
def runs(own: Own, root: Path) -> dict[str, Any]:
    """A run of each form."""
    return {form: run(own, root, form) for form in FORMS}


def rows(data: RunData) -> dict[audits.Key, dict[str, Any]]:
    """The rows of the victim's own cell, by attack, target and repeat."""
    table = data.reconstructions.to_pylist()
    return {(r["attack"], r["target"], r["repeat"]): r for r in table if r["protected"]}


def test_four_forms_leave_the_same_rows(runs: dict[str, Any]) -> None:
    mine = rows(runs["state"][0])
    assert len(mine) == 2
    for form in FORMS[1:]:
        theirs = rows(runs[form][0])
        assert mine.keys() == theirs.keys()
        for key, row in mine.items():
            assert audits.ranks(row) == audits.ranks(theirs[key])
            assert row["queries"] == theirs[key]["queries"]
            assert row["confidence"] == pytest.approx(theirs[key]["confidence"], rel=1e-3)
            difference = audits.pixels(row) - audits.pixels(theirs[key])
            assert abs(difference).max() <= 1


def test_only_generator_and_evaluator_are_trained_and_only_once(runs: dict[str, Any]) -> None:
    said = runs["state"][1]
    assert "[2/4] train: 2 of 3 networks to train: evaluator:same, generator vae" in said
    for form in FORMS[1:]:
        assert "[2/4] train: 0 of 3 networks to train" in runs[form][1]


def test_the_accuracy_is_that_outside(own: Own, runs: dict[str, Any]) -> None:
    for form in FORMS:
        assert any(f"recognizes {own.files.accuracy:.1%} (" in line for line in runs[form][1])


def test_the_first_reconstruction_comes_sooner_where_the_generator_is_stored(
    runs: dict[str, Any],
) -> None:
    seconds = {form: first for form, (_, _, first) in runs.items()}
    # `-rP` shows it.
    print("seconds until the first reconstruction:", seconds)
    assert all(first > 0 for first in seconds.values())
    assert seconds["state"] > min(seconds.values())


@pytest.mark.usefixtures("runs")
def test_the_same_audit_again_attacks_nothing(own: Own, root: Path) -> None:
    _, said, _ = run(own, root, "onnx")
    assert any("attack: 0 reconstructions over" in line for line in said)
