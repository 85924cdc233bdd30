"""Sets in a bucket, asked of a local S3 server (moto), and names that lead out of a root."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from PIL import Image
from pyarrow import fs

from inversionlab.core import settings
from inversionlab.core.settings import ConfigError
from inversionlab.data.folder import Folder, FolderSettings
from inversionlab.data.manifest import Content, PictureFile, pack, unpack
from inversionlab.data.roots import NEVER, LocalRoot, is_inner
from inversionlab.data.survey import survey
from inversionlab.pipeline.manifests import fingerprint_of
from inversionlab.pipeline.session import open_experiment
from inversionlab.store.storage import Storage
from tests import tiny


def folder(root: Path | str, **changes: object) -> Folder:
    base = {"name": "folder", "root": str(root), "image_size": 16}
    return Folder(settings.validate(FolderSettings, base | changes, origin="test"))


def save(path: Path, gray: int = 100) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", (20, 20), (gray, gray, gray)).save(path)
    return path


@pytest.fixture
def people(tmp_path: Path) -> Path:
    """Two people and some files that are no pictures."""
    root = tmp_path / "people"
    for name, gray in (("ann/1.png", 10), ("ann/2.png", 20), ("bob/1.png", 30)):
        save(root / name, gray)
    (root / "ann" / "notes.txt").write_text("about")
    Image.new("RGB", (20, 20), (40, 40, 40)).save(root / "bob" / "2.jfif", format="JPEG")
    save(root / ".cache" / "1.png")
    save(root / "ann" / ".thumb.png")
    save(root / "1.png")
    return root


@pytest.fixture(scope="module")
def server() -> Iterator[str]:
    """The options of a URI that leads to a local S3 server."""
    moto = pytest.importorskip("moto.server")
    patch = pytest.MonkeyPatch()
    patch.setenv("AWS_ACCESS_KEY_ID", "test")
    patch.setenv("AWS_SECRET_ACCESS_KEY", "test")
    running = moto.ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    running.start()
    _, port = running.get_host_and_port()
    yield f"endpoint_override=127.0.0.1:{port}&scheme=http&region=us-east-1&allow_bucket_creation=true"
    running.stop()
    patch.undo()


@pytest.fixture
def bucket(server: str, people: Path) -> str:
    """The URI of the same files in a bucket."""
    uri = f"s3://faces/{people.parent.name}?{server}"
    target, prefix = fs.FileSystem.from_uri(uri)
    target.create_dir("faces")
    fs.copy_files(str(people), prefix, destination_filesystem=target)
    return uri


def test_a_bucket_holds_what_its_folder_holds(people: Path, bucket: str) -> None:
    here, there = folder(people), folder(bucket)
    assert there.fingerprint() == here.fingerprint()
    mine, theirs = here.load(), there.load()
    assert (mine.images_NCHW == theirs.images_NCHW).all()
    assert mine.people == theirs.people == ("ann", "bob")
    assert sorted(mine.skipped) == sorted(theirs.skipped)
    one = folder(bucket, max_pictures_per_person=1)
    assert [file.name for file in one.listing().files] == ["ann/1.png", "bob/1.png"]


def test_a_buckets_manifest_spares_its_pictures(
    bucket: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = time.time_ns
    monkeypatch.setattr(time, "time_ns", lambda: real() + 60_000_000_000)
    storage = Storage(str(tmp_path / "runs"))
    name = fingerprint_of(folder(bucket), storage)
    monkeypatch.setattr(Folder, "read", None)
    assert fingerprint_of(folder(bucket), storage) == name


def test_a_bucket_that_lacks_the_folder(server: str) -> None:
    with pytest.raises(ConfigError, match=r"s3://faces/nowhere.*there is no such folder"):
        folder(f"s3://faces/nowhere?{server}").listing()


def test_an_experiment_on_a_bucket(bucket: str, tmp_path: Path) -> None:
    data = {"name": "folder", "root": bucket, "image_size": 16, "channels": 1}
    split = {"private": ["ann", "bob"], "private_min_pictures": 2}
    public = {"name": "procedural", "image_size": 16, "channels": 1, "people": 4}
    made = tiny.experiment(
        data=data,
        public_data=public,
        split=split,
        targets={"count": 2},
        **{"evaluators.1.protocol": "nearest_identity"},
    )
    opened = open_experiment(made, Storage(str(tmp_path / "runs")))
    assert opened.builder.splits.people == ("ann", "bob")


def test_a_storage_in_the_data_of_a_bucket_is_refused(bucket: str) -> None:
    made = tiny.experiment(data={"name": "folder", "root": bucket, "image_size": 16})
    with pytest.raises(ConfigError, match=r"lies inside data.root = s3://"):
        open_experiment(made, Storage(bucket.replace("?", "/runs?")))


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ("s3://bucket/faces/", "s3://bucket/faces"),
        ("file:///data/faces", Path("/data/faces")),
        ("/data/faces", Path("/data/faces")),
        ("faces", Path.cwd() / "faces"),
        ("~/faces", Path.home() / "faces"),
    ],
)
def test_addresses(given: str, expected: object) -> None:
    assert folder(given).settings.root == expected


def test_a_secret_in_a_uri_is_refused_and_not_shown() -> None:
    with pytest.raises(ConfigError) as caught:
        folder("s3://KEY:verysecret@bucket/faces")
    assert "verysecret" not in str(caught.value)
    assert "AWS_SECRET_ACCESS_KEY" in str(caught.value)


def test_a_uri_that_nobody_understands() -> None:
    with pytest.raises(ConfigError, match="ftp://host/faces: cannot be opened"):
        folder("ftp://host/faces").listing()


@pytest.mark.parametrize(
    "name", ["../x", "a/../../x", "/etc/passwd", "a//b", "./a", "a/.", "a\0b", "a/"]
)
def test_no_name_leads_out_of_a_root(name: str, tmp_path: Path) -> None:
    assert not is_inner(name)
    root = LocalRoot(tmp_path)
    for ask in (root.read, root.has, root.open):
        with pytest.raises(ConfigError, match="leads out of the set's root"):
            ask(name)


def test_no_link_leads_out_of_a_root(tmp_path: Path) -> None:
    secret = save(tmp_path / "secret" / "1.png")
    (tmp_path / "root" / "in").mkdir(parents=True)
    (tmp_path / "root" / "file.png").symlink_to(secret)
    (tmp_path / "root" / "folder").symlink_to(secret.parent, target_is_directory=True)
    (tmp_path / "root" / "in" / "near.png").symlink_to(save(tmp_path / "root" / "1.png"))
    root = LocalRoot(tmp_path / "root")
    for name in ("file.png", "folder/1.png"):
        for _ in range(2):
            with pytest.raises(ConfigError, match="is a link that leaves"):
                root.read(name)
    with pytest.raises(ConfigError, match="is a link that leaves"):
        root.pictures("folder")
    assert root.read("in/near.png") == root.read("1.png")


def test_a_part_of_a_file(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"0123456789")
    root = LocalRoot(tmp_path)
    assert root.read("a", 3, 4) == b"3456"
    with pytest.raises(OSError, match="ends after 10 bytes"):
        root.read("a", 8, 4)


def test_a_file_without_a_time_is_read_every_time() -> None:
    file = PictureFile("a", "a/1", "a/1", 1, NEVER)
    manifest = unpack(pack([file], [Content("00" * 32)], time.time_ns()))
    assert manifest is not None
    assert manifest.content(file) is None


def test_a_bucket_is_surveyed(people: Path, bucket: str) -> None:
    here, there = survey(people), survey(bucket)
    assert there.root == bucket
    assert (there.counts, there.shorter_side, there.gray) == ((2, 2), 20, False)
    assert (here.counts, here.shorter_side, here.gray) == ((2, 2), 20, False)
