"""A generator of the user's own: its pictures, what it offers, what names it, and what is refused."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from pydantic import ValidationError
from safetensors.torch import save_file
from torch import Tensor
from torch.nn import functional

from inversionlab import generators
from inversionlab.core.settings import ConfigError, validate
from inversionlab.experiment import Experiment
from inversionlab.generators import GENERATORS
from inversionlab.generators.given import Given, given_inputs, load_given_generator
from tests import tiny
from tests.generators import user_gan
from tests.generators.small import given

ALL = ("encoder", "style", "critic")


def trained(cls: str = "UserGan", channels: int = 3) -> user_gan.UserGan:
    """What the user trained elsewhere."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(1)
        made: user_gan.UserGan = getattr(user_gan, cls)(channels)
    return made.eval()


@pytest.fixture
def weights(tmp_path: Path) -> Path:
    file = tmp_path / "gan.safetensors"
    save_file(trained().state_dict(), file)
    return file


def loaded(weights: Path, cls: str = "UserGan", image_size: int = 24, **more: Any) -> Given:
    return load_given_generator(given(cls, weights=weights, **more), 3, image_size)


def refused(weights: Path, cls: str = "UserGan", **more: Any) -> str:
    with pytest.raises(ConfigError) as caught:
        loaded(weights, cls, **more)
    return str(caught.value)


def test_pictures_are_the_users_in_our_range(weights: Path) -> None:
    z_ND = torch.randn(3, 6)
    expected = (trained()(z_ND) + 1) / 2
    assert torch.equal(loaded(weights)(z_ND), expected)
    assert torch.equal(loaded(weights, "Bright", range="0..1")(z_ND), expected)


@pytest.mark.parametrize("image_size", [16, 24, 50])
def test_pictures_are_resized_with_antialiasing(weights: Path, image_size: int) -> None:
    z_ND = torch.randn(3, 6)
    x_NCHW = loaded(weights, image_size=image_size)(z_ND)
    assert x_NCHW.shape == (3, 3, image_size, image_size)
    same = functional.interpolate(
        (trained()(z_ND) + 1) / 2, size=image_size, mode="bilinear", antialias=True
    )
    torch.testing.assert_close(x_NCHW, same)


def test_all_that_is_offered_is_the_users(weights: Path) -> None:
    mine, theirs = loaded(weights, offers=ALL), trained()
    z_ND, x_NCHW = torch.randn(3, 6), torch.rand(3, 3, 24, 24)
    assert mine.offers_at(mine.settings) == {*ALL}
    assert torch.equal(mine.style(z_ND), theirs.style(z_ND))
    assert torch.equal(mine.synthesize(mine.style(z_ND)), mine(z_ND))
    assert torch.equal(mine.critic(x_NCHW), theirs.critic(2 * x_NCHW - 1)[:, 0])
    encoded = mine.encode(x_NCHW)
    assert encoded is not None
    assert torch.equal(encoded, theirs.encode(2 * x_NCHW - 1))


def test_encoder_and_critic_get_pictures_of_the_users_size(weights: Path) -> None:
    mine = loaded(weights, image_size=48, offers=ALL)
    x_NCHW = torch.rand(2, 3, 48, 48, requires_grad=True)
    assert mine.encode(x_NCHW).shape == (2, 6)  # type: ignore[union-attr]
    mine.critic(x_NCHW).sum().backward()
    assert x_NCHW.grad is not None
    assert bool((x_NCHW.grad != 0).any())


def test_what_is_not_offered_is_not_there_even_if_the_class_has_it(weights: Path) -> None:
    mine = loaded(weights)
    assert mine.offers_at(mine.settings) == frozenset()
    assert mine.encode(torch.rand(2, 3, 24, 24)) is None
    for call in (mine.critic, mine.style, mine.synthesize):
        with pytest.raises(NotImplementedError):
            call(torch.rand(2, 3, 24, 24))


def test_methods_have_the_names_that_the_settings_give(weights: Path) -> None:
    mine = loaded(weights, offers=("style",), mapping="map", synthesis="synthesize")
    z_ND = torch.randn(2, 6)
    assert torch.equal(mine.style(z_ND), trained().map(z_ND))


