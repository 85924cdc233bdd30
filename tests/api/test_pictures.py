"""The public pictures: each form that is accepted gives the same bytes, and every other is refused by its text."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor

from inversionlab.api.pictures import public_pictures
from inversionlab.core.settings import ConfigError

BYTES = torch.randint(0, 256, (5, 3, 16, 16), generator=torch.Generator().manual_seed(0)).byte()
FLOATS = BYTES.float() / 255


def read(public: Any) -> Tensor:
    return public_pictures(public, image_size=16, channels=None)


@pytest.mark.parametrize(
    "public",
    [
        BYTES,
        FLOATS,
        FLOATS.double().requires_grad_(True),
        BYTES.numpy(),
        FLOATS.numpy(),
        BYTES.permute(0, 2, 3, 1).numpy(),
        FLOATS.permute(0, 2, 3, 1).numpy(),
        np.asfortranarray(BYTES.numpy())[::1],
    ],
)
def test_every_form_gives_the_same_bytes(public: Any) -> None:
    found = read(public)
    assert found.dtype == torch.uint8
    assert torch.equal(found, BYTES)


def test_gray_pictures_keep_one_channel() -> None:
    gray = BYTES[:, :1]
    assert torch.equal(read(gray), gray)
    assert torch.equal(read(gray.permute(0, 2, 3, 1).numpy()), gray)


def test_the_callers_pictures_are_not_shared() -> None:
    mine = BYTES.clone()
    read(mine).zero_()
    assert torch.equal(mine, BYTES)


def test_a_folder_is_read_at_the_size_and_channels_that_are_asked_for(tmp_path: Path) -> None:
    for person in ("ann", "bob"):
        (tmp_path / person).mkdir()
        Image.new("RGB", (40, 30), (255, 0, 0)).save(tmp_path / person / "0.png")
    found = read(tmp_path)
    assert found.shape == (2, 3, 16, 16)
    assert found[0, :, 8, 8].tolist() == [255, 0, 0]
    gray = public_pictures(str(tmp_path), image_size=24, channels=1)
    assert gray.shape == (2, 1, 24, 24)


@pytest.mark.parametrize(
    ("public", "told"),
    [
        (BYTES[0], r"public: has the shape \(3, 16, 16\); give a folder"),
        (BYTES[:0], r"public: has the shape \(0, 3, 16, 16\)"),
        (BYTES[..., :8], r"public: has the shape \(5, 3, 16, 8\)"),
        (BYTES.permute(0, 2, 3, 1), r"public: has the shape \(5, 16, 16, 3\)"),
        (BYTES[:, :2], r"public: has the shape \(5, 2, 16, 16\)"),
        (BYTES.int(), "public: holds torch.int32"),
        (BYTES.numpy().astype("U3"), "public: holds <U3"),
        (FLOATS * 255, "public: its floats go from 0 to 255"),
        (FLOATS * 2 - 1, "public: its floats go from -1 to 1"),
        (FLOATS.log(), "public: its floats go from -inf to 0"),
        (FLOATS * float("nan"), "public: its floats go from nan to nan"),
        ([1, 2], "public = list: is not one of the known forms"),
    ],
)
def test_another_form_is_refused(public: Any, told: str) -> None:
    with pytest.raises(ConfigError, match=told) as refused:
        read(public)
    assert "C = 1 or 3, as uint8 from 0 to 255 or as floats from 0 to 1" in str(refused.value)


def test_a_folder_that_is_missing_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="there is no such folder"):
        read(tmp_path / "gone")
