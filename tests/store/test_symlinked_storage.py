"""A storage behind a symbolic link is the storage that the link leads to."""

from __future__ import annotations

from pathlib import Path

import pytest

from inversionlab.core.settings import ConfigError
from inversionlab.store.storage import Storage
from tests import tiny


def test_it_is_the_storage_that_the_link_leads_to(tmp_path: Path) -> None:
    real, link = tmp_path / "disk" / "runs", tmp_path / "runs"
    real.mkdir(parents=True)
    link.symlink_to(real, target_is_directory=True)
    assert Storage(str(link)).root == Storage(str(real)).root == str(real)
    Storage(str(link)).write("a/b", b"x")
    assert Storage(str(real)).read("a/b") == b"x"
    # What was prepared through the one is found through the other.
    first = tiny.session(link)
    pictures = {p: p.stat().st_mtime_ns for p in real.glob("pictures/*/*")}
    second = tiny.session(real)
    assert pictures
    assert {p: p.stat().st_mtime_ns for p in real.glob("pictures/*/*")} == pictures
    assert first.spec == second.spec


def test_a_link_to_what_is_not_there_yet_makes_it(tmp_path: Path) -> None:
    link = tmp_path / "runs"
    link.symlink_to(tmp_path / "later")
    Storage(str(link)).write("a", b"x")
    assert (tmp_path / "later" / "a").read_bytes() == b"x"
    assert link.is_symlink()


@pytest.mark.parametrize("target", ["runs", "file"])
def test_a_link_that_leads_to_no_folder_is_refused(tmp_path: Path, target: str) -> None:
    (tmp_path / "file").write_text("x")
    link = tmp_path / "runs"
    link.symlink_to(target)
    with pytest.raises(ConfigError, match=r"runs: (is not a usable path|cannot be opened or made)"):
        Storage(str(link))


def test_a_link_into_a_folder_of_pictures_is_refused(tmp_path: Path) -> None:
    people, link = tmp_path / "people", tmp_path / "runs"
    (people / "ann").mkdir(parents=True)
    link.symlink_to(people / "ann", target_is_directory=True)
    data = {"name": "folder", "root": str(people), "image_size": 16, "channels": 1}
    with pytest.raises(ConfigError, match=r"lies inside data\.root"):
        tiny.session(link, data=data)
    # And the other way round: the recipe names the link.
    named = {**data, "root": str(tmp_path / "named")}
    (tmp_path / "named").symlink_to(people, target_is_directory=True)
    with pytest.raises(ConfigError, match=r"lies inside data\.root"):
        tiny.session(people / "ann", data=named)
