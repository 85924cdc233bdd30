"""Pictures inside of larger files: Parquet tables and tar shards."""

from __future__ import annotations

import io
import json
import os
import tarfile
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from inversionlab import data
from inversionlab.core.settings import ConfigError, validate
from inversionlab.data import parquet
from inversionlab.data.manifest import Listing, PictureFile
from inversionlab.data.parquet import ParquetSettings
from inversionlab.data.stored_listing import pack_listing, unpack_listing
from inversionlab.data.tar import TarSettings
from inversionlab.pipeline.manifests import fingerprint_of
from inversionlab.store.storage import Storage


def png(gray: int) -> bytes:
    sink = io.BytesIO()
    Image.new("L", (20, 20), gray).save(sink, format="PNG")
    return sink.getvalue()


def made(kind: Any, root: Path, **changes: object) -> Any:
    base = {"root": str(root), "image_size": 16, "channels": 1}
    return data.build(validate(kind, base | changes, origin="test"))


def grays(dataset: Any) -> list[tuple[str, int]]:
    """Who is on each picture, and its gray."""
    pictures = dataset.load()
    people = [pictures.people[i] for i in pictures.person_N.tolist()]
    return list(zip(people, pictures.images_NCHW[:, 0, 8, 8].tolist(), strict=True))


def write_table(path: Path, people: list[Any], first: int, **more: Any) -> None:
    """A table as hubs export it: `image` holds bytes and a path; rows of one group of two."""
    path.parent.mkdir(parents=True, exist_ok=True)
    images = [{"bytes": png(first + i), "path": "../../etc/passwd"} for i in range(len(people))]
    table = pa.table({"image": images, "label": more.get("labels", people)})
    if (names := more.get("names")) is not None:
        about = {"info": {"features": {"label": {"names": names, "_type": "ClassLabel"}}}}
        table = table.replace_schema_metadata({"huggingface": json.dumps(about)})
    pq.write_table(table, path, row_group_size=2)


@pytest.fixture
def tables(tmp_path: Path) -> Path:
    root = tmp_path / "tables"
    write_table(root / "data" / "train-0.parquet", [1, 0, 1, 0, 1], 10, names=["ann", "bob"])
    write_table(root / "data" / "train-1.parquet", [0, 0], 50, names=["ann", "bob"])
    write_table(root / "data" / "test-0.parquet", [0, 1], 90, names=["ann", "bob"])
    return root


def test_a_table_as_a_hub_exports_it(tables: Path) -> None:
    dataset = made(ParquetSettings, tables, files=["data/train-*"])
    assert grays(dataset) == [
        ("ann", 11),
        ("ann", 13),
        ("ann", 50),
        ("ann", 51),
        ("bob", 10),
        ("bob", 12),
        ("bob", 14),
    ]
    assert [f.name for f in dataset.listing().files][:3] == [
        "data/train-0.parquet!00000001",
        "data/train-0.parquet!00000003",
        "data/train-1.parquet!00000000",
    ]
    assert len(made(ParquetSettings, tables).listing().files) == 9
    one = made(ParquetSettings, tables, max_pictures_per_person=1)
    assert [p for p, _ in grays(one)] == ["ann", "bob"]


@pytest.mark.parametrize(
    ("kind", "people"),
    [(pa.string(), ["a", "b"]), (pa.large_string(), ["a", "b"]), (pa.int64(), ["7", "8"])],
)
def test_people_by_text_or_number(tmp_path: Path, kind: pa.DataType, people: list[str]) -> None:
    values = [int(p) if kind == pa.int64() else p for p in people]
    columns = {"photo": pa.array([png(1), png(2)]), "who": pa.array(values, kind)}
    pq.write_table(pa.table(columns), tmp_path / "x.parquet")
    dataset = made(ParquetSettings, tmp_path, picture_column="photo", person_column="who")
    assert grays(dataset) == [(people[0], 1), (people[1], 2)]


def test_a_tables_name_depends_on_who_is_on_a_picture(tmp_path: Path) -> None:
    prints = set()
    for place, labels in enumerate((["a", "b", "a"], ["a", "b", "b"])):
        write_table(tmp_path / str(place) / "x.parquet", labels, 10)
        prints.add(made(ParquetSettings, tmp_path / str(place)).fingerprint())
    assert len(prints) == 2


