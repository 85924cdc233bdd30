import os
import time
from collections.abc import Sequence
from pathlib import Path
from typing import ClassVar

import numpy as np
import pytest
from PIL import Image

from inversionlab.commands.options import verified
from inversionlab.core import settings
from inversionlab.data.base import DataSet, DataSettings, Pictures
from inversionlab.data.files import FileFields, FileSet
from inversionlab.data.folder import Folder, FolderSettings
from inversionlab.data.manifest import (
    RACY_NS,
    Content,
    Listing,
    Manifest,
    PictureFile,
    pack,
    unpack,
)
from inversionlab.distributed.run_record import run_name
from inversionlab.pipeline.data import picture_ids
from inversionlab.pipeline.manifests import fingerprint_of
from inversionlab.store.storage import Storage
from tests import tiny


def folder(root: Path, **changes: object) -> Folder:
    base = {"name": "folder", "root": str(root), "image_size": 16}
    return Folder(settings.validate(FolderSettings, base | changes, origin="test"))


def save(path: Path, gray: int = 100) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", (20, 20), (gray, gray, gray)).save(path)
    return path


@pytest.fixture
def people(tmp_path: Path) -> Path:
    for name, gray in (("ann/1.png", 10), ("ann/2.png", 20), ("bob/1.png", 30)):
        save(tmp_path / "people" / name, gray)
    return tmp_path / "people"


def old(name: str, size: int = 5, modified: int = 0) -> PictureFile:
    return PictureFile("ann", name, name, size, modified)


def test_a_folder_is_named_as_it_always_was(people: Path) -> None:
    """The stores of earlier releases hold this name: it is the hash of names, SHA-256 and settings."""
    files = [(f"{n}", (people / n).read_bytes()) for n in ("ann/1.png", "ann/2.png", "bob/1.png")]
    import hashlib

    content = [[name, hashlib.sha256(raw).hexdigest()] for name, raw in files]
    plain = {"name": "folder", "image_size": 16, "channels": 3, "max_pictures_per_person": None}
    expected = settings.fingerprint({"settings": plain, "content": content})
    assert folder(people).fingerprint() == expected
    assert folder(people, crop="square", background="white").fingerprint() == expected


def test_a_listing_is_sorted_and_opens_nothing(people: Path) -> None:
    for path in people.rglob("*.png"):
        path.chmod(0)
    files = folder(people).listing().files
    assert [(f.person, f.name, f.path) for f in files] == [
        ("ann", "ann/1.png", "ann/1.png"),
        ("ann", "ann/2.png", "ann/2.png"),
        ("bob", "bob/1.png", "bob/1.png"),
    ]
    assert [f.size for f in files] == [(people / f.path).stat().st_size for f in files]


def test_a_manifest_gives_back_what_it_was_given() -> None:
    files = [old("ann/1.png"), old("ann/\udcff.png", 7, 3), old("gone.png")]
    contents = [Content("0a" * 32), Content("ff" * 32, True), Content("unreadable: no")]
    manifest = unpack(pack(files, contents, 10 * RACY_NS))
    assert manifest is not None
    assert [manifest.content(file) for file in files] == [contents[0], contents[1], None]
    assert manifest.content(old("ann/1.png", 6)) is None
    assert manifest.content(old("ann/1.png", 5, 1)) is None
    assert manifest.content(old("other.png")) is None


@pytest.mark.parametrize(("age", "trusted"), [(RACY_NS, True), (RACY_NS - 1, False), (-5, False)])
def test_what_changed_just_now_is_not_trusted(age: int, trusted: bool) -> None:
    began = 10 * RACY_NS
    file = old("ann/1.png", 5, began - age)
    manifest = unpack(pack([file], [Content("00" * 32)], began))
    assert manifest is not None
    assert (manifest.content(file) is not None) is trusted


@pytest.mark.parametrize("packed", [b"", b"PAR1", b"x" * 500])
def test_a_damaged_manifest_is_none(packed: bytes) -> None:
    assert unpack(packed) is None
    whole = pack([old("a")], [Content("00" * 32)], RACY_NS)
    assert unpack(whole[:-20] + packed[:20].ljust(20)) is None


class Counted(Folder):
    """Notes what is read."""

    reads: list[str]

    def read(self, file: PictureFile) -> bytes:
        self.reads.append(file.name)
        return super().read(file)


def counted(root: Path, **changes: object) -> Counted:
    made = Counted(folder(root, **changes).settings)
    made.reads = []
    return made


