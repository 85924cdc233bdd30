"""The StyleGAN-type generator: mapping, modulation, and what its learner does."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor
from torch.nn import functional

from inversionlab import generators
from inversionlab.generators import adaptive_training
from inversionlab.generators.adaptive_training import steepness, steered
from inversionlab.generators.blocks import averaged
from inversionlab.generators.gan_training import GanLearner
from inversionlab.generators.style_gan import Modulated, StyleGan


def _settings(**more) -> StyleGan.Settings:
    shape = {"latent_size": 6, "style_size": 5, "width": 4, "discriminator_width": 4}
    return StyleGan.Settings(**{**shape, **more})


def _net(seed: int = 0, image_size: int = 16) -> StyleGan:
    torch.manual_seed(seed)
    return StyleGan(_settings(), channels=3, image_size=image_size).eval()


def _learner(**more) -> GanLearner:
    made = generators.learner(_settings(**more), channels=3, image_size=16, seed=0)
    assert isinstance(made, GanLearner)
    return made


def _rng(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def _step(learner: GanLearner, x_NCHW: Tensor, seed: int = 0, sync=lambda p: None):
    nobody = torch.zeros(len(x_NCHW), dtype=torch.int64)
    return learner.step(x_NCHW, nobody, _rng(seed), sync)


@pytest.mark.parametrize(("size", "channels"), [(16, 1), (24, 3), (48, 1), (64, 3)])
def test_sizes(size, channels):
    net = StyleGan(_settings(), channels=channels, image_size=size).eval()
    z_ND = net.draw(2, _rng())
    assert net.style(z_ND).shape == (2, 5)
    assert net(z_ND).shape == (2, channels, size, size)
    assert net.critic(net(z_ND)).shape == (2,)


def test_pictures_are_those_of_their_styles():
    net = _net()
    z_ND = net.draw(3, _rng())
    assert torch.equal(net(z_ND), net.synthesize(net.style(z_ND)))


def test_the_length_of_a_latent_does_not_matter():
    net = _net()
    z_ND = net.draw(3, _rng())
    torch.testing.assert_close(net.style(z_ND), net.style(7 * z_ND))


def test_styles_end_in_a_leaky_relu_that_mirror_can_undo():
    """leaky_relu(w, 5) must be linear in what the last layer's weights make: sqrt(2) (W h + b)."""
    net = _net()
    mapping = net.maker.mapping
    z_ND = net.draw(50, _rng())
    h_NW = z_ND / z_ND.square().mean(dim=1, keepdim=True).sqrt()
    for weight, bias in list(zip(mapping.weights, mapping.biases, strict=True))[:-1]:
        h_NW = math.sqrt(2) * functional.leaky_relu(0.1 * (h_NW @ weight.T + bias), 0.2)
    before_NW = math.sqrt(2) * 0.1 * (h_NW @ mapping.weights[-1].T + mapping.biases[-1])
    w_NW = net.style(z_ND)
    assert (w_NW < 0).any()
    torch.testing.assert_close(functional.leaky_relu(w_NW, 5.0), before_NW, atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize("double", [False, True])
def test_demodulation_brings_maps_to_unit_spread(double):
    """For x whose entries have mean square 0.3557 (a silu's), whatever the styles and the weights."""
    torch.manual_seed(1)
    layer = Modulated(32, 8, 4, double=double)
    layer.weight.data *= 7
    layer.scale.weight.data *= 3
    x_NCHW = math.sqrt(0.3557) * torch.randn(64, 32, 8, 8)
    seen: list[Tensor] = []
    # silu is undone by looking at its input.
    original, functional.silu = functional.silu, lambda x: seen.append(x) or original(x)
    try:
        layer(x_NCHW, torch.randn(64, 4))
    finally:
        functional.silu = original
    inner_NCHW = seen[0][:, :, 2:-2, 2:-2]  # away from the padding
    spread_C = inner_NCHW.square().mean(dim=(0, 2, 3)).sqrt()
    torch.testing.assert_close(spread_C, torch.ones(8), atol=0.05, rtol=0)


def test_modulation_by_hand():
    """3x3 with one input channel: demodulation cancels its style except for the sign."""
    layer = Modulated(1, 1, 1, double=False)
    layer.weight.data.zero_()
    layer.weight.data[0, 0, 1, 1] = 5.0  # 5 times the identity
    layer.scale.weight.data.fill_(1.0)
    layer.scale.bias.data.zero_()
    x_NCHW = torch.rand(2, 1, 4, 4)
    out_NCHW = layer(x_NCHW, torch.tensor([[3.0], [-0.5]]))
    signs = torch.tensor([1.0, -1.0])[:, None, None, None]
    torch.testing.assert_close(out_NCHW, functional.silu(signs * x_NCHW * 0.3557**-0.5))


def test_the_critic_scores_pictures_one_by_one():
    net = _net()
    x_NCHW = torch.rand(4, 3, 16, 16)
    torch.testing.assert_close(net.critic(x_NCHW)[2:3], net.critic(x_NCHW[2:3]))


def test_the_critic_of_the_product_learns_to_prefer_real_pictures():
    learner = _learner()
    x_NCHW = torch.rand(16, 3, 1, 1, generator=_rng()).expand(-1, -1, 16, 16)  # plain colours
    for i in range(30):
        _step(learner, x_NCHW, seed=i)
    net = learner.product().eval()
    noise_NCHW = torch.rand(16, 3, 16, 16, generator=_rng(1))
    assert net.critic(x_NCHW).mean() > net.critic(noise_NCHW).mean() + 0.5


def test_steepness_by_hand():
    # The score sum(x^2) of pictures of 2 pixels has the squared gradient 4 sum(x^2).
    x_NCHW = torch.tensor([[1.0, 2.0], [0.0, 3.0]]).view(2, 1, 1, 2)
    scale = torch.tensor(1.0, requires_grad=True)
    slope = steepness(lambda x: scale * x.square().sum(dim=(1, 2, 3)), x_NCHW)
    assert slope.item() == pytest.approx((4 * 5 + 4 * 9) / 2)
    (grad,) = torch.autograd.grad(slope, scale)
    assert grad.item() == pytest.approx(2 * 28)  # it can be learned from


@pytest.mark.parametrize(
    ("p", "sign", "expected"),
    [(0.3, 0.7, 0.4), (0.3, 0.5, 0.2), (0.05, 0.5, 0.0), (0.75, 0.9, 0.8)],
)
def test_steered(p, sign, expected):
    out = steered(p, torch.tensor(sign), target=0.6, step=0.1, limit=0.8)
    assert out == pytest.approx(expected)


def test_a_value_is_averaged_over_the_workers():
    def sync(parameters):
        for p in parameters:
            p.grad.add_(-1.0)

    assert averaged(
        torch.tensor([2.0, 3.0, -1.0, 5.0]).sign().mean(), sync
    ).item() == pytest.approx(-0.5)


@pytest.mark.parametrize(("steps", "penalised"), [(0.0, True), (1.0, False), (16.0, True)])
def test_the_penalty_comes_every_sixteenth_step(steps, penalised, monkeypatch):
    seen = []
    penalty = lambda score, x_NCHW: seen.append(1) or steepness(score, x_NCHW)  # noqa: E731
    monkeypatch.setattr(adaptive_training, "steepness", penalty)
    learner = _learner()
    learner.counters["steps"] = steps
    _step(learner, torch.rand(4, 3, 16, 16))
    assert bool(seen) is penalised


def test_augmentation_is_steered_by_real_pictures():
    learner = _learner(ada_pictures=80)
    learner.counters["augment_p"] = 0.3
    learner.discriminator.score.bias.data.fill_(100.0)  # every picture looks real
    _step(learner, torch.rand(8, 3, 16, 16))
    assert learner.counters["augment_p"] == pytest.approx(0.4)


def test_the_product_is_the_average_of_mapping_and_synthesis():
    learner = _learner(average_pictures=8)
    learner.counters["pictures"] = 1e6  # late: the half-life of 8 pictures holds
    start = learner.product().maker.start_CSS.detach().clone()
    _step(learner, torch.rand(8, 3, 16, 16))
    expected = (start + learner.generator.start_CSS) / 2
    torch.testing.assert_close(learner.product().maker.start_CSS, expected, check_stride=False)
    assert learner.product().discriminator is learner.discriminator
