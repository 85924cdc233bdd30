"""A data set that does not fit into the memory is refused before a picture is read."""

from __future__ import annotations

from pathlib import Path

import pytest
from PIL import Image

from inversionlab.core.settings import ConfigError
from inversionlab.data import memory
from inversionlab.data.folder import Folder, FolderSettings


def test_a_folder_is_refused_by_the_count_of_its_files(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for person in ("ann", "bob"):
        (tmp_path / person).mkdir()
        for number in range(3):
            Image.new("RGB", (20, 20)).save(tmp_path / person / f"{number}.png")
    data = Folder(FolderSettings(root=tmp_path, image_size=16))
    # 6 pictures of 3 x 16 x 16 bytes.
    monkeypatch.setattr(memory, "memory_at_hand", lambda: 6 * 3 * 16 * 16)
    assert len(data.load().person_N) == 6
    monkeypatch.setattr(memory, "memory_at_hand", lambda: 6 * 3 * 16 * 16 - 1)
    with pytest.raises(
        ConfigError, match=r"the files of .* are 6 pictures of 3 x 16 x 16, 0\.0 GB"
    ):
        data.load()
    monkeypatch.setattr(memory, "memory_at_hand", lambda: None)
    assert len(data.load().person_N) == 6


def test_this_machine_has_some_memory() -> None:
    room = memory.memory_at_hand()
    assert room is None or 2**24 < room < 2**50
