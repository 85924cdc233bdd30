"""How LFW's people are dealt for the embedding that is trained outside: nobody is in two roles."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from tests.given import lfw_embedding
from tests.given.lfw_embedding import FaceEmbedding, cut


def test_nobody_is_in_two_roles_and_enrolled_pictures_are_no_others(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lfw_embedding, "ENROLLED", 2)
    counts = {"private/a": 25, "private/b": 20, "private/c": 70, "private/d": 9}
    counts |= {"public/e": 3, "public/f": 2, "public/g": 1}
    for person, count in counts.items():
        (tmp_path / "lfw" / person).mkdir(parents=True)
        for number in range(count):
            (tmp_path / "lfw" / person / f"{number:03}.jpg").write_bytes(b"")
    cut(tmp_path / "lfw", tmp_path)
    dealt = {
        role: {person.name: {file.name for file in person.iterdir()} for person in folder.iterdir()}
        for role in ("strangers", "gallery", "people", "public")
        if (folder := tmp_path / role).is_dir()
    }
    enrolled = dealt["gallery"].keys()
    assert len(enrolled) == 2
    assert enrolled < {"a", "b", "c"}
    assert dealt["people"].keys() == enrolled
    assert dealt["public"].keys() == {"f", "g"}
    assert dealt["strangers"].keys() == {"a", "b", "c", "d", "e"} - enrolled
    for person in enrolled:
        gallery, others = dealt["gallery"][person], dealt["people"][person]
        assert len(gallery) == 8
        assert not gallery & others
        assert len(gallery | others) == min(60, counts[f"private/{person}"])


def test_it_embeds_pictures_of_64_pixels() -> None:
    x_NCHW = torch.rand(2, 3, 64, 64, requires_grad=True)
    embedding_ND = FaceEmbedding().eval()(x_NCHW)
    assert embedding_ND.shape == (2, 128)
    embedding_ND.sum().backward()
    assert x_NCHW.grad is not None