def test_rows_that_lack_something_are_named(tmp_path: Path) -> None:
    images = [{"bytes": png(1), "path": None}, {"bytes": None, "path": "/etc/passwd"}, None]
    images += [{"bytes": png(number), "path": None} for number in (4, 5, 6)]
    table = pa.table({"image": images, "label": ["a", "a", "a", None, "b", "\u200b "]})
    pq.write_table(table, tmp_path / "x.parquet")
    dataset = made(ParquetSettings, tmp_path)
    assert grays(dataset) == [("a", 1), ("b", 5)]
    first, second, third = dataset.load().skipped
    assert first == "x.parquet: 2 rows without a person"
    assert second.startswith("x.parquet!00000001: holds no bytes; a table must hold its pictures")
    assert third.startswith("x.parquet!00000002: holds no bytes")
    assert dataset.fingerprint()


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"picture_column": "img"}, "data.picture_column = img: .* has the columns image, label"),
        ({"person_column": "who"}, "data.person_column = who: .* has the columns image, label"),
        ({"picture_column": "label"}, "holds int64 in .*; expected binary"),
        ({"person_column": "image"}, "holds struct.* in .*; expected text or whole"),
        ({"files": ["valid-*"]}, r"no \*.parquet file in it matches \['valid-\*'\]"),
    ],
)
def test_columns_and_files_that_are_not_there(
    tables: Path, changes: dict[str, object], message: str
) -> None:
    with pytest.raises(ConfigError, match=message):
        made(ParquetSettings, tables, **changes).listing()


def test_a_file_that_is_no_table(tables: Path) -> None:
    (tables / "data" / "x.parquet").write_bytes(b"PAR1 is how it begins")
    with pytest.raises(ConfigError, match=r"x.parquet: cannot be read as Parquet"):
        made(ParquetSettings, tables).listing()


