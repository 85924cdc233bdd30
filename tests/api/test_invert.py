"""`invert`: what it takes, what it returns, what it leaves alone, and what it refuses."""

from __future__ import annotations

import copy
from functools import partial
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

import inversionlab
from inversionlab.attacks import ATTACKS
from inversionlab.core.settings import ConfigError
from inversionlab.generators.vae import Vae
from tests.given.outside_model import PEOPLE, SIDE, OutsideNet, made_up_people

PUBLIC, LABELS = made_up_people()
SHORT = {"epochs": 1, "batch_size": 32}
VAE = {"name": "vae", "latent_size": 4, "width": 4, "training": SHORT}
STYLE = {
    "name": "style_gan",
    "latent_size": 6,
    "width": 4,
    "discriminator_width": 4,
    "training": SHORT,
}
WHITE_BOX = {"name": "latent_white_box", "steps": 3}
BLACK_BOX = {"name": "latent_black_box", "steps": 2}
MIRROR = {"name": "mirror", "steps": 3, "candidates": 4, "mapped": 16}
quiet = partial(inversionlab.invert, public=PUBLIC, say=None)


@pytest.fixture(scope="module")
def net() -> OutsideNet:
    """A network that recognizes its people, trained on pictures normalized by 0.5 and 0.5."""
    torch.manual_seed(0)
    made = OutsideNet()
    optimizer = torch.optim.AdamW(made.parameters(), lr=1e-2)
    for _ in range(40):
        loss = nn.functional.cross_entropy(made((PUBLIC - 0.5) / 0.5), LABELS)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    return made


class Decoder(nn.Module):
    """A generator of a caller's own: a linear map with batch normalization, which in training mixes a batch."""

    def __init__(self, *, last: nn.Module | None = None, channels: int = 3) -> None:
        super().__init__()
        torch.manual_seed(1)
        self.layers = nn.Sequential(
            nn.Linear(4, channels * SIDE * SIDE),
            nn.BatchNorm1d(channels * SIDE * SIDE),
            last or nn.Sigmoid(),
            nn.Unflatten(1, (channels, SIDE, SIDE)),
        )

    def forward(self, z: Tensor) -> Tensor:
        return self.layers(z)


def test_the_pictures_of_every_target_and_repeat_with_what_they_cost(net: OutsideNet) -> None:
    found = quiet(net, [3, 1], WHITE_BOX, generator=VAE, repeats=2)
    assert found.images.shape == (4, 3, SIDE, SIDE)
    assert found.images.dtype == torch.float32
    assert 0 <= float(found.images.min()) < float(found.images.max()) <= 1
    assert found.target.tolist() == [3, 3, 1, 1]
    assert found.repeat.tolist() == [0, 1, 0, 1]
    # One query for each update, and one for the picture at the end.
    assert found.steps.tolist() == [3] * 4
    assert found.queries.tolist() == [4] * 4
    assert bool(((found.confidence > 0) & (found.confidence < 1)).all())
    # All public pictures are starts to choose from, for all targets together.
    assert found.training_queries == len(PUBLIC)
    assert found.attack == "latent_white_box"


def test_it_can_be_used_like_a_tensor_of_pictures(net: OutsideNet) -> None:
    found = quiet(net, 2, {"name": "random_public"})
    assert len(found) == 1
    assert found.shape == (1, 3, SIDE, SIDE)
    assert torch.equal(found[0], found.images[0])
    assert torch.equal(found[found.target == 2], found.images)
    assert torch.equal(torch.stack(list(found)), found.images)
    assert np.array_equal(np.asarray(found), found.images.numpy())
    assert np.asarray(found, dtype=np.float64).dtype == np.float64
    assert repr(found).startswith("Inverted((1, 3, 16, 16) by random_public")


def test_a_notebook_gets_every_picture_with_its_class(net: OutsideNet) -> None:
    shown = quiet(net, [0, 5], WHITE_BOX, generator=VAE)._repr_html_()
    assert shown.count("data:image/png;base64,") == 2
    assert 'alt="class 5: 0.' in shown
    many = quiet(net, 0, {"name": "random_public"}, repeats=50)._repr_html_()
    assert many.count("<img") == 40
    assert "and 10 more" in many


