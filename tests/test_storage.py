from __future__ import annotations

from pathlib import Path

import pytest

from inversionlab.config import ConfigError
from inversionlab.storage import Storage


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
    with pytest.raises(OSError, match="disk full"):
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


def test_a_uri_is_a_root_too(tmp_path: Path) -> None:
    Storage(f"file://{tmp_path}").write("a", b"x")
    assert (tmp_path / "a").read_bytes() == b"x"
