"""Two addresses of one place, or of one place in the other."""

from __future__ import annotations

from pathlib import Path

import pytest

from inversionlab.core.places import relation


@pytest.mark.parametrize(
    ("one", "other", "found"),
    [
        ("a", "a", "is"),
        ("a", "a/../a", "is"),
        ("link", "a", "is"),
        ("link/in", "a", "lies in"),
        ("a", "link/in", "holds"),
        ("a", "a b", None),
        ("a/in", "a/other", None),
        ("a/new", "link/new", "is"),
        ("gone/new", "gone", "lies in"),
        ("a", "loop", None),
    ],
)
def test_paths(tmp_path: Path, one: str, other: str, found: str | None) -> None:
    for folder in ("a/in", "a/other", "a b"):
        (tmp_path / folder).mkdir(parents=True)
    (tmp_path / "link").symlink_to("a")
    (tmp_path / "loop").symlink_to("loop")
    assert relation(tmp_path / one, tmp_path / other) == found


def test_a_folder_that_is_mounted_twice(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for folder in ("a/in", "b"):
        (tmp_path / folder).mkdir(parents=True)
    real = Path.stat
    # A bind mount has the device and the inode of what it shows.
    shown = {tmp_path / "b": tmp_path / "a"}
    monkeypatch.setattr(Path, "stat", lambda self, **more: real(shown.get(self, self), **more))
    assert relation(tmp_path / "b", tmp_path / "a") == "is"
    assert relation(tmp_path / "b", tmp_path / "a" / "in") == "holds"


@pytest.mark.parametrize(
    ("one", "other", "found"),
    [
        ("s3://b/faces", "s3://b/faces?region=x", "is"),
        ("s3://b/faces", "S3://key@b//faces/", "is"),
        ("s3://b/f%61ces", "s3://b/faces", "is"),
        ("gs://b/faces/in", "gcs://b/faces", "lies in"),
        ("s3://b", "s3://b/faces", "holds"),
        ("s3://b/faces", "s3://b/faces2", None),
        ("s3://b/faces", "gs://b/faces", None),
        ("s3://b/faces", "s3://c/faces", None),
    ],
)
def test_buckets(one: str, other: str, found: str | None) -> None:
    assert relation(one, other) == found


def test_a_path_is_in_no_bucket() -> None:
    assert relation("s3://b/faces", Path("/b/faces")) is None
