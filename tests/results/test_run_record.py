"""The record of a run: what is written is read back, and older records still load."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from inversionlab.distributed.run_record import WorkDone, run_name, write_record
from inversionlab.results.load import load_run
from inversionlab.results.run_record import CellRecord, RunRecord
from inversionlab.store.storage import Storage
from tests import tiny
from tests.golden import collect


@pytest.fixture
def store(tmp_path: Path) -> Path:
    """The golden store."""
    return collect.unpacked(tmp_path)


def old_record(store: Path) -> RunRecord:
    session = collect.opened(store)
    return load_run(Storage(str(store)), run_name(session.experiment)).record


def test_an_old_record_loads_and_missing_keys_are_derived_or_unknown(store: Path) -> None:
    record = old_record(store)
    assert {c.attack for c in record.cells if c.null} == {"random_latent", "random_public"}
    assert {c.kind for c in record.cells} == {"undefended", "defended", "null"}
    assert {c.knows_defense for c in record.cells} == {None}
    assert {c.inverts_outputs for c in record.cells} == {None}
    assert record.headline == "first"


def test_a_written_record_is_read_back_with_the_new_keys(store: Path) -> None:
    before = old_record(store)
    session = collect.opened(store, "headline=worst")
    name = write_record(session, {"attack": 1.5}, WorkDone(timeline=[{"seconds": 0.0}]))
    after = load_run(Storage(str(store)), name).record
    assert (name, after.headline) == (before.run, "worst")
    assert after.timings == {"attack": 1.5}
    assert (after.jobs, after.tables, after.data) == (before.jobs, before.tables, before.data)
    added = {"knows_defense", "inverts_outputs", "victim_share", "aware_attack", "prior"}
    for new, old in zip(after.cells, before.cells, strict=True):
        assert new.model_dump(exclude=added) == old.model_dump(exclude=added)
        mixture = new.defense == "dummy_recognizer"
        assert new.victim_share == ("alpha" if mixture else None)
        assert (new.knows_defense, new.inverts_outputs) == (False, False)


def test_no_key_of_an_old_record_is_lost(store: Path) -> None:
    (path,) = (store / "runs").glob("golden-bae*/run.json")
    old = collect.keys(json.loads(path.read_text()))
    write_record(collect.opened(store), {}, WorkDone())
    lost = old - collect.keys(json.loads(path.read_text()))
    # These depend on the machine and on what the run did.
    free = ("provenance", "timings", "cost", "timeline")
    assert {key for key in lost if not key.startswith(free)} == set()


def test_keys_that_are_missing_or_null_take_their_defaults() -> None:
    record = RunRecord.model_validate({"run": "r", "name": "n", "seconds": None, "cells": None})
    assert (record.seconds, record.cells, record.sweep) == (0.0, (), None)
    cell = CellRecord.model_validate({"cell": "c", "attack": "a", "protected": "p"})
    assert (cell.null, cell.kind) == (False, "defended")


def test_the_headline_evaluator_changes_no_run_name() -> None:
    first, worst = (tiny.experiment(headline=h) for h in ("first", "worst"))
    assert run_name(first) == run_name(worst)