def test_a_loaded_generator_is_frozen_and_fits_into_a_built_one(weights: Path) -> None:
    """What a worker does: build the module, and fill it."""
    mine = loaded(weights, offers=ALL)
    assert not mine.training
    assert not any(p.requires_grad for p in mine.parameters())
    built = generators.build(mine.settings, channels=3, image_size=24)
    z_ND = torch.randn(2, 6)
    assert not torch.equal(built.eval()(z_ND), mine(z_ND))
    built.load_state_dict(mine.state_dict())
    assert torch.equal(built.eval()(z_ND), mine(z_ND))


def test_the_dry_run_leaves_the_global_stream_untouched(weights: Path) -> None:
    mine = loaded(weights, offers=ALL)
    before = torch.get_rng_state()
    mine.check()
    assert torch.equal(torch.get_rng_state(), before)


BROKEN = "breaks the gradient from pictures to latents"


@pytest.mark.parametrize(
    ("cls", "told"),
    [
        ("Pair", "must return floats for latents of shape (2, 6), but returned tuple"),
        ("Flat", "must return pictures (2, 3, H, W), as the data has them, but returned (2, 1728)"),
        ("Oblong", "must return square pictures, but returned (2, 3, 24, 20)"),
        ("Integers", "must return floats for latents of shape (2, 6), but returned torch.int64"),
        ("NotANumber", "returns numbers that are not finite for latents of shape (4, 6)"),
        ("Noisy", "gives another picture for the same latent; switch its noise off"),
        ("Mixing", "its picture of a latent depends on the other latents of the batch"),
        ("Constant", "gives the same picture for every latent"),
        ("Detached", BROKEN),
        ("ThroughNumpy", BROKEN),
        ("Exits", "fails on latents of shape (2, 6): it calls sys.exit(3)"),
    ],
)
def test_a_wrong_generator_is_refused_by_name(weights: Path, cls: str, told: str) -> None:
    text = refused(weights, cls)
    assert text.startswith(f"path = tests.generators.user_gan:{cls}")
    assert told in text


@pytest.mark.parametrize(
    ("cls", "named", "told"),
    [
        ("UserGan", "0..1", "set `range: -1..1`"),
        ("Bright", "-1..1", "set `range: 0..1`"),
        ("Bytes", "-1..1", "bring them to one of 0..1 or -1..1 in the class"),
        ("Bytes", "0..1", "bring them to one of 0..1 or -1..1 in the class"),
    ],
)
def test_pictures_of_another_range_are_refused_with_the_right_one(
    weights: Path, cls: str, named: str, told: str
) -> None:
    text = refused(weights, cls, range=named)
    assert text.startswith(
        f"range = {named}: the pixels of tests.generators.user_gan:{cls} go from"
    )
    assert told in text


