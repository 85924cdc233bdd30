"""The losses of the pixel attack, by hand; `tests/contracts/test_attacks.py` tries each of them."""

from __future__ import annotations

import math

import pytest
import torch

from inversionlab.attacks.descent import ForwardPass
from inversionlab.attacks.pixel_gray_box import PixelGrayBox, PixelGrayBoxSettings
from tests import toys


def loss(log_y_NK: torch.Tensor, **settings: object) -> float:
    attack = PixelGrayBox(PixelGrayBoxSettings(**settings), toys.context())  # type: ignore[arg-type]
    log_p_N = log_y_NK[:, 0]
    seen = ForwardPass(torch.zeros(len(log_y_NK), 1, 2, 2), log_y_NK, log_p_N, -log_p_N)
    return float(attack._loss(seen))


HALF = torch.tensor([[0.5, 0.25, 0.25]]).log()
"""The target's score is 0.5; the entropy is 1.5 bits."""


def test_each_loss_by_hand() -> None:
    assert loss(HALF) == pytest.approx(math.log(2))
    # |y - y^|^2 = 0.25 + 2 x 0.0625, less the constant 1 of eq. 6.
    assert loss(HALF, loss="lse") == pytest.approx(0.375 - 1)
    assert loss(HALF, loss="infomax") == pytest.approx(math.log(2) + 1.5 * math.log(2))


def test_infomax_prefers_an_answer_that_says_more_at_equal_confidence() -> None:
    spread = torch.tensor([[0.5, 0.25, 0.25]]).log()
    sharp = torch.tensor([[0.5, 0.5, 0.0]]).log()
    assert loss(sharp) == loss(spread)
    assert loss(sharp, loss="infomax") < loss(spread, loss="infomax")


def test_as_published_it_is_the_least_square_error() -> None:
    assert PixelGrayBoxSettings().loss == "cross_entropy"
    assert PixelGrayBoxSettings(as_published=True).loss == "lse"
    assert PixelGrayBoxSettings(as_published=True, loss="infomax").loss == "infomax"
