"""Fits in generators whose spaces are known by construction."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor

from inversionlab.pipeline.latent_fit import POOL, RADIUS, fit, latent_space, pixel_distance

SIDE = 8
RNG = torch.Generator


class Prior:
    """Draws are normal; it has neither encoder nor styles."""

    latent_size = 16

    def __init__(self) -> None:
        self.weight = torch.randn(self.latent_size, SIDE * SIDE, generator=RNG().manual_seed(0))

    def __call__(self, z_ND: Tensor) -> Tensor:
        return (z_ND @ self.weight / 8).sigmoid().view(-1, 1, SIDE, SIDE)

    def encode(self, x_NCHW: Tensor) -> Tensor | None:
        return None

    def draw(self, count: int, rng: torch.Generator) -> Tensor:
        return torch.randn(count, self.latent_size, generator=rng)

    def critic(self, x_NCHW: Tensor) -> Tensor:
        raise NotImplementedError

    def style(self, z_ND: Tensor) -> Tensor:
        raise NotImplementedError

    def synthesize(self, w_NW: Tensor) -> Tensor:
        raise NotImplementedError


class Encoding(Prior):
    """Its encoder is right but for a shift."""

    def encode(self, x_NCHW: Tensor) -> Tensor | None:
        logit_ND = x_NCHW.flatten(1).logit() * 8
        return logit_ND @ torch.linalg.pinv(self.weight) + 0.3


class Styled(Prior):
    """Styles are the latents plus 5, and the pictures are those of the latents."""

    def style(self, z_ND: Tensor) -> Tensor:
        return z_ND + 5

    def synthesize(self, w_NW: Tensor) -> Tensor:
        return self(w_NW - 5)


def made_by(prior: Prior, count: int = 3) -> Tensor:
    return prior(prior.draw(count, RNG().manual_seed(5)))


def space_of(prior: Prior, x_NCHW: Tensor, **changed: Any) -> Any:
    options = {"styled": False, "like_NCHW": x_NCHW, "rng": RNG().manual_seed(1), **changed}
    return latent_space(prior, **options)


@pytest.mark.parametrize(
    ("prior", "styled"), [(Prior(), False), (Encoding(), False), (Styled(), True)]
)
def test_pictures_of_the_space_are_found(prior: Prior, styled: bool) -> None:
    x_NCHW = made_by(prior)
    space = space_of(prior, x_NCHW, styled=styled)
    before = pixel_distance(space.decode(space.start(x_NCHW)), x_NCHW)
    found = pixel_distance(space.decode(fit(space, x_NCHW, 300)), x_NCHW)
    assert (found < 1e-4).all()
    assert (before > 20 * found).all()


def test_the_start_is_the_nearest_draw_of_the_pool() -> None:
    prior = Prior()
    pool = prior.draw(POOL, RNG().manual_seed(1))
    x_NCHW = prior(pool[[3, 700]])
    assert torch.equal(space_of(prior, x_NCHW).start(x_NCHW), pool[[3, 700]])


def test_pictures_outside_the_space_are_not_reached() -> None:
    prior = Prior()
    x_NCHW = torch.rand(4, 1, SIDE, SIDE, generator=RNG().manual_seed(3)).round()
    space = space_of(prior, x_NCHW)
    assert (pixel_distance(space.decode(fit(space, x_NCHW, 200)), x_NCHW) > 0.1).all()


def test_latents_stay_plausible() -> None:
    prior = Prior()
    # No draw is so long that its picture is black and white.
    x_NCHW = prior(40 * prior.draw(2, RNG().manual_seed(2)))
    space = space_of(prior, x_NCHW)
    length_N = fit(space, x_NCHW, 300).norm(dim=1)
    assert length_N == pytest.approx([RADIUS * 4] * 2, rel=1e-4), "sqrt(16) = 4"
    inside_ND = torch.full((1, 16), 0.5)
    assert torch.equal(space.inside(inside_ND), inside_ND)


def test_styles_stay_among_those_that_are_drawn() -> None:
    prior = Styled()
    x_NCHW = prior(40 * prior.draw(2, RNG().manual_seed(2)))
    space = space_of(prior, x_NCHW, styled=True)
    w_ND = fit(space, x_NCHW, 300)
    # Three standard deviations of normal draws around 5; the pool's own differ by a few per cent.
    assert (w_ND - 5).abs().max() < 3.3
    assert (w_ND - 5).abs().max() > 2.5


def test_a_picture_is_fitted_for_itself() -> None:
    prior = Prior()
    x_NCHW = made_by(prior, 5)
    space = space_of(prior, x_NCHW)
    whole = fit(space, x_NCHW, 20)
    assert torch.allclose(fit(space, x_NCHW[3:4], 20), whole[3:4], atol=1e-5)


def test_features_draw_the_fit_towards_them() -> None:
    prior = Prior()
    x_NCHW = torch.rand(4, 1, SIDE, SIDE, generator=RNG().manual_seed(3))
    space = space_of(prior, x_NCHW)
    weight = torch.randn(SIDE * SIDE, 5, generator=RNG().manual_seed(4))

    def features(a_NCHW: Tensor) -> Tensor:
        return a_NCHW.flatten(1) @ weight

    def alike(z_ND: Tensor) -> float:
        pairs = zip(features(space.decode(z_ND)), features(x_NCHW), strict=True)
        return sum(float(torch.corrcoef(torch.stack(pair))[0, 1]) for pair in pairs) / len(z_ND)

    by_pixels = fit(space, x_NCHW, 100)
    by_both = fit(space, x_NCHW, 100, start_ND=by_pixels, features=features)
    assert alike(by_both) > alike(by_pixels)


def test_the_distance_of_pictures_is_a_sum_over_scales() -> None:
    # A board of 0 and 1 against gray: 1/4 at full size, and equal at every smaller size.
    board = torch.tensor([[0.0, 1.0], [1.0, 0.0]]).repeat(4, 4)[None, None]
    assert pixel_distance(board, torch.full_like(board, 0.5)).tolist() == pytest.approx([0.25])
    # Of a constant difference each of the four scales of 8 x 8 pixels sees all.
    assert pixel_distance(board, board + 0.1).tolist() == pytest.approx([4 * 0.01])