def test_nothing_of_the_callers_changes(net: OutsideNet) -> None:
    mine, decoder = copy.deepcopy(net).train(), Decoder().train()
    mine.head.bias.requires_grad_(False)
    before = [(m.training, copy.deepcopy(m.state_dict())) for m in (mine, decoder)]
    torch.manual_seed(7)
    expected = torch.rand(3)
    torch.manual_seed(7)
    quiet(mine, 1, WHITE_BOX, generator=decoder, latent_size=4)
    quiet(mine, 1, WHITE_BOX, generator=VAE)
    assert torch.equal(torch.rand(3), expected)
    for module, (training, state) in zip((mine, decoder), before, strict=True):
        assert module.training == training
        assert all(p.grad is None for p in module.parameters())
        assert all(torch.equal(v, state[k]) for k, v in module.state_dict().items())
    assert [p.requires_grad for p in mine.head.parameters()] == [True, False]
    assert all(m.training for m in mine.modules())


def test_equal_seeds_give_equal_pictures_however_the_jobs_are_cut(net: OutsideNet) -> None:
    whole = quiet(net, [0, 1, 2], MIRROR, generator=STYLE, seed=3, repeats=2)
    cut = quiet(net, [0, 1, 2], MIRROR, generator=STYLE, seed=3, repeats=2, batch=4)
    torch.testing.assert_close(whole.images, cut.images, atol=1e-4, rtol=0)
    alone = quiet(net, 2, MIRROR, generator=STYLE, seed=3)
    torch.testing.assert_close(whole[4:5], alone.images, atol=1e-4, rtol=0)
    other = quiet(net, 2, MIRROR, generator=STYLE, seed=4)
    assert not torch.allclose(alone.images, other.images, atol=1e-2)


def test_preprocessing_is_inside_the_model(net: OutsideNet) -> None:
    def outside(x: Tensor) -> Tensor:
        return net.eval()((x - 0.5) / 0.5)

    settings = {"mean": [0.5], "std": [0.5]}
    inside = quiet(net, 1, BLACK_BOX, generator=VAE, preprocessing=settings)
    # The same model as a function that does it by itself, without gradients.
    by_hand = quiet(outside, 1, BLACK_BOX, generator=VAE)
    torch.testing.assert_close(inside.confidence, by_hand.confidence, atol=1e-5, rtol=1e-4)
    without = quiet(net, 1, BLACK_BOX, generator=VAE)
    assert not torch.allclose(inside.confidence, without.confidence, atol=1e-3)


def test_more_steps_find_pictures_that_the_model_takes_for_the_target(net: OutsideNet) -> None:
    normalized = {"mean": [0.5], "std": [0.5]}
    long = {**VAE, "training": {"epochs": 40, "batch_size": 24, "learning_rate": 0.01}}
    attack = partial(quiet, net, list(range(PEOPLE)), preprocessing=normalized, generator=long)
    # From a mean face: the best of all public faces is near the end already.
    few, many = (attack({"name": "latent_white_box", "pool": 0, "steps": n}) for n in (1, 60))
    assert float(many.confidence.mean()) > float(few.confidence.mean()) + 0.1
    net.eval()
    with torch.no_grad():
        own = net((many.images - 0.5) / 0.5).softmax(1).gather(1, many.target[:, None])[:, 0]
    # The confidence that it reports is the model's own.
    torch.testing.assert_close(own, many.confidence, atol=1e-4, rtol=1e-3)


class Recognizer:
    """Anything with `log_scores` and `classes`; its gradients can be switched off."""

    classes = PEOPLE

    def __init__(self, net: nn.Module, gradients: bool) -> None:
        self.net, self.gradients = net.eval(), gradients

    def log_scores(self, x: Tensor) -> Tensor:
        with torch.set_grad_enabled(self.gradients and torch.is_grad_enabled()):
            return self.net(x).log_softmax(1)


