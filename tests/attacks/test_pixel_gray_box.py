"""The losses of the pixel attack, by hand; `tests/contracts/test_attacks.py` tries each of them."""

from __future__ import annotations

import dataclasses
import math

import pytest
import torch

from inversionlab.attacks.descent import ForwardPass
from inversionlab.attacks.jobs import AttackJobs
from inversionlab.attacks.pixel_gan_seed import PixelGanSeed, PixelGanSeedSettings
from inversionlab.attacks.pixel_gray_box import PixelGrayBoxSettings, pixel_loss
from tests import toys


def loss(log_y_NK: torch.Tensor, loss: str = "cross_entropy") -> float:
    log_p_N = log_y_NK[:, 0]
    seen = ForwardPass(torch.zeros(len(log_y_NK), 1, 2, 2), log_y_NK, log_p_N, -log_p_N)
    return float(pixel_loss(loss, seen))


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


def test_every_clone_starts_from_a_face_of_its_own_as_long_as_there_are_any() -> None:
    """Pool and starts of `pixel_gan_seed`: repeat r takes the face of rank r by the target's score."""
    toy = toys.context()
    twice_NCHW = torch.cat([toy.public_NCHW[:], toy.public_NCHW[:].flip(3)])
    context = dataclasses.replace(toy, public_NCHW=twice_NCHW)
    attack = PixelGanSeed(PixelGanSeedSettings(pool=100), context)
    view = attack.open(toys.victim(), 1)
    pool = attack.pool(view)
    assert pool.best_KR.shape[1] == len(pool.point_PD) > 64
    jobs = AttackJobs(
        torch.zeros(len(pool.point_PD), dtype=torch.int64), torch.arange(len(pool.point_PD))
    )
    starts_ND, _ = pool.starts(jobs)
    assert len(starts_ND.unique(dim=0)) == len(pool.point_PD.unique(dim=0))
    with torch.no_grad():
        score_N = toys.victim().log_scores(context.prior(starts_ND))[:, 0]
    assert bool((score_N[:-1] >= score_N[1:] - 1e-5).all())


def test_as_published_it_is_the_least_square_error() -> None:
    assert PixelGrayBoxSettings().loss == "cross_entropy"
    assert PixelGrayBoxSettings(as_published=True).loss == "lse"
    assert PixelGrayBoxSettings(as_published=True, loss="infomax").loss == "infomax"
