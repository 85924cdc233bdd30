"""Prepared pictures: made once, in parts; interrupted, damaged and old ones; what a bucket's node keeps."""

from __future__ import annotations

import hashlib
import os
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from PIL import Image
from safetensors.torch import save

from inversionlab import data
from inversionlab.core.rows import PictureRows
from inversionlab.data.base import Pictures
from inversionlab.data.folder import Folder, FolderSettings
from inversionlab.data.manifest import PictureFile
from inversionlab.data.parquet import Parquet, ParquetSettings
from inversionlab.pipeline import data as data_stage
from inversionlab.pipeline import picture_parts, prepared
from inversionlab.pipeline.picture_index import PLACE, unpack_index
from inversionlab.pipeline.preparation import Preparation
from inversionlab.pipeline.prepared import DamagedPicturesError, PreparedPictures, pictures_of
from inversionlab.store import local_copies
from inversionlab.store.local_copies import local_copy
from inversionlab.store.storage import Storage
from tests import tiny
from tests.pipeline.test_artifacts import DAMAGES, WEIGHTS, Damage

SIDE = 16
EACH = SIDE * SIDE


@pytest.fixture
def three_a_part(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(picture_parts, "PART_BYTES", 3 * EACH)


@pytest.fixture
def people(tmp_path: Path) -> FolderSettings:
    """Four people on ten pictures of eleven; one file is broken."""
    root = tmp_path / "people"
    rng = np.random.default_rng(0)
    for place in range(11):
        file = root / f"p{place // 3}" / f"{place}.png"
        file.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(rng.integers(0, 255, (20, 24), dtype=np.uint8)).save(file)
    (root / "p1" / "4.png").write_bytes(b"\x89PNG\r\n broken")
    return FolderSettings(root=root, image_size=SIDE, channels=1)


def equal(first: Pictures, second: Pictures) -> bool:
    return (
        torch.equal(first.images_NCHW[:], second.images_NCHW[:])
        and torch.equal(first.person_N, second.person_N)
        and (first.people, first.skipped) == (second.people, second.skipped)
        and first.digests().tolist() == second.digests().tolist()
    )


def parts(root: Path) -> list[Path]:
    return sorted(root.glob("pictures/*/parts/*.safetensors"))


@pytest.mark.usefixtures("three_a_part")
def test_prepared_pictures_are_those_of_the_source(tmp_path: Path, people: FolderSettings) -> None:
    loaded = Folder(people).load()
    made = pictures_of(Storage(str(tmp_path / "runs")), people, "set")
    assert isinstance(made.images_NCHW, PictureRows)
    assert len(loaded.person_N) == 10
    assert [line for line in made.skipped if line.startswith("p1/4.png")]
    assert equal(made, loaded)
    assert len(parts(tmp_path / "runs")) == 4
    again = pictures_of(Storage(str(tmp_path / "runs")), people, "set")
    assert again.content_ND is not None
    assert equal(again, loaded)


@pytest.mark.usefixtures("three_a_part")
def test_a_drawn_set_is_prepared_too(tmp_path: Path) -> None:
    settings = tiny.experiment(**{"data.people": 4, "data.pictures_per_person": 2}).data
    assert settings is not None
    assert equal(pictures_of(Storage(str(tmp_path)), settings, "set"), data.build(settings).load())
    assert len(parts(tmp_path)) == 3


@pytest.mark.usefixtures("three_a_part")
def test_what_was_made_before_a_kill_is_not_made_again(
    tmp_path: Path, people: FolderSettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    storage = Storage(str(tmp_path / "runs"))
    wanted = Preparation.of(people, "set").parts(storage)
    wanted[2].make(storage)
    # A kill while a part is written leaves a draft.
    (tmp_path / "runs/pictures/set/parts/.00000-x.safetensors.1f.part").write_bytes(b"half")
    assert PreparedPictures(storage).opened("set") is None
    read: list[str] = []

    def noted(self: Folder, file: PictureFile) -> bytes:
        read.append(file.name)
        return plain(self, file)

    monkeypatch.setattr(Folder, "read", noted)
    made = pictures_of(storage, people, "set")
    assert not {file.name for file in wanted[2].files} & set(read)
    assert len(read) == 8
    monkeypatch.undo()
    assert equal(made, Folder(people).load())


plain = Folder.read


@pytest.fixture
def tables(tmp_path: Path, people: FolderSettings) -> ParquetSettings:
    """The same pictures in two tables, whose groups of two rows hold two people each."""
    source = Folder(people)
    files = sorted(source.listing().files, key=lambda file: file.name[::-1])
    root = tmp_path / "tables"
    root.mkdir()
    for place in range(2):
        mine = files[place::2]
        columns = {"image": [source.read(f) for f in mine], "label": [f.person for f in mine]}
        pq.write_table(pa.table(columns), root / f"{place}.parquet", row_group_size=2)
    return ParquetSettings(root=root, image_size=SIDE, channels=1)


@pytest.mark.usefixtures("three_a_part")
def test_parts_of_tables_follow_their_groups_of_rows(
    tmp_path: Path, tables: ParquetSettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    loaded = Parquet(tables).load()
    reads: list[int] = []
    read = pq.ParquetFile.read_row_group

    def noted(self: pq.ParquetFile, group: int, **more: Any) -> pa.Table:
        reads.append(group)
        return read(self, group, **more)

    monkeypatch.setattr(pq.ParquetFile, "read_row_group", noted)
    storage = Storage(str(tmp_path / "runs"))
    made = pictures_of(storage, tables, "set")
    # Six groups, of which a part of three pictures may cut one that the next part reads again.
    assert len(parts(tmp_path / "runs")) == 4
    assert len(reads) <= 6 + 3
    assert equal(made, loaded)
    assert equal(pictures_of(storage, tables, "set"), loaded)
    assert len([line for line in made.skipped if "identify" in line or "broken" in line]) == 1


@pytest.mark.usefixtures("three_a_part")
def test_parts_of_tables_that_were_cut_in_another_way_are_made_again(
    tmp_path: Path, tables: ParquetSettings
) -> None:
    """An earlier release cut them as they are listed; a kill may have left some of its parts."""
    storage = Storage(str(tmp_path / "runs"))
    wanted = Preparation.of(tables, "set")
    assert wanted.order_N is not None
    for part in replace(wanted, order_N=None).parts(storage)[:2]:
        part.make(storage)
    assert equal(pictures_of(storage, tables, "set"), Parquet(tables).load())


@pytest.mark.usefixtures("three_a_part")
def test_a_set_of_tables_that_an_earlier_release_prepared_is_read(
    tmp_path: Path, tables: ParquetSettings
) -> None:
    storage = Storage(str(tmp_path / "runs"))
    prepared.prepare_here(storage, replace(Preparation.of(tables, "set"), order_N=None))
    opened = PreparedPictures(storage).opened("set")
    assert opened is not None
    assert equal(opened, Parquet(tables).load())


@pytest.mark.usefixtures("three_a_part")
def test_rows_that_lie_nowhere_are_a_damaged_index(tmp_path: Path, tables: ParquetSettings) -> None:
    storage = Storage(str(tmp_path / "runs"))
    pictures_of(storage, tables, "set")
    index = PreparedPictures(storage).index("set")
    assert index is not None
    assert index.place_N is not None
    assert index.place_N.tolist() != list(range(10))
    twice = index.rows.set_column(3, PLACE, pa.array([0, *range(9)]))
    assert unpack_index("set", replace(index, rows=twice).pack()) is None


def test_pictures_are_decoded_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first, _ = drawn(tmp_path)
    monkeypatch.setattr("inversionlab.data.procedural.Procedural.load", None)
    again, _ = drawn(tmp_path)
    assert equal(first, again)


def drawn(root: Path) -> tuple[Pictures, str]:
    experiment = tiny.experiment(**{"data.people": 2, "data.pictures_per_person": 2})
    assert experiment.data is not None
    (name,) = data_stage.picture_ids(experiment)
    return pictures_of(Storage(str(root)), experiment.data, name), name


@pytest.mark.parametrize("which", ["part", "index"])
@pytest.mark.parametrize("damage", DAMAGES)
def test_damaged_pictures_are_decoded_again(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], damage: Damage, which: str
) -> None:
    first, name = drawn(tmp_path)
    (part,), (index,) = parts(tmp_path), (tmp_path / "pictures" / name).glob("*.parquet")
    assert first.images_NCHW[
        :
    ].any()  # It is mapped now, and what is written below is another file.
    file = part if which == "part" else index
    content = file.read_bytes()
    file.unlink()
    file.write_bytes(content)
    damage(file)
    again, _ = drawn(tmp_path)
    assert equal(first, again)
    assert f"{file}: is damaged" in capsys.readouterr().out
    assert equal(first, drawn(tmp_path)[0])
    assert capsys.readouterr().out == ""


@pytest.mark.usefixtures("three_a_part")
def test_a_large_set_is_checked_part_by_part_as_it_is_read(
    tmp_path: Path, people: FolderSettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(prepared, "SMALL", 5 * EACH)
    storage = Storage(str(tmp_path / "runs"))
    pictures_of(storage, people, "set")
    whole = Folder(people).load()
    damaged = parts(tmp_path / "runs")[1]
    raw = bytearray(damaged.read_bytes())
    raw[-1] ^= 1
    damaged.write_bytes(raw)
    opened = PreparedPictures(storage).opened("set")
    assert opened is not None
    assert torch.equal(opened.images_NCHW[0:3], whole.images_NCHW[0:3])
    with pytest.raises(DamagedPicturesError, match="the next command makes this part again"):
        opened.images_NCHW[3:5]
    assert PreparedPictures(storage).opened("set") is None
    assert equal(pictures_of(storage, people, "set"), whole)


def test_a_large_set_that_is_not_prepared_is_listed_for_a_plan(
    tmp_path: Path, people: FolderSettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(prepared, "SMALL", 5 * EACH)
    storage = Storage(str(tmp_path / "runs"))
    listed = pictures_of(storage, people, "set", listed=True)
    assert listed.images_NCHW.shape == (11, 1, SIDE, SIDE)
    assert listed.people == ("p0", "p1", "p2", "p3")
    assert len({tuple(d) for d in listed.digests().tolist()}) == 11
    loaded = Folder(people).load()
    assert torch.equal(listed.images_NCHW[[9, 0]], loaded.images_NCHW[[8, 0]])
    # The broken one.
    assert not listed.images_NCHW[4].any()
    assert not parts(tmp_path / "runs")


def test_too_few_people_are_found_before_the_index_is_written(tmp_path: Path) -> None:
    root = tmp_path / "people"
    for person, content in (("ann", None), ("bob", b"\x89PNG\r\n broken")):
        (root / person).mkdir(parents=True)
        Image.new("L", (20, 20)).save(root / person / "1.png")
        if content:
            (root / person / "1.png").write_bytes(content)
    settings = FolderSettings(root=root, image_size=SIDE, channels=1)
    with pytest.raises(ValueError, match=r"only one person .*bob/1.png"):
        pictures_of(Storage(str(tmp_path / "runs")), settings, "set")


PIXELS = torch.zeros(2, 1, 16, 16, dtype=torch.uint8)
WHO = torch.tensor([0, 1])
NOTE = {"people": '["a", "b"]', "skipped": "[]"}


def packed_set(note: dict[str, str] | None, images: Any = PIXELS, person: Any = WHO) -> bytes:
    return save({"images": images, "person": person}, metadata=note)


def old_file(root: Path, name: str, content: bytes) -> Path:
    """A set as the first versions stored it."""
    file = root / "pictures" / name / f"{hashlib.sha256(content).hexdigest()}.safetensors"
    file.parent.mkdir(parents=True)
    file.write_bytes(content)
    return file


def test_a_set_of_an_old_version_is_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    images_NCHW = torch.randint(0, 255, (2, 1, 16, 16), dtype=torch.uint8)
    experiment = tiny.experiment(**{"data.people": 2, "data.pictures_per_person": 2})
    (name,) = data_stage.picture_ids(experiment)
    old_file(tmp_path, name, packed_set(NOTE, images_NCHW))
    monkeypatch.setattr("inversionlab.data.procedural.Procedural.load", None)
    pictures, _ = drawn(tmp_path)
    assert torch.equal(pictures.images_NCHW[:], images_NCHW)
    assert (pictures.person_N.tolist(), pictures.people) == ([0, 1], ("a", "b"))
    assert torch.equal(PreparedPictures(Storage(str(tmp_path))).parts(name).read(WHO), images_NCHW)


@pytest.mark.parametrize(
    "content",
    {
        "nothing": b"",
        "garbage": b"\xff" * 100,
        "other tensors": save(WEIGHTS, metadata=NOTE),
        "no metadata": packed_set(None),
        "no people": packed_set({"skipped": "[]"}),
        "no list": packed_set({**NOTE, "people": "3"}),
        "no JSON": packed_set({**NOTE, "people": "["}),
        "deep JSON": packed_set({**NOTE, "people": "[" * 100_000}),
        "fractions": packed_set(NOTE, images=PIXELS.float()),
        "flat": packed_set(NOTE, images=PIXELS[:, 0]),
        "too few": packed_set(NOTE, person=WHO[:1]),
        "nobody": packed_set(NOTE, person=WHO + 1),
    }.items(),
    ids=lambda named: named[0],
)
def test_an_old_file_that_holds_no_pictures_is_decoded_again(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], content: tuple[str, bytes]
) -> None:
    first, name = drawn(tmp_path / "first")
    bad = old_file(tmp_path, name, content[1])
    again, _ = drawn(tmp_path)
    assert equal(first, again)
    assert capsys.readouterr().out == f"{bad}: is damaged; the pictures are read again\n"
    assert not bad.exists()


def test_a_part_that_holds_something_else_is_made_again(
    tmp_path: Path, people: FolderSettings
) -> None:
    storage = Storage(str(tmp_path / "runs"))
    other = save(WEIGHTS, metadata={"faults": "[]", "remarks": "[]"})
    file = f"pictures/set/parts/00000-{hashlib.sha256(other).hexdigest()}.safetensors"
    storage.write(file, other)
    (wanted,) = Preparation.of(people, "set").parts(storage)
    assert wanted.stored(storage) is None
    assert not storage.exists(file)
    assert equal(pictures_of(storage, people, "set"), Folder(people).load())


@pytest.fixture
def bucket(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Storage:
    """A storage whose files are no local ones, on a node without copies."""
    storage = Storage(str(tmp_path / "bucket"))
    storage.local = False
    monkeypatch.setattr(local_copies.tempfile, "gettempdir", lambda: str(tmp_path / "node"))
    return storage


def test_a_node_fetches_each_part_of_a_bucket_once(
    bucket: Storage, tmp_path: Path, people: FolderSettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    pictures_of(bucket, people, "set")
    copies = tmp_path / "node" / f"inversionlab-copies-{os.getuid()}"
    read: list[str] = []

    def noted(self: Storage, name: str) -> bytes:
        read.append(name)
        return raw(self, name)

    monkeypatch.setattr(Storage, "read", noted)
    for _ in range(2):
        opened = PreparedPictures(bucket).opened("set")
        assert opened is not None
        assert equal(opened, Folder(people).load())
    assert [Path(name).suffix for name in read].count(".safetensors") == 1
    (copy,) = copies.glob("*.safetensors")
    assert (copy.stat().st_mode & 0o777, copies.stat().st_mode & 0o777) == (0o600, 0o700)
    # A copy that was damaged on the node is fetched anew.
    copy.write_bytes(b"damaged")
    opened = PreparedPictures(bucket).opened("set")
    assert opened is not None
    assert equal(opened, Folder(people).load())
    assert [Path(name).suffix for name in read].count(".safetensors") == 2


raw = Storage.read


def test_the_oldest_copies_make_room(
    bucket: Storage, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("INVERSIONLAB_COPIES_GB", str(250 / 2**30))
    digests = []
    for place in range(3):
        content = bytes([place]) * 100
        digests.append(hashlib.sha256(content).hexdigest())
        bucket.write(f"{place}.safetensors", content)
        copy = local_copy(bucket, f"{place}.safetensors", digests[-1])
        assert copy is not None
        os.utime(copy, (place, place))
    copies = tmp_path / "node" / f"inversionlab-copies-{os.getuid()}"
    assert {path.stem for path in copies.glob("*.safetensors")} == set(digests[1:])
    assert local_copy(bucket, "0.safetensors", digests[1]) is not None
    assert local_copy(bucket, "0.safetensors", "0" * 64) is None
    with pytest.raises(FileNotFoundError):
        local_copy(bucket, "9.safetensors", "1" * 64)


def test_copies_in_somebody_elses_folder_are_refused(
    bucket: Storage, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    bucket.write("a.safetensors", b"a")
    monkeypatch.setattr(local_copies.os, "getuid", lambda: 4321)
    (tmp_path / "node" / "inversionlab-copies-4321").mkdir(parents=True)
    with pytest.raises(PermissionError, match="belongs to another user"):
        local_copy(bucket, "a.safetensors", "2" * 64)


def test_an_index_with_a_wrong_count_is_none(tmp_path: Path, people: FolderSettings) -> None:
    storage = Storage(str(tmp_path / "runs"))
    pictures_of(storage, people, "set")
    index = PreparedPictures(storage).index("set")
    assert index is not None
    wrong = replace(index, parts=tuple((file, count + 1) for file, count in index.parts))
    packed = wrong.pack()
    for file in storage.files("pictures/set", ".parquet"):
        storage.delete(file)
    storage.write(f"pictures/set/index-{hashlib.sha256(packed).hexdigest()}.parquet", packed)
    assert PreparedPictures(storage).index("set") is None