def test_anything_with_log_scores_is_a_model(net: OutsideNet) -> None:
    mine = quiet(Recognizer(net, gradients=True), 1, WHITE_BOX, generator=VAE)
    theirs = quiet(net, 1, WHITE_BOX, generator=VAE)
    # The module is run folded, the object as it is: their last bits differ, and the descent amplifies that.
    # 1e-3 is a quarter of a step of a stored picture.
    torch.testing.assert_close(mine.images, theirs.images, atol=1e-3, rtol=0)
    with pytest.raises(ConfigError, match="this model gives no gradients"):
        quiet(Recognizer(net, gradients=False), 1, WHITE_BOX, generator=VAE)


def test_a_model_of_labels_says_how_many_classes_it_has(net: OutsideNet) -> None:
    def label(x: Tensor) -> Tensor:
        return net.eval()(x).argmax(1)

    attack = {"name": "label_only", "steps": 2}
    found = quiet(label, 1, attack, generator=VAE, classes=PEOPLE)
    assert int(found.queries[0]) > 0
    with pytest.raises(ConfigError, match="classes: is missing; a model that answers with labels"):
        quiet(label, 1, attack, generator=VAE)
    with pytest.raises(ConfigError, match=r"but this model gives labels alone; use one of: label"):
        quiet(label, 1, BLACK_BOX, generator=VAE, classes=PEOPLE)


def test_generators_come_as_modules_objects_names_and_settings(net: OutsideNet) -> None:
    decoder = Decoder().eval()

    class Prior:
        """`GenerativePrior`, with a prior of its own and an encoder."""

        latent_size = 4
        drawn = 0

        def __call__(self, z: Tensor) -> Tensor:
            return decoder(z)

        def encode(self, x: Tensor) -> Tensor:
            return x.flatten(1)[:, :4]

        def draw(self, count: int, rng: torch.Generator) -> Tensor:
            self.drawn += count
            return torch.rand(count, 4, generator=rng)

    prior = Prior()
    as_module = quiet(net, 1, "random_latent", generator=decoder, latent_size=4)
    as_object = quiet(net, 1, {"name": "random_latent"}, generator=prior)
    assert prior.drawn == 3  # two on trial
    assert not torch.equal(as_module.images, as_object.images)
    trained = Vae(Vae.Settings(latent_size=4, width=4), channels=3, image_size=SIDE)
    own = quiet(net, 1, WHITE_BOX, generator=trained)
    assert own.images.shape == (1, 3, SIDE, SIDE)
    assert trained.training


def test_without_public_pictures_the_generators_own_stand_for_them(net: OutsideNet) -> None:
    found = inversionlab.invert(net, 1, WHITE_BOX, generator=Decoder(), latent_size=4, say=None)
    assert found.images.shape == (1, 3, SIDE, SIDE)
    with pytest.raises(ConfigError, match="public: is missing; an attacker needs pictures of oth"):
        inversionlab.invert(net, 1, WHITE_BOX, generator=VAE, say=None)


def test_what_an_attacker_trains_is_trained_here_and_told(
    net: OutsideNet, capsys: pytest.CaptureFixture[str]
) -> None:
    attack = {"name": "ami", "network": {"width": 4}, "training": SHORT, "public_pictures": 8}
    found = inversionlab.invert(net, [0, 1], attack, public=PUBLIC)
    told = capsys.readouterr().out
    assert "[train] the network of ami: epoch 1/1" in told
    assert "[attack] ami: 2/2" in told
    # The network learns the model's scores of every public picture.
    assert found.training_queries == len(PUBLIC)
    specific = {"name": "ked_gan", **{k: v for k, v in STYLE.items() if k != "name"}}
    found = quiet(net, 0, {"name": "ked_mi", "steps": 2}, generator=specific)
    assert found.training_queries == len(PUBLIC)


def test_the_generator_that_suits_the_attack_is_the_default() -> None:
    from inversionlab.api.prior import generator_settings

    kinds = {name: generator_settings(None, ATTACKS[name]).name for name in ATTACKS}
    assert kinds["latent_white_box"] == "vae"
    assert kinds["mirror"] == "style_gan"
    assert kinds["ked_mi"] == "ked_gan"
    assert "given" not in kinds.values()