def test_row_groups_are_read_once(tables: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    reads: list[int] = []
    read = pq.ParquetFile.read_row_group
    monkeypatch.setattr(
        pq.ParquetFile,
        "read_row_group",
        lambda self, group, **more: reads.append(group) or read(self, group, **more),
    )
    monkeypatch.setattr(parquet, "_HELD", 1)
    made(ParquetSettings, tables).load()
    # People are spread over the groups, yet pictures are read in the order of the file.
    assert len(reads) == 3 + 1 + 1


def test_a_table_that_has_shrunk_since_it_was_listed(tables: Path) -> None:
    dataset = made(ParquetSettings, tables)
    file = dataset.listing().files[0]._replace(row=99)
    with pytest.raises(ValueError, match=r"has only 2 rows now|has only 5 rows now"):
        dataset.read(file)


def shard(path: Path, *members: tuple[str, bytes]) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    with tarfile.open(path, "w") as tar:
        for name, content in members:
            about = tarfile.TarInfo(name)
            about.size = len(content)
            tar.addfile(about, io.BytesIO(content))
    return path


def test_people_by_the_folders_in_a_shard(tmp_path: Path) -> None:
    long = "n" * 150  # longer than a plain header holds
    shard(tmp_path / "a" / "0.tar", ("./ann/1.png", png(1)), ("bob/1.png", png(2)))
    shard(tmp_path / "1.tar", (f"ann/{long}.jpeg", png(3)), ("bob/no", png(4)), ("bob/x.txt", b"?"))
    dataset = made(TarSettings, tmp_path)
    assert grays(dataset) == [("ann", 3), ("ann", 1), ("bob", 4), ("bob", 2)]
    assert [f.name for f in dataset.listing().files][:2] == [
        f"1.tar!ann/{long}.jpeg",
        "a/0.tar!ann/1.png",
    ]
    assert dataset.listing().skipped == ("members named *.txt: 1 not read",)


@pytest.mark.parametrize(
    ("person", "ending", "labels"),
    [
        ("cls", "cls", [b"7", b"8\n"]),
        ("txt", "txt", [b"7", b" 8"]),
        ("json.who.id", "json", [b'{"who": {"id": "7"}}', b'{"who": {"id": 8}}']),
    ],
)
def test_people_by_the_neighbours_in_a_shard(
    tmp_path: Path, person: str, ending: str, labels: list[bytes]
) -> None:
    members = [
        ("s/0000.png", png(1)),
        (f"s/0000.{ending}", labels[0]),
        # A neighbour may come first, and a picture's ending may have two parts.
        (f"s/0001.{ending}", labels[1]),
        ("s/0001.face.png", png(2)),
        ("s/0002.png", png(3)),
    ]
    shard(tmp_path / "0.tar", *members)
    dataset = made(TarSettings, tmp_path, person=person)
    assert grays(dataset) == [("7", 1), ("8", 2)]
    assert dataset.listing().skipped == (
        "pictures without a person: 1 (the first: 0.tar!s/0002.png)",
    )
    first = dataset.fingerprint()
    members[1] = (members[1][0], labels[1])
    members[2] = (members[2][0], labels[0])
    shard(tmp_path / "0.tar", *members)
    assert made(TarSettings, tmp_path, person=person).fingerprint() != first


def test_labels_that_a_windows_editor_wrote_name_the_same_person(tmp_path: Path) -> None:
    labels = ["ann", "\ufeffann", "bob ", "\u200b"]
    members = [(f"{i}.txt", label.encode()) for i, label in enumerate(labels)]
    shard(tmp_path / "0.tar", *members, *((f"{i}.png", png(i)) for i in range(4)))
    dataset = made(TarSettings, tmp_path, person="txt")
    assert grays(dataset) == [("ann", 0), ("ann", 1), ("bob", 2)]
    assert dataset.listing().skipped == ("pictures without a person: 1 (the first: 0.tar!3.png)",)


def test_a_label_that_says_two_people_says_nobody(tmp_path: Path) -> None:
    labels = [b'{"who": "ann"}', b'\xef\xbb\xbf{"who": "bob"}', b'{"who": "ann", "who": "bob"}']
    members = [(f"{i}.json", label) for i, label in enumerate(labels)]
    shard(tmp_path / "0.tar", *members, *((f"{i}.png", png(i)) for i in range(3)))
    assert grays(made(TarSettings, tmp_path, person="json.who")) == [("ann", 0), ("bob", 1)]


def test_numbers_in_a_shard_are_written_in_one_way(tmp_path: Path) -> None:
    shard(
        tmp_path / "0.tar",
        *((f"{i}.png", png(i)) for i in range(3)),
        ("0.cls", b"7"),
        ("1.cls", b"07"),
    )
    with pytest.raises(ConfigError, match="'07' and '7' are the same number"):
        made(TarSettings, tmp_path, person="cls").listing()


def test_nothing_in_a_shard_leads_out_of_it(tmp_path: Path) -> None:
    path = tmp_path / "root" / "0.tar"
    shard(path, ("ann/1.png", png(1)), ("bob/1.png", png(2)))
    (tmp_path / "secret.png").write_bytes(png(99))
    with tarfile.open(path, "a") as tar:
        for name in ("../secret.png", "/etc/x.png", "ann/../../y.png"):
            about = tarfile.TarInfo(name)
            about.size = len(png(5))
            tar.addfile(about, io.BytesIO(png(5)))
        for kind, name in ((tarfile.SYMTYPE, "ann/link.png"), (tarfile.LNKTYPE, "ann/hard.png")):
            about = tarfile.TarInfo(name)
            about.type, about.linkname = kind, "../../secret.png"
            tar.addfile(about)
        about = tarfile.TarInfo("ann/null.png")
        about.type = tarfile.CHRTYPE
        tar.addfile(about)
    dataset = made(TarSettings, tmp_path / "root")
    assert grays(dataset) == [("ann", 1), ("bob", 2)]
    assert dataset.listing().skipped == (
        "0.tar!../secret.png: is no plain path",
        "0.tar!/etc/x.png: is no plain path",
        "0.tar!ann/../../y.png: is no plain path",
        "members that are links or no plain files: 3 not read",
    )
    (tmp_path / "root" / "1.tar").symlink_to(shard(tmp_path / "out.tar", ("cat/1.png", png(7))))
    assert grays(dataset) == [("ann", 1), ("bob", 2)]


def test_of_two_members_of_one_name_the_last_counts(tmp_path: Path) -> None:
    shard(tmp_path / "0.tar", ("a/1.png", png(1)), ("b/1.png", png(2)), ("a/1.png", png(3)))
    assert grays(made(TarSettings, tmp_path)) == [("a", 3), ("b", 2)]


def test_shards_that_are_none(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"has no \*.tar file"):
        made(TarSettings, tmp_path).listing()
    path = tmp_path / "0.tar"
    path.write_bytes(b"no tar file" * 100)
    with pytest.raises(ConfigError, match=r"0.tar: is not a plain tar file"):
        made(TarSettings, tmp_path).listing()
    with tarfile.open(path, "w:gz") as tar:
        tar.addfile(tarfile.TarInfo("a/1.png"))
    with pytest.raises(ConfigError, match=r"0.tar: is not a plain tar file"):
        made(TarSettings, tmp_path).listing()


@pytest.mark.parametrize("kept", [1024 * 4 + 200, 1024 * 4, 1024 * 3 + 512 + 20])
def test_a_shard_that_ends_early_is_named(tmp_path: Path, kept: int) -> None:
    members = [(f"{person}/{i}.png", png(i)) for i in range(3) for person in ("a", "b")]
    os.truncate(shard(tmp_path / "0.tar", *members), kept)
    pictures = made(TarSettings, tmp_path).load()
    assert len(pictures.images_NCHW) == kept // 1024
    assert any("so a part of it may be missing" in line for line in pictures.skipped) or any(
        "b/1.png: ends after" in line for line in pictures.skipped
    )


def test_shards_that_were_joined_are_named(tmp_path: Path) -> None:
    first = shard(tmp_path / "0.tar", ("a/1.png", png(1)), ("b/1.png", png(2)))
    other = shard(tmp_path / "x" / "other", ("c/1.png", png(3)))
    first.write_bytes(first.read_bytes() + other.read_bytes())
    dataset = made(TarSettings, tmp_path)
    assert grays(dataset) == [("a", 1), ("b", 2)]
    assert dataset.listing().skipped == ("0.tar: holds more behind its end, which is not read",)


@pytest.mark.parametrize("kind", ["tables", "shards"])
def test_a_second_command_reads_no_picture(
    kind: str, tables: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import time

    real = time.time_ns
    monkeypatch.setattr(time, "time_ns", lambda: real() + 60_000_000_000)
    if kind == "shards":
        shard(tmp_path / "s" / "0.tar", ("ann/1.png", png(1)), ("bob/1.png", png(2)))
    dataset = (
        made(ParquetSettings, tables) if kind == "tables" else made(TarSettings, tmp_path / "s")
    )
    storage = Storage(str(tmp_path / "runs"))
    name = fingerprint_of(dataset, storage)
    listing = dataset.listing()
    monkeypatch.setattr(type(dataset), "read", None)
    monkeypatch.setattr(type(dataset), "listing", None)
    assert fingerprint_of(dataset, storage) == name
    monkeypatch.undo()
    monkeypatch.setattr(time, "time_ns", lambda: real() + 60_000_000_000)
    if kind == "shards":
        shard(tmp_path / "s" / "1.tar", ("bob/2.png", png(3)))
    else:
        write_table(tables / "data" / "train-2.parquet", [1], 70, names=["ann", "bob"])
    other = fingerprint_of(dataset, storage)
    assert other == dataset.fingerprint() != name
    assert len(dataset.listing().files) == len(listing.files) + 1


def test_a_listing_that_is_kept() -> None:
    files = (
        PictureFile("ann", "0.tar!ann/1.png", "0.tar", 5, 7, offset=512),
        PictureFile("b\udcff", "x.parquet!00000003", "x.parquet", 9, 8, row=0),
    )
    listing = Listing(files, ("one line", "\udcff"))
    packed = pack_listing(listing, "of these")
    assert unpack_listing(packed, "of these") == listing
    assert unpack_listing(packed, "of others") is None
    assert unpack_listing(packed[:-30], "of these") is None
    assert unpack_listing(b"", "of these") is None


@pytest.mark.parametrize("person", ["folders", "json", "json.", "json..a", "cls.x"])
def test_a_way_to_say_the_person_that_there_is_not(tmp_path: Path, person: str) -> None:
    with pytest.raises(ConfigError, match="person"):
        made(TarSettings, tmp_path, person=person)
