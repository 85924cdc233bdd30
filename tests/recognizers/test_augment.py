"""The augmentation of a recognizer's training pictures."""

from __future__ import annotations

import pytest
import torch

from inversionlab.recognizers.augment import AugmentSettings, augment

STILL = dict.fromkeys(("flip", "shift", "zoom", "rotation", "brightness", "contrast", "erase"), 0.0)


def _rng(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def test_everything_off_changes_nothing():
    x_NCHW = torch.rand(4, 3, 16, 16)
    assert torch.equal(augment(x_NCHW, AugmentSettings(**STILL), _rng()), x_NCHW)


def test_a_certain_flip_is_the_mirror_image():
    x_NCHW = torch.rand(4, 3, 16, 16)
    settings = AugmentSettings(**STILL | {"flip": 1.0})
    torch.testing.assert_close(augment(x_NCHW, settings, _rng()), x_NCHW.flip(3), atol=1e-5, rtol=0)


def test_half_the_pictures_are_flipped():
    ramp_W = torch.linspace(0, 1, 16)
    x_NCHW = ramp_W.expand(400, 1, 16, 16).contiguous()
    settings = AugmentSettings(**STILL | {"flip": 0.5})
    flipped_N = augment(x_NCHW, settings, _rng())[:, 0, 8, 0] > 0.5
    assert 150 < int(flipped_N.sum()) < 250  # 5 standard deviations of a fair coin


def test_shift_moves_a_dot_by_no_more_than_it_says():
    x_NCHW = torch.zeros(64, 1, 32, 32)
    x_NCHW[:, :, 16, 16] = 1
    moved_NHW = augment(x_NCHW, AugmentSettings(**STILL | {"shift": 0.125}), _rng())[:, 0]
    place = torch.arange(32.0)
    row_N = (moved_NHW.sum(2) * place).sum(1) / moved_NHW.sum((1, 2))
    far_N = (row_N - 16).abs()
    assert float(far_N.max()) <= 4.01  # 0.125 of 32
    assert float(far_N.max()) > 3


@pytest.mark.parametrize("channels", [1, 3])
def test_range_and_independence_of_the_pictures(channels):
    x_NCHW = torch.rand(1, channels, 16, 16).expand(8, -1, -1, -1).contiguous()
    out_NCHW = augment(x_NCHW, AugmentSettings(brightness=1.0, erase=1.0), _rng())
    assert float(out_NCHW.min()) >= 0
    assert float(out_NCHW.max()) <= 1
    assert len({tuple(p.flatten().tolist()) for p in out_NCHW}) == 8


def test_erasing_puts_the_mean_into_a_rectangle():
    x_NCHW = torch.rand(1, 1, 32, 32) + torch.arange(32)[None, None, None]
    settings = AugmentSettings(**STILL | {"erase": 1.0, "erase_side": 1.0})
    x_NCHW = x_NCHW / x_NCHW.max()
    out_NCHW = augment(x_NCHW, settings, _rng(3))
    changed_HW = (out_NCHW != x_NCHW)[0, 0]
    assert 0 < int(changed_HW.sum()) < 32 * 32
    rows, columns = changed_HW.any(1).sum(), changed_HW.any(0).sum()
    assert int(changed_HW.sum()) == int(rows * columns), "must be one full rectangle"
    torch.testing.assert_close(
        out_NCHW[0, 0][changed_HW], x_NCHW.mean().expand(int(changed_HW.sum()))
    )


def test_equal_seeds_draw_equal_changes():
    x_NCHW = torch.rand(4, 3, 16, 16)
    first, second = (augment(x_NCHW, AugmentSettings(), _rng(5)) for _ in range(2))
    assert torch.equal(first, second)
    assert not torch.equal(first, augment(x_NCHW, AugmentSettings(), _rng(6)))
