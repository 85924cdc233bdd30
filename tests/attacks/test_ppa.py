"""Plug & play: its distance, its crops, its choice."""

from __future__ import annotations

import math

import pytest
import torch

from inversionlab.attacks.ppa import Ppa, PpaSettings, boxes, cropped, poincare
from inversionlab.attacks.updates import Adam
from inversionlab.core.views import WhiteBox
from tests import toys


def test_the_distance_is_that_of_the_poincare_ball() -> None:
    # Logits 3, -1, -2 have u = (1/2, -1/6, -1/3): |u|^2 = 7/18.
    log_y = torch.tensor([[3.0, -1.0, -2.0]]).log_softmax(1)
    near = 1 - 1e-4
    apart = (0.5 - near) ** 2 + 1 / 36 + 1 / 9
    wanted = math.acosh(1 + 2 * apart / ((1 - 7 / 18) * (1 - near**2)))
    assert float(poincare(log_y, torch.tensor([0]))) == pytest.approx(wanted, rel=1e-4)
    assert float(poincare(log_y, torch.tensor([2]))) > wanted


def test_a_model_that_says_nothing_has_a_finite_distance_and_gradient() -> None:
    log_y = torch.zeros(1, 4).log_softmax(1).requires_grad_(True)
    loss = poincare(log_y, torch.tensor([1]))
    loss.sum().backward()
    assert log_y.grad is not None
    assert bool(loss.isfinite().all() and log_y.grad.isfinite().all())


def test_crops_lie_within_the_picture_and_have_their_area_and_ratio() -> None:
    box_V5 = boxes(500, (0.5, 0.9), (0.8, 1.2), torch.Generator().manual_seed(0), mirrored=True)
    width, height, right, down, way = box_V5.unbind(1)
    assert float((width + right.abs()).max()) <= 1 + 1e-6
    assert float((height + down.abs()).max()) <= 1 + 1e-6
    whole = (width < 1) & (height < 1)
    area, ratio = (width * height)[whole], (width / height)[whole]
    assert 0.5 - 1e-5 <= float(area.min()) < float(area.max()) <= 0.9 + 1e-5
    assert 0.8 - 1e-5 <= float(ratio.min()) < float(ratio.max()) <= 1.2 + 1e-5
    assert 0.4 < float((way < 0).float().mean()) < 0.6


def test_a_crop_shows_its_rectangle() -> None:
    x = torch.arange(64.0).view(1, 1, 8, 8)
    whole = torch.tensor([[1.0, 1.0, 0.0, 0.0, 1.0]])
    torch.testing.assert_close(cropped(x, whole), x)
    torch.testing.assert_close(cropped(x, whole * torch.tensor([1.0, 1, 1, 1, -1])), x.flip(3))
    # The upper right quarter, as its own middle shows: rows 0 to 3, columns 4 to 7.
    quarter = cropped(x, torch.tensor([[0.5, 0.5, 0.5, -0.5, 1.0]]))
    assert float(quarter.mean()) == pytest.approx(float(x[..., :4, 4:].mean()), abs=0.3)


def test_the_pool_is_ranked_by_pictures_and_their_mirror_images() -> None:
    attack = Ppa(PpaSettings(pool=30), toys.context())
    view = WhiteBox(toys.victim(), 1)
    pool = attack.pool(view)
    assert view.shared_queries == attack.shared_queries == Ppa.pool_size(attack.settings) == 60
    with torch.no_grad():
        x = attack.generator.synthesize(pool.point_PD)
        score = sum(toys.victim().log_scores(seen).exp() for seen in (x, x.flip(3)))
    assert isinstance(score, torch.Tensor)
    assert pool.best_KR[2, 0] == score[:, 2].argmax()


def test_the_result_is_the_end_that_is_surest_under_crops() -> None:
    jobs = toys.jobs([(0, 0), (3, 1)])
    attack = Ppa(PpaSettings(pool=40, kept=3, steps=3), toys.context())
    found = attack.run(WhiteBox(toys.victim(), 2), jobs)
    box_V5 = boxes(
        32, (0.5, 0.9), (0.8, 1.2), toys.context().shared_stream("ppa", "choice"), mirrored=True
    )
    seen = [cropped(found.images_NCHW, box.expand(2, -1)) for box in box_V5]
    own = [toys.victim().log_scores(x).exp()[[0, 1], [0, 3]] for x in seen]
    torch.testing.assert_close(found.confidence_N, torch.stack(own).mean(0))
    # One start alone is never surer.
    for rank in range(3):
        one = Ppa(PpaSettings(pool=40, kept=1, steps=3), toys.context())
        alone = one.run(WhiteBox(toys.victim(), 1), toys.jobs([(0, rank)]))
        assert float(alone.confidence_N) <= float(found.confidence_N[0]) + 1e-5


def test_a_rate_falls_to_a_tenth_after_each_milestone() -> None:
    update = Adam(0.5, (0.1, 0.1), milestones=(3, 5))
    point = torch.zeros(1, 1)
    memory, moved = update.memory(point), []
    for step in range(7):
        new, memory = update(point, torch.ones(1, 1), memory, torch.tensor([step]))
        moved.append(round(float(point - new), 4))
        point = new
    assert moved == [0.5, 0.5, 0.5, 0.05, 0.05, 0.005, 0.005]


def test_the_papers_values_are_a_word_away() -> None:
    published = PpaSettings(as_published=True)
    assert (published.update, published.rate, published.steps, published.pool) == (
        "adam",
        0.005,
        50,
        2000,
    )
