"""Inverted samples of every generator with a critic, which `gan_fake_samples` needs."""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest
import torch
from torch import Tensor

from inversionlab import generators
from inversionlab.defenses.gan_fake_samples import GanFakeSamplesSettings, inverted_samples
from inversionlab.generators import GENERATORS, Generator
from tests import defended

WITH_CRITIC = sorted(name for name, kind in GENERATORS.items() if "critic" in kind.offers)


def untrained(name: str) -> Generator:
    """Untrained, except for its running statistics."""
    settings = GENERATORS[name].Settings(latent_size=6, width=4)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(3)
        found = generators.build(
            settings, channels=3, image_size=defended.SIZE, classes=defended.CLASSES
        )
        found.train()(torch.randn(32, found.latent_size))
    return found.eval().requires_grad_(False)


def inverted(generator: Generator, seed: int = 5, **changed: Any) -> Tensor:
    # Not validated, so that the label may have no weight.
    given = {"lambda_identity": 100.0, "steps": 12, "rate": 0.2, **changed}
    settings = GanFakeSamplesSettings.model_construct(**given)
    ctx = dataclasses.replace(defended.context(), generator=generator, seed=seed)
    return inverted_samples(settings, ctx, defended.recognizer(), (0, 2), 3, "some")  # type: ignore[arg-type]


def label_losses(images_NCHW: Tensor) -> Tensor:
    log_p_NK = defended.recognizer().log_scores(images_NCHW.float() / 255)  # type: ignore[operator]
    return -log_p_NK[torch.arange(6), torch.tensor([0, 0, 0, 2, 2, 2])]


def test_these_have_a_critic() -> None:
    assert {"cgan", "infogan", "style_gan", "wgan_gp"} <= set(WITH_CRITIC)


@pytest.mark.parametrize("name", WITH_CRITIC)
def test_samples_come_nearer_to_their_label_than_their_initial_draws(name: str) -> None:
    generator = untrained(name)
    images = inverted(generator)
    assert images.dtype == torch.uint8
    assert images.shape == (6, 3, defended.SIZE, defended.SIZE)
    before_N, after_N = label_losses(inverted(generator, steps=1)), label_losses(images)
    # Bytes are rounded floats.
    assert bool((after_N <= before_N + 0.02).all())
    assert float(after_N.mean()) < float(before_N.mean()) - 0.001
    assert len({tuple(image.flatten().tolist()) for image in images}) == 6, "all are different"


@pytest.mark.parametrize("name", WITH_CRITIC)
def test_every_picture_of_the_search_is_in_range(name: str) -> None:
    """Far from the prior too: 12 steps of 0.2, then 4 steps of 10."""
    generator, seen = untrained(name), []
    generator.register_forward_hook(lambda module, given, made: seen.append(made.detach()))
    inverted(generator)
    inverted(generator, steps=4, rate=10.0)
    every = torch.cat(seen)
    assert bool(every.isfinite().all())
    assert 0 <= float(every.min()) <= float(every.max()) <= 1


@pytest.mark.parametrize("name", WITH_CRITIC)
def test_the_seed_alone_decides(name: str) -> None:
    generator = untrained(name)
    torch.manual_seed(1)
    one = inverted(generator)
    torch.manual_seed(2)
    assert torch.equal(inverted(untrained(name)), one)
    assert not torch.equal(inverted(generator, seed=6), one)


@pytest.mark.parametrize("name", WITH_CRITIC)
def test_the_search_climbs_the_critic_if_the_label_has_no_weight(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each sample's gradient is a negative multiple of the critic's gradient at that sample."""
    generator, seen = untrained(name), []

    def step(self: torch.optim.Adam) -> None:
        (z_ND,) = self.param_groups[0]["params"]
        seen.append((z_ND.detach().clone(), z_ND.grad.clone()))

    monkeypatch.setattr(torch.optim.Adam, "step", step)
    inverted(generator, steps=1, lambda_identity=0.0)
    ((z_ND, slope_ND),) = seen
    z_ND.requires_grad_(True)
    (critic_ND,) = torch.autograd.grad(generator.critic(generator(z_ND)).sum(), z_ND)
    assert bool((slope_ND.norm(dim=1) > 0).all())
    ratio_N = slope_ND.norm(dim=1) / critic_ND.norm(dim=1)
    # softplus has slopes between 0 and 1.
    assert 0 < float(ratio_N.min()) <= float(ratio_N.max()) < 1
    torch.testing.assert_close(slope_ND, -ratio_N[:, None] * critic_ND, rtol=1e-3, atol=1e-7)
