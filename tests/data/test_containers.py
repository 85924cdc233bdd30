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
from inversionlab.data import row_groups
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


def test_a_row_whose_class_is_minus_one_belongs_to_nobody(tmp_path: Path) -> None:
    write_table(tmp_path / "x.parquet", [0, -1, 1, -1, 1], 10, names=["ann", "bob"])
    dataset = made(ParquetSettings, tmp_path)
    assert grays(dataset) == [("ann", 10), ("bob", 12), ("bob", 14)]
    assert dataset.listing().skipped == ("x.parquet: 2 rows without a person",)
    # Where numbers have no names, they are the people.
    write_table(tmp_path / "x.parquet", [0, -1], 10)
    assert grays(dataset) == [("-1", 11), ("0", 10)]


@pytest.mark.parametrize("number", [2, 99, -2])
def test_a_class_without_a_name_is_an_error_that_names_its_row(tmp_path: Path, number: int) -> None:
    write_table(tmp_path / "x.parquet", [0, 1, 0, number], 10, names=["ann", "bob"])
    message = rf"x.parquet!00000003: `label` is {number}, and the table has names for 0 to 1 alone"
    with pytest.raises(ConfigError, match=message):
        made(ParquetSettings, tmp_path).listing()


@pytest.mark.parametrize("name", ["\ud800", None, ["x"], {"y": 1}])
def test_the_name_of_a_class_that_is_no_text_is_named(tmp_path: Path, name: object) -> None:
    write_table(tmp_path / "x.parquet", [0, 0], 10, names=["ann", name])
    with pytest.raises(
        ConfigError, match=rf"{tmp_path}/x.parquet: its .* names class 1 of `label`"
    ):
        made(ParquetSettings, tmp_path).listing()


def test_a_person_that_is_no_text_is_named_by_its_row(tmp_path: Path) -> None:
    said = pa.array([b"ann", b"bob", None, b"p\xff"])
    text = pa.Array.from_buffers(pa.string(), len(said), said.buffers())
    table = pa.table({"image": [png(i) for i in range(4)], "label": text})
    pq.write_table(table, tmp_path / "x.parquet")
    with pytest.raises(ConfigError, match=r"x.parquet!00000003: `label` is not text in UTF-8: inv"):
        made(ParquetSettings, tmp_path).listing()


@pytest.mark.parametrize("twice", ["image", "label"])
def test_two_columns_of_one_name_are_refused(tmp_path: Path, twice: str) -> None:
    columns = {"image": pa.array([png(1), png(2)]), "label": pa.array(["a", "b"])}
    names = ["image", "label", twice]
    table = pa.Table.from_arrays([columns[name] for name in names], names=names)
    pq.write_table(table, tmp_path / "x.parquet")
    message = rf"= {twice}: .*x.parquet has 2 columns of this name: image, label, {twice}"
    with pytest.raises(ConfigError, match=message):
        made(ParquetSettings, tmp_path).listing()


def test_a_column_whose_name_begins_as_that_of_another(tmp_path: Path) -> None:
    """Arrow gives `image.id` for a part of `image`, too."""
    images = [{"bytes": png(i), "id": f"x{i}", "width": 20} for i in range(4)]
    table = pa.table({"image": images, "image.id": ["a", "b", "a", "b"]})
    pq.write_table(table, tmp_path / "x.parquet")
    dataset = made(ParquetSettings, tmp_path, person_column="image.id")
    assert grays(dataset) == [("a", 0), ("a", 2), ("b", 1), ("b", 3)]


@pytest.mark.parametrize(
    "image", [{"bytes": {"bytes": png(1)}}, {"bytes": "text"}, {"path": "x"}, [png(1)]], ids=str
)
def test_a_column_that_holds_no_pictures_is_refused(tmp_path: Path, image: object) -> None:
    pq.write_table(pa.table({"image": [image] * 2, "label": ["a", "b"]}), tmp_path / "x.parquet")
    with pytest.raises(ConfigError, match=r"holds .* in .*x.parquet; expected binary, or a struct"):
        made(ParquetSettings, tmp_path).listing()