def test_a_few_pixels_outside_the_range_are_cut_off(
    weights: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plain = user_gan.UserGan.synthesize

    def overshooting(self: user_gan.UserGan, w: Tensor) -> Tensor:
        x = plain(self, w).clone()
        x[..., :1] *= 9  # one column of 24
        return x

    monkeypatch.setattr(user_gan.UserGan, "synthesize", overshooting)
    x_NCHW = loaded(weights)(torch.randn(8, 6))
    assert float(x_NCHW.min()) == 0
    assert float(x_NCHW.max()) == 1


@pytest.mark.parametrize(
    ("cls", "more", "told"),
    [
        ("UserGan", {"offers": ("critic",), "critic": "judge"}, "critic = judge: "),
        ("UserGan", {"offers": ("style",), "mapping": "mapping"}, "mapping = mapping: "),
        ("CriticOfBatch", {"offers": ("critic",)}, "a number for each picture, (4,), but"),
        ("CriticWithoutGradient", {"offers": ("critic",)}, "from the critic to pictures"),
        ("EncoderOfStyles", {"offers": ("encoder",)}, "latents (4, 6), but returned (4, 8)"),
        ("StylePerLayer", {"offers": ("style",)}, "style vectors (4, W), but returned (4, 3, 8)"),
        (
            "OtherSynthesis",
            {"offers": ("style",)},
            "synthesis = synthesize: must make the pictures",
        ),
        ("UserGan", {"latent_size": 7, "arguments": {}}, "(latent_size = 7): fails on latents"),
        ("UserGan", {"arguments": {"depth": 3}}, "cannot be built with arguments {'depth': 3}"),
        ("UserGam", {}, "has no `UserGam`; did you mean `UserGan`?"),
        ("no_module", {"arguments": {}}, "must make a torch.nn.Module"),
    ],
)
def test_what_the_settings_promise_and_the_class_lacks_is_refused(
    weights: Path, cls: str, more: dict[str, Any], told: str
) -> None:
    assert told in refused(weights, cls, **more)


def test_wrong_weights_are_refused(weights: Path, tmp_path: Path) -> None:
    assert "weights = " in refused(tmp_path / "none.safetensors")
    assert "none.safetensors" in refused(tmp_path / "none.safetensors")
    state = trained().state_dict()
    del state["look.bias"]
    save_file(state, weights)
    text = refused(weights)
    assert text.startswith(f"weights = {weights}: ")
    assert "look.bias" in text


def test_it_is_named_by_settings_weights_and_code_but_not_by_places(
    weights: Path, tmp_path: Path
) -> None:
    moved = tmp_path / "moved.safetensors"
    moved.write_bytes(weights.read_bytes())
    mine = given_inputs(given("UserGan", weights=weights, offers=("style", "critic")))
    assert mine == given_inputs(given("UserGan", weights=moved, offers=("critic", "style")))
    assert str(tmp_path) not in str(mine)
    others = [
        given_inputs(given("UserGan", weights=weights)),
        given_inputs(given("Bright", weights=weights, offers=("style", "critic"))),
    ]
    save_file({**trained().state_dict(), "look.bias": torch.ones(1)}, moved)
    others.append(given_inputs(given("UserGan", weights=moved, offers=("style", "critic"))))
    assert mine not in others


def test_an_edit_of_its_code_names_another_one(
    weights: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    code = tmp_path / "code"
    code.mkdir()
    (code / "gan_of_a_user.py").write_text("import gan_layers_of_a_user\n\nclass Gan: pass\n")
    (code / "gan_layers_of_a_user.py").write_text("x = 1")
    monkeypatch.syspath_prepend(str(code))
    settings = given("UserGan", weights=weights, path="gan_of_a_user:Gan")
    before = given_inputs(settings)
    assert given_inputs(settings) == before
    (code / "gan_layers_of_a_user.py").write_text("x = 2")
    assert given_inputs(settings) != before


def test_it_has_no_training() -> None:
    with pytest.raises(ValidationError, match="training"):
        given("UserGan", training={"epochs": 3})
    with pytest.raises(TypeError, match="is not trained"):
        generators.learner(given("UserGan"), channels=3, image_size=16, seed=0)
    assert not GENERATORS["given"].trains


RECIPE = given("UserGan", path="no_such_module_of_mine:Gan").model_dump(mode="json")


def recipe(**changed: Any) -> Any:
    return validate(Experiment, tiny.recipe(**changed), origin="test")


def test_a_recipe_is_validated_without_the_users_code() -> None:
    assert recipe(generator=RECIPE).generator.path == "no_such_module_of_mine:Gan"


def test_an_attack_gets_it_only_if_it_offers_what_the_attack_needs() -> None:
    attacks = [{"name": "gmi"}, {"name": "mirror"}]
    offering = {**RECIPE, "offers": ["critic", "style"]}
    assert recipe(generator=offering, attacks=attacks).generator.offers == ("critic", "style")
    with pytest.raises(ConfigError, match="`mirror` needs a generator with style"):
        recipe(generator={**RECIPE, "offers": ["critic"]}, attacks=attacks)
    labelled = [{"name": "gmi", "generator": "mine"}]
    assert recipe(generators={"mine": offering}, attacks=labelled)
    with pytest.raises(ConfigError, match="generator = mine: `gmi` needs a generator with critic"):
        recipe(generators={"mine": RECIPE}, attacks=labelled)


def test_a_defender_trains_a_generator_of_its_own() -> None:
    offering = {**RECIPE, "offers": ["critic"]}
    with pytest.raises(ConfigError, match="defense_generator: `given` is not trained"):
        recipe(defense_generator=offering)
    defense = {"name": "gan_fake_samples", "generator": "mine"}
    given_one = {"generators": {"mine": offering}, "defense": defense, "sweep": None}
    with pytest.raises(ConfigError, match="generator = mine: `given` is not trained"):
        recipe(**given_one)
    with pytest.raises(ConfigError, match="`gan_fake_samples` needs a generator with a critic"):
        recipe(generator=offering, defense={"name": "gan_fake_samples"}, sweep=None)
