from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from inversionlab.storage import Storage
from inversionlab.store import Store


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(Storage(str(tmp_path)))


def row(target: int, repeat: int, cell: str = "c") -> dict[str, Any]:
    verdict = {"evaluator": "e", "rank": 1, "score": 0.5, "nearest": 1.0, "feature": [1.0, 2.0]}
    return {"cell": cell, "target": target, "repeat": repeat, "verdicts": [verdict]}


def test_what_is_written_is_done(store: Store) -> None:
    assert store.done("c") == set()
    store.write_shard("c", [row(0, 0), row(0, 1)])
    store.write_shard("c", [row(1, 0)])
    assert store.done("c") == {(0, 0), (0, 1), (1, 0)}
    assert store.done("other") == set()


def test_the_same_shard_twice_is_one(store: Store) -> None:
    for _ in range(2):
        store.write_shard("c", [row(0, 1), row(0, 0)])
    table = store.reconstructions(["c"])
    assert list(zip(table["target"].to_pylist(), table["repeat"].to_pylist(), strict=True)) == [
        (0, 0),
        (0, 1),
    ]


def test_overlapping_shards_give_every_job_once(store: Store) -> None:
    """Two drivers on one storage may cut the same cell differently."""
    store.write_shard("c", [row(0, 0), row(1, 0)])
    store.write_shard("c", [row(1, 0), row(2, 0)])
    assert store.reconstructions(["c"])["target"].to_pylist() == [0, 1, 2]


def test_cells_are_read_in_order(store: Store) -> None:
    store.write_shard("b", [row(1, 0, "b")])
    store.write_shard("a", [row(0, 0, "a")])
    assert store.reconstructions(["b", "a"])["cell"].to_pylist() == ["a", "b"]


def test_no_rows_is_an_empty_table(store: Store) -> None:
    assert store.reconstructions(["nothing"]).num_rows == 0


def test_verdicts_come_back_whole(store: Store) -> None:
    store.write_shard("c", [row(0, 0)])
    (verdicts,) = store.reconstructions(["c"])["verdicts"].to_pylist()
    assert verdicts == row(0, 0)["verdicts"]
