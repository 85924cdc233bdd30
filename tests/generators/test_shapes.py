"""Sizes, ranges and names of every generator."""

from __future__ import annotations

import pytest
import torch
from pydantic import TypeAdapter

from inversionlab import generators
from inversionlab.core.settings import ConfigError
from inversionlab.generators import GENERATORS, AnyGenerator
from inversionlab.generators.blocks import pyramid
from tests.generators.small import TRAINED, small


def _build(name, channels=3, image_size=16):
    # Three classes of a target model, for generators that learn from its scores.
    settings = small(name, channels)
    return generators.build(settings, channels=channels, image_size=image_size, classes=3)


@pytest.mark.parametrize(
    ("size", "side", "steps"),
    [(16, 4, 2), (48, 3, 4), (64, 4, 4), (88, 11, 3), (112, 7, 4), (256, 4, 6)],
)
def test_pyramid(size, side, steps):
    assert pyramid(size) == (side, steps)
    assert side * 2**steps == size


@pytest.mark.parametrize("size", [8, 20, 60, 264])
@pytest.mark.parametrize("name", TRAINED)
def test_sizes_that_do_not_fit_are_refused(name, size):
    with pytest.raises(ConfigError, match=f"image_size = {size}"):
        _build(name, image_size=size)


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("size", [16, 24, 48, 112])
@pytest.mark.parametrize("name", sorted(GENERATORS))
def test_pictures_have_the_shape_and_range(name, size, channels):
    generator = _build(name, channels, size).eval()
    z_ND = 5 * generator.draw(3, torch.Generator().manual_seed(0))
    assert z_ND.shape == (3, generator.latent_size)
    # The settings name the length of the noise; codes and conditions come on top.
    assert generator.latent_size >= 6
    x_NCHW = generator(z_ND)
    assert x_NCHW.shape == (3, channels, size, size)
    assert 0 <= x_NCHW.min().item() <= x_NCHW.max().item() <= 1


@pytest.mark.parametrize("name", sorted(GENERATORS))
def test_a_picture_does_not_depend_on_its_batch_and_follows_its_latent(name):
    generator = _build(name)
    generator.train()(torch.randn(16, generator.latent_size))  # moves the running statistics
    generator.eval()
    z_ND = torch.randn(4, generator.latent_size, requires_grad=True)
    x_NCHW = generator(z_ND)
    torch.testing.assert_close(x_NCHW[2:3], generator(z_ND[2:3]), atol=1e-5, rtol=1e-4)
    x_NCHW[0].sum().backward()
    assert z_ND.grad is not None
    # Of a conditional generator's latent the entries after the noise only name the class.
    noise = getattr(generator, "noise_size", generator.latent_size)
    assert (z_ND.grad[0, :noise] != 0).all()
    assert (z_ND.grad[1:] == 0).all()


@pytest.mark.parametrize("name", TRAINED)
def test_the_product_fits_into_a_built_generator(name):
    """What the artifact store does: weights of the learner's product into `build`'s network."""
    settings = small(name)
    learner = generators.learner(settings, channels=1, image_size=16, seed=3, classes=3)
    built = _build(name, channels=1)
    built.load_state_dict(learner.product().state_dict())
    z_ND = torch.randn(2, built.latent_size)
    assert torch.equal(built.eval()(z_ND), learner.product().eval()(z_ND))


@pytest.mark.parametrize("name", sorted(GENERATORS))
def test_each_generator_is_chosen_by_its_name(name):
    made = TypeAdapter(AnyGenerator).validate_json(small(name).model_dump_json())
    assert type(made) is GENERATORS[name].Settings
    assert made == small(name)


@pytest.mark.parametrize("name", sorted(GENERATORS))
def test_what_is_offered_works_and_scores_each_picture_alone(name):
    x_NCHW = torch.rand(3, 3, 16, 16)
    generator = _build(name).eval()
    encoded = generator.encode(x_NCHW)
    assert (encoded is not None) == ("encoder" in generator.offers)
    if encoded is not None:
        assert encoded.shape == (3, generator.latent_size)
    if "critic" in generator.offers:
        score_N = generator.critic(x_NCHW)
        assert score_N.shape == (3,)
        torch.testing.assert_close(generator.critic(x_NCHW[1:2]), score_N[1:2])
    else:
        with pytest.raises(NotImplementedError, match="keeps no discriminator"):
            generator.critic(x_NCHW)


@pytest.mark.parametrize("name", sorted(n for n in GENERATORS if GENERATORS[n].learns_from_target))
def test_a_generator_that_learns_from_the_target_needs_classes(name):
    with pytest.raises(ConfigError, match="classes = 0"):
        generators.build(small(name), channels=3, image_size=16)
