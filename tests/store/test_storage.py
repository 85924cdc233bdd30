from __future__ import annotations

import os
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import pytest
from pyarrow import fs

from inversionlab.core.settings import ConfigError
from inversionlab.store import storage as storage_module
from inversionlab.store.address import full_address, is_uri
from inversionlab.store.storage import Storage, StorageError


def test_written_is_read(tmp_path: Path) -> None:
    storage = Storage(str(tmp_path / "new"))
    storage.write("a/b/c.bin", b"one")
    storage.write("a/b/c.bin", b"two")
    assert storage.read("a/b/c.bin") == b"two"
    assert storage.files("a/b") == ["a/b/c.bin"]
    assert storage.folders("a") == ["b"]


def test_an_interrupted_write_leaves_the_old_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    storage = Storage(str(tmp_path))
    storage.write("a/file", b"old")

    def broken(source: str, target: str) -> None:
        raise OSError("disk full")

    monkeypatch.setattr("os.replace", broken)
    with pytest.raises(StorageError, match="disk full"):
        storage.write("a/file", b"new")
    assert storage.read("a/file") == b"old"
    assert storage.files("a") == ["a/file"]
    assert [p.name for p in (tmp_path / "a").iterdir()] == ["file"]


@pytest.mark.parametrize("name", ["../x", "a/../../x", "/etc/passwd"])
def test_no_name_leads_out_of_the_root(tmp_path: Path, name: str) -> None:
    with pytest.raises(ValueError, match="leads out"):
        Storage(str(tmp_path)).write(name, b"")


def test_a_root_that_is_a_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    with pytest.raises(ConfigError, match="cannot be opened or made"):
        Storage(str(tmp_path / "file"))


@pytest.mark.parametrize("name", ["what? now", "50%", "a#b", "x://y", "s3:", "ü ' \""])
def test_a_path_is_no_uri(tmp_path: Path, name: str) -> None:
    storage = Storage(str(tmp_path / name))
    storage.write("a/file", b"x")
    assert (tmp_path / name / "a" / "file").read_bytes() == b"x"
    # Ray Train and Ray Tune are given this address.
    assert storage.uri("ray_train") == str((tmp_path / name / "ray_train").resolve())
    ray_fs, place = fs.FileSystem.from_uri(storage.uri("ray_train"))
    ray_fs.create_dir(place)
    assert {p.name for p in (tmp_path / name).resolve().iterdir()} == {"a", "ray_train"}


def test_options_of_a_uri_stay_at_its_end(tmp_path: Path) -> None:
    assert is_uri("s3://bucket/x?region=eu")
    storage = Storage(f"file://{tmp_path}")
    storage.root = "s3://bucket/x?region=eu"
    assert storage.uri("a/b") == "s3://bucket/x/a/b?region=eu"


@pytest.mark.parametrize(
    ("root", "told"),
    [
        ("s3:/bucket/x", "--storage s3:/bucket/x: a URI has `://`; did you mean s3://bucket/x?"),
        ("gs:bucket", "did you mean gs://bucket?"),
        ("file:/tmp/x", "did you mean file:///tmp/x?"),
        ("", "--storage: is empty"),
        (" ", "--storage: is empty"),
        ("/tmp/" + "x" * 5000, "...: is not a usable path: File name too long"),
        ("/tmp/" + "x/" * 2500, "...: is not a usable path: File name too long"),
        ("/tmp/a\0b", "a\\x00b': holds a NUL"),
        ("/tmp/a\udcffb", "a\\udcffb': holds a NUL, or bytes that are not text"),
        ("~no-such-user-here/x", "is not a usable path: "),
    ],
)
def test_what_is_neither_a_path_nor_a_uri_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, root: str, told: str
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ConfigError) as caught:
        Storage(root)
    assert told in str(caught.value)
    assert len(str(caught.value)) < 250
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("root", "shown"),
    [
        ("s3://KEY:SECRET@bucket/x", "s3://***@bucket/x"),
        ("s3://KEY:SEC/RET@bucket/x", "s3://***@bucket/x"),
        ("s3://bucket/x?region=eu&secret_key=SECRET", "s3://bucket/x?region=eu&secret_key=***"),
        ("s3://KEY:9/SECRET@bucket/x", "s3://***@bucket/x"),
        ("s3://SECRET@bucket/x", "s3://***@bucket/x"),
        ("s3://bucket/x?sas=SECRET&auth=SECRET", "s3://bucket/x?sas=***&auth=***"),
        ("s3://bucket?endpoint_override=http://u:SECRET@host", "s3://bucket?endpoint_override=***"),
        ("s3://KEY:SEC?RET@bucket/x", "s3://***?***"),
        ("s3://bucket/x#SECRET", "s3://bucket/x#***"),
        ("abfs://account:9/SECRET@host/x", "abfs://***@host/x"),
        ("other://KEY:SECRET@host/x", "other://***@host/x"),
        ("abfs://:SECRET@account/x", "abfs://***@account/x"),
        ("s3://bucket?AWS_Session_Token=SECRET&a=b", "s3://bucket?AWS_Session_Token=***&a=***"),
    ],
)
def test_a_secret_in_the_address_is_refused_and_not_shown(root: str, shown: str) -> None:
    with pytest.raises(ConfigError) as caught:
        Storage(root)
    text = str(caught.value)
    assert text.startswith(f"--storage {shown}: holds a secret")
    assert "KEY:" not in text
    assert "SECRET@" not in text
    assert "=SECRET" not in text
    assert "AWS_SECRET_ACCESS_KEY" in text


