"""The VAE's distance in a discriminator's features: by hand, learning, and what it leaves as it was."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from inversionlab import generators
from inversionlab.generators.discriminator import Discriminator
from inversionlab.generators.vae import Vae, VaeLearner


def learner(**more: object) -> VaeLearner:
    settings = Vae.Settings.model_validate({"latent_size": 6, "width": 4, **more})
    made = generators.learner(settings, channels=3, image_size=16, seed=0)
    assert isinstance(made, VaeLearner)
    return made


def pictures(count: int = 8) -> Tensor:
    return torch.rand(count, 3, 16, 16, generator=torch.Generator().manual_seed(1))


def steps(made: VaeLearner, count: int, rate: float) -> list[dict[str, float]]:
    """The losses of so many steps on pictures of two plain colours."""
    x_NCHW = torch.tensor([0.1, 0.9]).repeat(4)[:, None, None, None].expand(8, 3, 16, 16)
    rng, nobody = torch.Generator().manual_seed(0), torch.zeros(8, dtype=torch.int64)
    made.optimizers["vae"].param_groups[0]["lr"] = rate
    found = [made.step(x_NCHW, nobody, rng, lambda p: None) for _ in range(count)]
    return [{k: float(v) for k, v in losses.items()} for losses in found]


def test_settings_that_do_not_use_it_keep_their_name() -> None:
    plain = Vae.Settings().model_dump(mode="json")
    assert "feature_weight" not in plain
    assert "discriminator_width" not in plain
    used = Vae.Settings(feature_weight=100.0, discriminator_width=24)
    assert used.model_dump(mode="json").keys() - plain.keys() == {
        "feature_weight",
        "discriminator_width",
    }
    assert Vae.Settings.model_validate_json(used.model_dump_json()) == used


def test_without_it_the_weights_and_the_training_are_as_they_were() -> None:
    # The discriminator is made after the VAE, so its weights do not move those of the VAE.
    with_it, without = learner(feature_weight=1.0), learner()
    first = with_it.vae.state_dict()
    assert all(torch.equal(v, first[k]) for k, v in without.vae.state_dict().items())
    assert list(without.modules) == ["vae"]
    assert list(with_it.modules) == list(with_it.optimizers) == ["vae", "discriminator"]
    assert with_it.product() is with_it.vae


def test_the_distance_is_a_mean_over_layers_of_parts_of_the_variance() -> None:
    made = learner(feature_weight=1.0)
    assert made.discriminator is not None

    class Maps(Discriminator):
        """Two layers: the pictures, and ten times the pictures."""

        def __init__(self) -> None:
            super().__init__(4, 3, 16)

        def maps(self, x_NCHW: Tensor) -> list[Tensor]:
            return [x_NCHW, 10 * x_NCHW]

    x_NCHW = pictures()
    found = made._feature_distance(Maps(), x_NCHW, x_NCHW + 0.1)
    # A layer's scale does not matter: each has 0.01 / Var x.
    assert float(found) == pytest.approx(0.01 / float(x_NCHW.var()), rel=1e-4)
    same = made._feature_distance(made.discriminator, x_NCHW, x_NCHW)
    assert float(same.detach()) == 0


def test_the_vae_learns_from_the_features() -> None:
    made = learner(feature_weight=50.0, beta=0.01)
    made.optimizers["discriminator"].param_groups[0]["lr"] = 0.0  # a judge that stands still
    losses = steps(made, 60, rate=2e-3)
    assert losses[-1]["features"] < 0.5 * losses[0]["features"]


def test_the_discriminator_learns_to_tell_what_was_decoded() -> None:
    told = [losses["discriminator"] for losses in steps(learner(feature_weight=1.0), 60, rate=0.0)]
    assert told[-1] < 0.7 * told[0]


def test_the_vae_does_not_teach_the_discriminator() -> None:
    made = learner(feature_weight=1.0)
    assert made.discriminator is not None
    made.optimizers["discriminator"].param_groups[0]["lr"] = 0.0
    made.optimizers["discriminator"].param_groups[0]["weight_decay"] = 0.0
    before = [p.clone() for p in made.discriminator.parameters()]
    steps(made, 2, rate=2e-3)
    assert all(
        torch.equal(a, b) for a, b in zip(before, made.discriminator.parameters(), strict=True)
    )


def test_maps_end_in_the_features() -> None:
    net = Discriminator(4, 3, 16)
    maps = net.maps(pictures())
    assert [m.shape[2] for m in maps] == [8, 4]
    assert torch.allclose(maps[-1].flatten(1), net.features(pictures()), atol=1e-6)
