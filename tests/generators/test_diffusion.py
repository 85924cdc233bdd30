"""The latent diffusion model: its sampler against cases with a known answer, and its learner."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor, nn

from inversionlab import generators
from inversionlab.generators.diffusion import Denoiser, Diffusion, DiffusionLearner


def _settings(**more) -> Diffusion.Settings:
    shape = {"latent_size": 6, "width": 4, "denoiser_width": 8, "denoiser_blocks": 1}
    return Diffusion.Settings(**{**shape, "sample_steps": 4, **more})


def _net(**more) -> Diffusion:
    torch.manual_seed(0)
    return Diffusion(_settings(**more), channels=3, image_size=16).eval()


def _learner(**more) -> DiffusionLearner:
    made = generators.learner(_settings(**more), channels=3, image_size=16, seed=0)
    assert isinstance(made, DiffusionLearner)
    return made


def _rng(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def _wake(denoiser: Denoiser) -> None:
    """Weights that are not zero, so that the estimate depends on its inputs."""
    nn.init.normal_(denoiser.leave.weight)


@pytest.mark.parametrize(("size", "channels"), [(16, 1), (24, 3), (48, 1), (64, 3)])
def test_sizes(size, channels):
    net = Diffusion(_settings(), channels=channels, image_size=size).eval()
    x_NCHW = net(net.draw(2, _rng()))
    assert x_NCHW.shape == (2, channels, size, size)
    assert 0 <= float(x_NCHW.detach().min()) <= float(x_NCHW.detach().max()) <= 1


class _KnowsTheCode(nn.Module):
    """v where all codes are `c`: the noise is then (u - alpha c) / beta, and v = alpha e - beta c."""

    def __init__(self, code_D: Tensor) -> None:
        super().__init__()
        self.code_D = code_D

    def forward(self, u_ND: Tensor, t_N: Tensor) -> Tensor:
        alpha, beta = (t_N * math.pi / 2).cos()[:, None], (t_N * math.pi / 2).sin()[:, None]
        return alpha * (u_ND - alpha * self.code_D) / beta - beta * self.code_D


@pytest.mark.parametrize("steps", [1, 2, 7])
def test_the_sampler_finds_the_only_code_there_is(steps):
    net = _net(sample_steps=steps)
    code_D = torch.arange(6.0) / 3
    net.denoiser = _KnowsTheCode(code_D)
    net.code_mean_D.fill_(0.5)
    net.code_variance_D.fill_(4.0)
    found_ND = net.code(net.draw(5, _rng()))
    torch.testing.assert_close(found_ND, (0.5 + 2 * code_D).expand(5, 6), atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("steps", [1, 4, 50])
def test_the_sampler_of_gaussian_codes(steps):
    """Codes that are N(0, I) have v = 0, and a step from t to t' then scales by the cosine between."""
    net = _net(sample_steps=steps)  # untrained, the estimate is 0
    z_ND = net.draw(5, _rng())
    expected_ND = z_ND * math.cos(math.pi / 2 / steps) ** steps
    torch.testing.assert_close(net.code(z_ND), expected_ND, atol=1e-5, rtol=1e-4)


def test_the_same_latent_gives_the_same_picture_whatever_else_is_drawn():
    net = _net()
    _wake(net.denoiser)
    z_ND = net.draw(3, _rng())
    first_NCHW = net(z_ND)
    torch.rand(7)
    torch.testing.assert_close(net(z_ND[1:2]), first_NCHW[1:2], atol=1e-5, rtol=1e-4)


def test_the_estimate_depends_on_the_time():
    denoiser = _net().denoiser
    _wake(denoiser)
    u_ND = torch.ones(5, 6)
    v_ND = denoiser(u_ND, torch.tensor([0.0, 0.05, 0.5, 0.95, 1.0])).detach()
    assert torch.cdist(v_ND, v_ND).add(torch.eye(5)).min() > 1e-3


def test_standardised_codes():
    net = _net()
    net.code_mean_D.fill_(3.0)
    net.code_variance_D.fill_(4.0)
    out_ND = net.standardise(torch.full((1, 6), 7.0))
    torch.testing.assert_close(out_ND, torch.full((1, 6), 2.0))


def test_running_mean_and_variance():
    """One batch sets them; equal batches keep them."""
    learner = _learner()
    code_ND = 5 + 3 * torch.randn(400, 6, generator=_rng())
    for _ in range(3):
        learner._update_statistics(code_ND, lambda parameters: None)
        torch.testing.assert_close(learner.net.code_mean_D, code_ND.mean(dim=0))
        variance_D = code_ND.var(dim=0, unbiased=False)
        torch.testing.assert_close(learner.net.code_variance_D, variance_D)


def test_the_untrained_loss_is_the_mean_square_of_v():
    """With the estimate 0 and codes of all ones: E[alpha^2 e^2 + beta^2] = 1."""
    loss = _learner()._denoising(torch.ones(20_000, 6), _rng())
    assert loss.item() == pytest.approx(1.0, abs=0.02)


def test_the_denoiser_passes_no_gradient_to_the_autoencoder():
    """The autoencoder learns as it would alone: its weights do not depend on the denoiser's."""
    x_NCHW, nobody = torch.rand(4, 3, 16, 16, generator=_rng()), torch.zeros(4)
    after = []
    for scale in (0.0, 10.0):
        learner = _learner()
        learner.net.denoiser.leave.bias.data.fill_(scale)
        for i in range(2):
            learner.step(x_NCHW, nobody, _rng(i), lambda p: None)
        after.append([p.detach().clone() for p in learner.net.codec.parameters()])
    assert all(torch.equal(a, b) for a, b in zip(*after, strict=True))


@pytest.mark.slow
def test_the_denoiser_learns_codes_of_two_kinds():
    """Codes at +1 and -1 on every entry at once: samples must end near one or the other."""
    learner = _learner(denoiser_width=64, sample_steps=12)
    optimizer = learner.optimizers["denoiser"]
    optimizer.param_groups[0]["lr"] = 5e-3
    rng = _rng()
    for _ in range(300):
        sign_N1 = torch.randint(0, 2, (128, 1), generator=rng) * 2.0 - 1
        loss = learner._denoising(sign_N1.expand(-1, 6), rng)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    code_ND = learner.net.eval().code(learner.net.draw(200, rng)).detach()
    near_N = (code_ND.abs() - 1).abs().max(dim=1).values < 0.5
    assert near_N.float().mean() > 0.85
    assert 0.3 < (code_ND[:, 0] > 0).float().mean() < 0.7
