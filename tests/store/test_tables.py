from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from inversionlab.store.storage import Storage, StorageError
from inversionlab.store.tables import SCHEMAS, Store, _unpacked


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


def test_a_file_that_cannot_be_read_is_no_missing_one(store: Store, tmp_path: Path) -> None:
    (tmp_path / "models" / "m.parquet").mkdir(parents=True)
    with pytest.raises(
        StorageError, match=r"models/m\.parquet: could not be read: .*is a directory"
    ):
        store.read("models", "m")
    with pytest.raises(StorageError, match="could not be read"):
        store.has("models", "m")
    (tmp_path / "reconstructions").mkdir()
    with pytest.raises(StorageError, match=r"xx: could not be read: .*File name too long"):
        store.done("x" * 300)


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


def test_the_rows_of_some_jobs_are_read(store: Store) -> None:
    store.write_shard("c", [row(0, 0), row(0, 1)])
    store.write_shard("c", [row(1, 0)])
    files = store.where("c")
    assert files.keys() == {(0, 0), (0, 1), (1, 0)}
    assert files[0, 0] == files[0, 1] != files[1, 0]
    found = store.rows(set(files.values()), {(0, 1), (1, 0), (5, 5)})
    assert found.keys() == {(0, 1), (1, 0)}
    assert all((row["target"], row["repeat"]) == job for job, row in found.items())
    assert store.rows([files[1, 0]], {(0, 1)}) == store.rows([], {(0, 1)}) == {}
    assert store.where("other") == store.rows(["reconstructions/other/x.parquet"], {(0, 0)}) == {}


def test_no_rows_is_an_empty_table(store: Store) -> None:
    assert store.reconstructions(["nothing"]).num_rows == 0


def test_verdicts_come_back_whole(store: Store) -> None:
    store.write_shard("c", [row(0, 0)])
    (verdicts,) = store.reconstructions(["c"])["verdicts"].to_pylist()
    assert verdicts == row(0, 0)["verdicts"]


def test_ranks_are_those_of_the_rows(store: Store) -> None:
    two = row(1, 0)
    two["verdicts"] = [{"evaluator": "e", "rank": 4}, {"evaluator": "f", "rank": 2}]
    store.write_shard("c", [row(0, 0), two])
    store.write_shard("c", [row(0, 1), two])
    assert store.ranks("c") == {
        (0, 0): {"e": 1},
        (0, 1): {"e": 1},
        (1, 0): {"e": 4, "f": 2},
    }
    assert store.ranks("other") == {}


Damage = Callable[[bytes], bytes]
DAMAGES: list[Damage] = [
    lambda raw: b"",
    lambda raw: raw[:-9],
    lambda raw: raw[: len(raw) // 2],
    lambda raw: raw[:40] + bytes([raw[40] ^ 1]) + raw[41:],
    lambda raw: b"nothing that anybody wrote",
]


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_shard_is_moved_aside_and_can_be_made_again(
    tmp_path: Path, damage: Damage
) -> None:
    said: list[str] = []
    store = Store(Storage(str(tmp_path)), said.append)
    store.write_shard("c", [row(0, 0)])
    (file,) = (tmp_path / "reconstructions" / "c").iterdir()
    store.write_shard("c", [row(1, 0)])
    damaged = damage(file.read_bytes())
    file.write_bytes(damaged)
    assert store.done("c") == {(1, 0)}
    assert store.reconstructions(["c"])["target"].to_pylist() == [1]
    assert list(store.ranks("c")) == [(1, 0)]
    assert len(said) == 1
    assert f"{file.name}: is damaged" in said[0]
    assert file.with_name(f"{file.name}.damaged").read_bytes() == damaged
    store.write_shard("c", [row(0, 0)])
    assert store.done("c") == {(0, 0), (1, 0)}


@pytest.mark.parametrize("table", ["models", "evaluators", "references", "features"])
@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_table_is_not_there(tmp_path: Path, table: str, damage: Damage) -> None:
    store = Store(Storage(str(tmp_path)), lambda line: None)
    store.write(table, "k", [{}])
    assert store.has(table, "k")
    file = tmp_path / table / "k.parquet"
    file.write_bytes(damage(file.read_bytes()))
    assert not store.has(table, "k")
    with pytest.raises(FileNotFoundError, match=r"k\.parquet: is missing"):
        store.read(table, "k")


def test_a_file_that_was_replaced_meanwhile_stays(tmp_path: Path) -> None:
    """Another run may have made a damaged file again between our reading and our moving."""
    said: list[str] = []
    store = Store(Storage(str(tmp_path)), said.append)
    store.write_shard("c", [row(0, 0)])
    (file,) = (tmp_path / "reconstructions" / "c").iterdir()
    store._set_aside(f"reconstructions/c/{file.name}", b"what was read before", ValueError("x"))
    assert store.done("c") == {(0, 0)}
    assert said == []


def test_no_flipped_bit_is_read_as_something_else(store: Store, tmp_path: Path) -> None:
    store.write_shard("c", [row(0, 0), row(3, 1)])
    (file,) = (tmp_path / "reconstructions" / "c").iterdir()
    whole, schema = file.read_bytes(), SCHEMAS["reconstructions"]
    good, found = store.reconstructions(["c"]), 0
    for place in range(0, len(whole), 11):
        raw = bytearray(whole)
        raw[place] ^= 0x10
        try:
            assert _unpacked(bytes(raw), schema, None).equals(good)
        except (pa.ArrowException, OSError, ValueError, MemoryError):
            found += 1
    assert found > 200


def test_files_from_before_the_digests_are_read(tmp_path: Path) -> None:
    import pyarrow.parquet as pq

    folder = tmp_path / "reconstructions" / "c"
    folder.mkdir(parents=True)
    table = pa.Table.from_pylist([row(0, 0)], schema=SCHEMAS["reconstructions"])
    pq.write_table(table, folder / "old.parquet")
    assert Store(Storage(str(tmp_path))).done("c") == {(0, 0)}


def test_a_model_from_before_a_column_is_read_with_nulls_and_measured_again(
    store: Store, tmp_path: Path
) -> None:
    import pyarrow.parquet as pq

    store.write("models", "new", [{"protected": "p", "correct_all": 3}])
    whole = store.read("models", "new")
    old = whole.select(["protected", "defense", "defense_settings", "correct_all", "total_all"])
    pq.write_table(old, tmp_path / "models" / "old.parquet")
    assert store.has("models", "new")
    assert not store.has("models", "old")
    read = store.read("models", "old")
    assert read.schema.equals(SCHEMAS["models"])
    assert read["correct_all"].to_pylist() == [3]
    assert read["facts"].to_pylist() == read["memory"].to_pylist() == [None]
