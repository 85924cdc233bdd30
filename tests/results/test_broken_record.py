"""Names that no run has, and records that are damaged: a clear error, and no traceback."""

from __future__ import annotations

from pathlib import Path

import pytest

from inversionlab.core.settings import ConfigError
from inversionlab.results.load import load_run
from inversionlab.store.storage import Storage


@pytest.fixture
def store(tmp_path: Path) -> Storage:
    storage = Storage(str(tmp_path))
    storage.write("runs/demo-1/run.json", b"{}")
    return storage


def refused(store: Storage, run: str) -> str:
    with pytest.raises(ConfigError) as caught:
        load_run(store, run)
    return str(caught.value)


@pytest.mark.parametrize("run", ["../../x", "..", ".", "x/../y", "/etc", "", "x" * 5000, "a\0b"])
def test_a_name_that_no_run_has(store: Storage, run: str) -> None:
    text = refused(store, run)
    assert text.startswith(f"{store.root}: holds no run `")
    assert text.endswith("; there are: demo-1")
    assert len(text) < 400


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "cannot be read (Expecting value"),
        (b'{"name": "x"', "cannot be read ("),
        (b"\xff\xfe\x00", "cannot be read ("),
        (b"[" * 100_000, "cannot be read ("),
        (b"[1, 2]", "is not a record: "),
        (b"null", "is not a record: "),
        (
            b'{"cells": [{"cell": "a", "attack": "b", "point": NaN}]}',
            "is not a record: cells.0.point = nan: Input should be a finite number",
        ),
        (b'{"name": "x", "timings": {"data": Infinity}}', "is not a record: timings.data = inf: "),
        (
            b'{"cells": [{"cell": "../../../etc/passwd", "attack": "b"}]}',
            "is not a record: cells.0.cell = ../../../etc/passwd: leads out of the storage",
        ),
        (
            b'{"tables": {"models": ["a", "/etc/x"]}}',
            "is not a record: tables.models.1 = /etc/x: leads",
        ),
        (
            b'{"priors": [{"id": "a", "ceiling": "a/../../b"}]}',
            "is not a record: priors.0.ceiling = a/",
        ),
        (b'{"run": "..", "name": "x"}', "is not a record: run = ..: leads out"),
        (b'{"tables": {"real": "a\\u0000"}}', "is not a record: tables.real = a"),
        (b'{"name": "x", "seed": 1' + b"0" * 400 + b"}", "cannot be read (a number of 401 digits)"),
        (b"{}", "does not say what was run; "),
        (b'{"cells": 3, "more": {}}', "does not say what was run; "),
    ],
)
def test_a_record_that_is_damaged(store: Storage, content: bytes, reason: str) -> None:
    store.write("runs/demo-1/run.json", content)
    assert f"runs/demo-1/run.json: {reason}" in refused(store, "demo-1")


def test_numbers_of_people_that_no_table_can_hold_count_as_absent(store: Storage) -> None:
    store.write(
        "runs/demo-1/run.json",
        b'{"name": "x", "jobs": {"targets": [0, 5000000000], "repeats": 3, "first_repeat": -1}}',
    )
    jobs = load_run(store, "demo-1").record.jobs
    assert (jobs.targets, jobs.repeats, jobs.first_repeat) == ((0,), 3, 0)