def test_a_secret_after_one_slash_is_not_shown() -> None:
    with pytest.raises(ConfigError) as caught:
        Storage("s3:/KEY:SECRET@bucket/x")
    assert "--storage: a URI has `://`, and s3://***@bucket/x holds a secret" in str(caught.value)
    assert "SECRET@" not in str(caught.value)


@pytest.mark.parametrize(
    "root",
    [
        "s3://bucket/a:b@c",
        "hdfs://host:9000/a@b",
        "gs://anonymous@bucket/x",
        "abfs://container@account.dfs.core.windows.net/x",
        "s3://b?region=eu&endpoint_override=http://127.0.0.1:9000&scheme=http",
    ],
)
def test_an_address_without_a_secret_is_kept(root: str) -> None:
    assert full_address(root) == root


def test_what_is_written_is_its_owners_alone(tmp_path: Path) -> None:
    storage = Storage(str(tmp_path / "new" / "runs"))
    storage.write("a/b/file", b"x")
    storage.write("a/b/file", b"y")
    storage.create_new("a/lease", b"x")
    storage.make_folder("ray_train")
    for path in (tmp_path / "new").rglob("*"):
        assert path.stat().st_mode & 0o777 == (0o700 if path.is_dir() else 0o600), path
    assert (tmp_path / "new").stat().st_mode & 0o777 == 0o700


def test_a_folder_of_the_users_own_keeps_its_mode(tmp_path: Path) -> None:
    tmp_path.chmod(0o755)
    Storage(str(tmp_path)).write("a", b"x")
    assert tmp_path.stat().st_mode & 0o777 == 0o755


def test_a_bucket_that_does_not_answer_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    over = threading.Event()

    def silent(uri: str) -> None:
        over.wait(20)

    monkeypatch.setattr(storage_module.fs, "FileSystem", SimpleNamespace(from_uri=silent))
    monkeypatch.setattr(storage_module, "SECONDS", 0.2)
    with pytest.raises(ConfigError, match=r"gs://bucket/x: cannot be .* not answer within 0.2 s"):
        Storage("gs://bucket/x")
    over.set()


def test_a_uri_is_a_root_too(tmp_path: Path) -> None:
    Storage(f"file://{tmp_path}").write("a", b"x")
    assert (tmp_path / "a").read_bytes() == b"x"


def test_one_of_many_callers_creates_a_file(tmp_path: Path) -> None:
    storage = Storage(str(tmp_path))
    won: list[int] = []

    def create(number: int) -> None:
        if storage.create_new("a/b", str(number).encode()):
            won.append(number)

    threads = [threading.Thread(target=create, args=(n,)) for n in range(16)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(won) == 1
    assert storage.read("a/b") == str(won[0]).encode()


def test_a_file_that_is_deleted_by_another_at_once_is_deleted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    storage = Storage(str(tmp_path))
    monkeypatch.setattr(Storage, "exists", lambda self, name: True)
    storage.delete("a")


def test_what_is_set_aside_is_no_file_of_its_kind(tmp_path: Path) -> None:
    storage = Storage(str(tmp_path))
    for content in (b"old", b"new"):
        storage.write("a/x.parquet", content)
        storage.set_aside("a/x.parquet")
    assert storage.files("a", ".parquet") == []
    assert storage.read("a/x.parquet.damaged") == b"new"


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A disk of 256 kB; skipped where the user may not mount one."""
    disk = tmp_path / "disk"
    disk.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", "size=256k", "tmpfs", str(disk)]
    try:
        subprocess.run(command, check=True, capture_output=True)
    except (OSError, subprocess.CalledProcessError):
        pytest.skip("mounting needs root")
    yield disk
    subprocess.run(["umount", str(disk)], check=True)


def test_a_full_disk_keeps_the_old_file_and_is_explained(small_disk: Path) -> None:
    storage = Storage(str(small_disk))
    old = b"o" * 100_000
    storage.write("a/file", old)
    with pytest.raises(StorageError) as caught:
        storage.write("a/file", b"n" * 200_000)
    text = str(caught.value)
    assert text.startswith(f"{small_disk}/a/file: 0.2 MB could not be written: No space left")
    assert "0.2 MB are free there" in text
    assert "the same command continues from there" in text
    assert "\n" not in text
    assert storage.read("a/file") == old
    assert os.listdir(small_disk / "a") == ["file"]
    storage.write("a/file", b"n" * 50_000)
    assert storage.read("a/file") == b"n" * 50_000


def test_on_a_full_disk_nothing_is_half_created(small_disk: Path) -> None:
    storage = Storage(str(small_disk))
    with pytest.raises(StorageError, match="No space left"):
        storage.create_new("a/lease", b"x" * 300_000)
    assert os.listdir(small_disk / "a") == []
    assert storage.create_new("a/lease", b"x")