@pytest.mark.parametrize(
    ("changed", "told"),
    [
        ({"targets": [0, 6]}, r"targets = 6: is not a class; the model's classes are 0 to 5"),
        ({"targets": -1}, r"targets = -1: is not a class"),
        ({"targets": []}, r"targets = \[\]: names no class"),
        ({"repeats": 0}, "repeats = 0: should be 1 or more"),
        ({"batch": 0}, "batch = 0: should be 1 or more"),
        ({"attack": "miror"}, "attack = miror: unknown name; there are: random_latent"),
        ({"attack": {"name": "mirror", "step": 3}}, "attack: step = 3: unknown key; did you mean"),
        ({"attack": {"name": "ami", "invert": "output"}}, "inverts answers to private pictures"),
        ({"attack": {**MIRROR, "generator": "style"}}, "attack.generator = style: names a gener"),
        ({"generator": "vea"}, "generator = vea: unknown name; there are: diffusion"),
        ({"generator": {"name": "vae", "width": 1}}, "generator: width = 1: should be greater"),
        ({"attack": MIRROR}, "generator: `mirror` needs one with style; name one that has: style"),
        ({"generator": 3}, "generator = int: is not a name, not settings, and not an object"),
        ({"generator": Decoder()}, "latent_size: is missing; say how long the latents of Decoder"),
        ({"generator": Decoder(), "latent_size": 5}, "fails on latents of shape"),
        (
            {"generator": Decoder(last=nn.Tanh()), "latent_size": 4},
            r"its pixels go from -\S+ to \S+; bring them to \[0, 1\] \(from -1 to 1: x / 2",
        ),
        (
            {"generator": Decoder(channels=1), "latent_size": 4},
            r"public: its pictures are \(3, 16, 16\), but those of the generator are \(1, 16, 16\)",
        ),
        (
            {"generator": Decoder(), "latent_size": 4, "attack": MIRROR},
            "generator: `mirror` needs one with style",
        ),
        (
            {"attack": {**BLACK_BOX, "perturbations": 3, "variances": [0.1, 1.0]}},
            "perturbations = 3: a choice among 2 variances needs more than 4",
        ),
        (
            {"attack": {"name": "amplified_mia", "truncate": 9}},
            "truncate = 9: the model has 6 scores",
        ),
        ({"answers": "embedding"}, "answers = embedding: needs the pictures of the enrolled"),
        ({"answers": "scores"}, "model: answers = "),
        ({"preprocessing": {"sise": 3}}, "model: preprocessing.sise = 3: unknown key"),
        ({"classes": 5}, "classes = 5: the model gives 6 scores; leave it out"),
        ({"model": "net"}, "model = str: is not a torch.nn.Module, not a function"),
    ],
)
def test_what_does_not_fit_is_refused_before_anything_is_trained(
    net: OutsideNet, changed: dict[str, Any], told: str
) -> None:
    given: dict[str, Any] = {"model": net, "targets": 0, "attack": WHITE_BOX, "generator": VAE}
    said: list[str] = []
    with pytest.raises(ConfigError, match=told):
        inversionlab.invert(**{**given, **changed}, public=PUBLIC, say=said.append)
    assert not said


def test_a_function_gives_no_gradients_and_the_text_says_what_does_not_need_them() -> None:
    def predict(x: Tensor) -> Tensor:
        return 5 * x.flatten(1)[:, :PEOPLE]

    with pytest.raises(ConfigError, match=r"model gives no gradients; set its `gradients` to Fa"):
        quiet(predict, 0, MIRROR, generator=STYLE)
    by_scores = {**MIRROR, "gradients": False, "genetic": {"generations": 1}}
    assert len(quiet(predict, 0, by_scores, generator=STYLE)) == 1


def test_a_generator_that_learns_scores_is_refused_to_who_sees_labels(net: OutsideNet) -> None:
    with pytest.raises(ConfigError, match="learns from whole score vectors"):
        quiet(net, 0, {"name": "label_only", "steps": 1}, generator="ked_gan")


def test_a_module_that_cannot_be_copied_is_refused() -> None:
    class Locked(nn.Module):
        def __deepcopy__(self, memo: dict[int, Any]) -> Any:
            raise TypeError("no copies")

    with pytest.raises(ConfigError, match=r"model = Locked: cannot be copied \(TypeError: no cop"):
        quiet(Locked(), 0, WHITE_BOX, generator=VAE)
