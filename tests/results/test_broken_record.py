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
        (b"{}", "does not say what was run; "),
        (b'{"cells": 3, "more": {}}', "does not say what was run; "),
    ],
)
def test_a_record_that_is_damaged(store: Storage, content: bytes, reason: str) -> None:
    store.write("runs/demo-1/run.json", content)
    assert f"runs/demo-1/run.json: {reason}" in refused(store, "demo-1")