@pytest.mark.parametrize("large", ["image", "label"])
def test_a_row_group_that_unpacks_to_far_more_than_is_in_the_file_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, large: str
) -> None:
    columns = {"image": [bytes(1 << 20)] * 4, "label": ["a", "b"] * 2}
    if large == "label":
        columns = {"image": [png(1)] * 4, "label": ["a" * (1 << 20), "b"] * 2}
    path = tmp_path / "x.parquet"
    pq.write_table(pa.table(columns), path, compression="zstd", use_dictionary=False)
    monkeypatch.setattr(row_groups, "ROOM", 1 << 20)
    message = (
        rf"x.parquet: `{large}` takes 0.00 MB in row group 0, and [24] MB unpacked; above 1 MB"
    )
    with pytest.raises(ConfigError, match=message):
        made(ParquetSettings, tmp_path).listing()
    monkeypatch.setattr(row_groups, "_LARGEST", 1 << 20)
    with pytest.raises(
        ConfigError, match=rf"`{large}` takes .* [24] MB unpacked; at most 1 MB are"
    ):
        made(ParquetSettings, tmp_path).listing()
    monkeypatch.undo()
    assert len(made(ParquetSettings, tmp_path).listing().files) == 4


def test_groups_that_are_held_take_no_more_than_the_room(
    tables: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(row_groups, "ROOM", 0)
    dataset = made(ParquetSettings, tables)
    expected = grays(dataset)
    assert len(dataset._groups._held) == 1
    monkeypatch.undo()
    dataset = made(ParquetSettings, tables)
    assert grays(dataset) == expected
    assert len(dataset._groups._held) == row_groups._HELD


def test_a_picture_that_many_rows_share_is_in_memory_once(tmp_path: Path) -> None:
    same = png(7) + bytes(1 << 20)
    table = pa.table({"image": [{"bytes": same}] * 50, "label": ["a", "b"] * 25})
    pq.write_table(table, tmp_path / "x.parquet")
    dataset = made(ParquetSettings, tmp_path)
    assert [gray for _, gray in grays(dataset)] == [7] * 50
    ((_, column),) = dataset._groups._held.items()
    assert column.nbytes < 2 * len(same)


def test_a_table_that_has_lost_its_column_since_it_was_listed(tables: Path) -> None:
    dataset = made(ParquetSettings, tables)
    file = dataset.listing().files[0]
    pq.write_table(pa.table({"x": [1] * 9}), tables / file.path)
    assert dataset.digest(file).sha256.startswith("unreadable: ")


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
    monkeypatch.setattr(row_groups, "_HELD", 1)
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


def headers(path: Path, *members: tuple[str, dict[str, str]]) -> None:
    """A shard whose members have these fields in a header of their own before theirs."""
    with tarfile.open(path, "w", format=tarfile.PAX_FORMAT) as tar:
        for name, fields in members:
            about = tarfile.TarInfo(name)
            about.size, about.pax_headers = len(png(1)), fields
            tar.addfile(about, io.BytesIO(png(1)))


def patched(path: Path, name: str, kind: bytes, size: int) -> None:
    """Give the header of a member another kind and size, with a sum that is right."""
    content = bytearray(path.read_bytes())
    with tarfile.open(path) as tar:
        start = tar.getmember(name).offset
    head = content[start : start + 512]
    head[124:136] = (
        b"\xff" + (256**11 + size).to_bytes(11, "big") if size < 0 else b"%011o\0" % size
    )
    head[156:157] = kind
    head[148:156] = b" " * 8
    head[148:156] = b"%06o\0 " % sum(head)
    content[start : start + 512] = head
    path.write_bytes(content)


@pytest.mark.parametrize(
    "fields",
    [
        {"GNU.sparse.map": "a,b", "GNU.sparse.size": "10", "GNU.sparse.name": "x"},
        {"GNU.sparse.size": "abc", "GNU.sparse.numblocks": "2"},
        {"GNU.sparse.major": "1", "GNU.sparse.minor": "0", "GNU.sparse.realsize": "5"},
        {"size": "-99999"},
        {"size": "-1"},
        {"size": "99999999999999999999"},
        {"size": "abc"},
    ],
    ids=["map", "size", "1.0", "back", "negative", "huge", "no number"],
)
def test_a_shard_with_a_broken_header_before_a_member(
    tmp_path: Path, fields: dict[str, str]
) -> None:
    members = [("a/1.png", {}), ("b/1.png", {}), ("a/2.png", fields), ("b/2.png", {})]
    headers(tmp_path / "0.tar", *members)
    with pytest.raises(ConfigError, match=rf"{tmp_path}/0.tar: is not a plain tar file; .* broken"):
        made(TarSettings, tmp_path).listing()
    headers(tmp_path / "0.tar", ("a/1.png", fields), *members)
    with pytest.raises(ConfigError, match=rf"{tmp_path}/0.tar: is not a plain tar file; .* broken"):
        made(TarSettings, tmp_path).listing()


@pytest.mark.parametrize("size", [-512, -1024, -1536, -1, -(1 << 80)])
@pytest.mark.parametrize("kind", [b"0", b"x", b"g", b"L"])
def test_a_member_of_negative_size_is_refused(tmp_path: Path, kind: bytes, size: int) -> None:
    """With some sizes, tarfile would find the same members again and again."""
    path = shard(tmp_path / "0.tar", *((f"{who}/{i}.png", png(i)) for i in (1, 2) for who in "ab"))
    patched(path, "a/2.png", kind, size)
    with pytest.raises(ConfigError, match=rf"header behind b/1.png is broken: .* {size} bytes"):
        made(TarSettings, tmp_path).listing()


@pytest.mark.parametrize("kind", [b"x", b"g", b"X", b"L", b"K"])
def test_a_header_that_would_be_read_into_memory_whole_is_refused(
    tmp_path: Path, kind: bytes
) -> None:
    path = shard(tmp_path / "0.tar", ("a/1.png", png(1)), ("b/1.png", png(2)), ("b/2.png", png(3)))
    patched(path, "b/2.png", kind, 1 << 32)
    with pytest.raises(ConfigError, match=r"behind b/1.png is broken: it has 4294967296 bytes"):
        made(TarSettings, tmp_path).listing()


def test_a_picture_that_is_said_to_be_larger_than_any_memory_is_named(tmp_path: Path) -> None:
    members = [(f"{who}/{i}.png", png(i)) for i in (1, 2) for who in "ab"]
    patched(shard(tmp_path / "0.tar", *members), "b/2.png", b"0", (1 << 33) - 1)
    dataset = made(TarSettings, tmp_path)
    assert grays(dataset) == [("a", 1), ("a", 2), ("b", 1)]
    (end, picture) = dataset.load().skipped
    assert end.startswith("0.tar: ends early")
    assert picture.startswith("0.tar!b/2.png: ends after 10240 bytes")
    assert dataset.fingerprint()


def test_a_folder_in_a_shard_that_is_no_text_is_named(tmp_path: Path) -> None:
    shard(tmp_path / "0.tar", ("ann/1.png", png(1)), ("bob/\udcff.png", png(2)))
    assert grays(made(TarSettings, tmp_path)) == [("ann", 1), ("bob", 2)]
    shard(tmp_path / "1.tar", ("ann/2.png", png(1)), ("p\udcff/1.png", png(2)))
    with pytest.raises(
        ConfigError, match=rf"{tmp_path}/1.tar: the name 'p.udcff' is not text in UTF"
    ):
        made(TarSettings, tmp_path).listing()


def test_a_label_that_is_no_text_says_nobody(tmp_path: Path) -> None:
    said = [b'"ann"', b'"bob"', b'"\\ud800"', b'"p\\udcff"']
    members = [(f"s/{i}.png", png(i)) for i in range(4)]
    members += [(f"s/{i}.json", b'{"id": %s}' % name) for i, name in enumerate(said)]
    shard(tmp_path / "0.tar", *members)
    dataset = made(TarSettings, tmp_path, person="json.id")
    assert grays(dataset) == [("ann", 0), ("bob", 1)]
    assert dataset.listing().skipped == ("pictures without a person: 2 (the first: 0.tar!s/2.png)",)


@pytest.mark.parametrize(("kind", "name"), [(TarSettings, "x.tar"), (ParquetSettings, "x.parquet")])
def test_a_pipe_is_not_waited_for(kind: Any, name: str, tmp_path: Path) -> None:
    os.mkfifo(tmp_path / name)
    with pytest.raises(ConfigError, match=rf"{name}: cannot be read.*: it is a pipe, device"):
        made(kind, tmp_path).listing()