def aged(people: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let everything that follows happen a minute later."""
    import time

    real = time.time_ns
    monkeypatch.setattr(time, "time_ns", lambda: real() + 60_000_000_000)


def test_a_second_command_reads_nothing(
    people: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    aged(people, monkeypatch)
    storage = Storage(str(tmp_path / "runs"))
    first, second, third = counted(people), counted(people), counted(people)
    name = fingerprint_of(first, storage)
    assert sorted(first.reads) == ["ann/1.png", "ann/2.png", "bob/1.png"]
    assert fingerprint_of(second, storage) == name == folder(people).fingerprint()
    assert second.reads == []
    # What is done to the pixels changes no file, so another size reads nothing either.
    larger = counted(people, image_size=32)
    assert fingerprint_of(larger, storage) == folder(people, image_size=32).fingerprint()
    assert larger.reads == []
    assert fingerprint_of(third, storage, verify=True) == name
    assert len(third.reads) == 3


def test_what_has_changed_is_read_again(
    people: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    aged(people, monkeypatch)
    storage = Storage(str(tmp_path / "runs"))
    name = fingerprint_of(folder(people), storage)
    path = people / "ann" / "2.png"
    was = path.stat()
    path.write_bytes(path.read_bytes()[:-1] + b"?")  # same size
    os.utime(
        path, ns=(was.st_atime_ns, was.st_mtime_ns)
    )  # and, as far as anybody can set it, same time
    save(people / "bob" / "3.png", 40)
    again = counted(people)
    changed = fingerprint_of(again, storage)
    assert sorted(again.reads) == ["ann/2.png", "bob/3.png"]
    assert changed == folder(people).fingerprint() != name
    last = counted(people)
    assert fingerprint_of(last, storage) == changed
    assert last.reads == []


def test_fresh_files_are_read_by_the_next_command_too(people: Path, tmp_path: Path) -> None:
    storage = Storage(str(tmp_path / "runs"))
    # However long this test takes, they are as new as files can be.
    later = time.time_ns() + 3_600_000_000_000
    for file in people.rglob("*.png"):
        os.utime(file, ns=(later, later))
    name = fingerprint_of(folder(people), storage)
    again = counted(people)
    assert fingerprint_of(again, storage) == name
    assert len(again.reads) == 3


def test_a_storage_that_is_full_stops_nothing(
    people: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    storage = Storage(str(tmp_path / "runs"))
    (tmp_path / "runs" / "pictures").write_text("in the way of the folder")
    assert fingerprint_of(folder(people), storage) == folder(people).fingerprint()


class ListedSettings(DataSettings, FileFields):
    listed: ClassVar = frozenset({"boxes", "points"})

    name: str = "listed"
    root: str = "memory"


class Listed(FileSet, DataSet):
    """A set in memory: what a set of another layout has to give."""

    Settings = ListedSettings

    def __init__(self, given: ListedSettings, content: dict[str, bytes], **more: object) -> None:
        super().__init__(given)
        self.content, self.more = content, more

    def listing(self) -> Listing:
        return Listing(
            tuple(
                PictureFile(name.split("/")[0], name, name, len(raw), 0, **self.more)  # type: ignore[arg-type]
                for name, raw in sorted(self.content.items())
            )
        )

    def read(self, file: PictureFile) -> bytes:
        return self.content[file.name]


def in_memory(
    people: Path, names: Sequence[str], crop: object = "square", **more: object
) -> Listed:
    content = {name: (people / name).read_bytes() for name in names}
    base = {"image_size": 16, "crop": crop}
    made = settings.validate(ListedSettings, base, origin="test")
    return Listed(made, content, **more)


def test_a_set_needs_a_listing_and_a_reader_alone(people: Path) -> None:
    names = ("ann/1.png", "ann/2.png", "bob/1.png")
    loaded: Pictures = in_memory(people, names).load()
    expected = folder(people).load()
    assert np.array_equal(loaded.images_NCHW, expected.images_NCHW)
    assert loaded.people == expected.people
    with pytest.raises(settings.ConfigError, match=r"memory: only one person \(`ann`\)"):
        in_memory(people, names[:2]).load()


def test_boxes_and_points_count_where_the_crop_needs_them(people: Path) -> None:
    names = ("ann/1.png", "bob/1.png")
    boxes = [(1.0, 1.0, 12.0, 12.0), (2.0, 1.0, 12.0, 12.0)]
    plain = {in_memory(people, names, box=box).fingerprint() for box in boxes}
    cropped = {in_memory(people, names, {"margin": 0.0}, box=box).fingerprint() for box in boxes}
    assert (len(plain), len(cropped)) == (1, 2)
    points = [tuple(float(i + shift) for i in range(10)) for shift in (0, 1)]
    faces = {in_memory(people, names, "five_point", points=p).fingerprint() for p in points}
    assert len(faces) == 2


def test_what_is_known_is_not_asked_of_an_empty_manifest(people: Path) -> None:
    dataset = counted(people)
    files = dataset.listing().files
    assert dataset.contents(files, Manifest()) == folder(people).contents(files)
    assert len(dataset.reads) == 3


def test_verify_data_reads_all_files_and_names_nothing_anew(
    people: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    aged(people, monkeypatch)
    storage = Storage(str(tmp_path / "runs"))
    plain = {"name": "folder", "root": str(people), "image_size": 16}
    once = tiny.experiment(data=plain)
    asked = verified(once, verify=True)
    assert verified(once, verify=False) is once
    assert (once.runtime.verify_data, asked.runtime.verify_data) == (False, True)
    assert run_name(once) == run_name(asked)
    ids = picture_ids(once, storage)
    reads: list[str] = []
    read = Folder.read
    monkeypatch.setattr(
        Folder, "read", lambda self, file: reads.append(file.name) or read(self, file)
    )
    assert picture_ids(once, storage) == ids
    assert reads == []
    assert picture_ids(asked, storage) == ids
    assert len(reads) == 3
