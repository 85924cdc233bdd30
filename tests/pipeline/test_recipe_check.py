"""Networks are refused for pictures of the recipe's size before a picture is read or drawn."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from inversionlab.core.settings import ConfigError
from inversionlab.experiment.experiment import load
from inversionlab.pipeline import session as opening
from inversionlab.pipeline.recipe_check import check_recipe
from tests import tiny

RECIPES = Path(__file__).resolve().parents[2] / "jobs" / "recipes"


@pytest.fixture(autouse=True)
def no_pictures(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: Any, **__: Any) -> Any:
        raise AssertionError("data were opened")

    monkeypatch.setattr(opening.data_stage, "picture_ids", fail)
    monkeypatch.setattr(opening, "pictures_of", fail)


IR50 = {"name": "ir50", "feature_size": 16}
CASES: dict[str, tuple[dict[str, Any], str]] = {
    "victim": (
        {"victim.network": IR50, "data.image_size": 24},
        "victim: ir50: needs pictures of a multiple",
    ),
    "evaluator": (
        {"evaluators.1.recognizer.network": IR50, "data.image_size": 40},
        "evaluator:disjoint: ir50: needs pictures of a multiple of 16 pixels from 32 to 224, not 40",
    ),
    "generator": ({"data.image_size": 512}, "generator vae: image_size = 512: this network needs"),
    "defender's generator": (
        {"data.image_size": 36},
        "defense_generator gan_ada (for dummy_recognizer): image_size = 36",
    ),
    "an attack's generator": (
        {
            "data.image_size": 20,
            "generators": {"other": {"name": "wgan_gp", "latent_size": 4}},
            "attacks.1.generator": "other",
        },
        "generator wgan_gp: image_size = 20",
    ),
    "an attack's network": (
        {"data.image_size": 20, "attacks": [{"name": "amplified_mia"}]},
        "attack amplified_mia",
    ),
}


@pytest.mark.parametrize("case", CASES)
def test_a_size_is_refused_before_data_are_opened(tmp_path: Path, case: str) -> None:
    changed, said = CASES[case]
    with pytest.raises(ConfigError) as error:
        tiny.session(tmp_path, **changed)
    assert said in str(error.value)


def test_a_given_victim_leaves_the_rest_to_be_checked(tmp_path: Path) -> None:
    """The file is read later: nothing is said of it, though it is not there."""
    victim = {"model": "there_is_none:Net", "weights": str(tmp_path / "none.pt")}
    changed: dict[str, Any] = {"victim": victim, "defense": {"name": "none"}, "sweep": None}
    check_recipe(tiny.experiment(**changed))
    with pytest.raises(ConfigError, match="generator vae: image_size = 20"):
        check_recipe(tiny.experiment(**changed, **{"data.image_size": 20}))


def test_what_depends_on_the_number_of_people_is_left_for_later() -> None:
    """The attack sees five scores: more than there are targets, not more than there are people."""
    attack = {"name": "amplified_mia", "truncate": 5}
    changed: dict[str, Any] = {"attacks": [attack], "targets.count": 1}
    check_recipe(tiny.experiment(**changed))
    with pytest.raises(ConfigError) as error:
        check_recipe(tiny.experiment(**changed, **{"evaluators.0.recognizer.network": IR50}))
    assert str(error.value).startswith("evaluator:same: ir50: needs pictures of a multiple of 16")
    assert "truncate" not in str(error.value)


def test_weights_that_fit_into_no_memory_are_refused_too(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("inversionlab.pipeline.untrained.memory_at_hand", lambda: 16e9)
    network = {"name": "vgg16", "dense": 65_536}
    with pytest.raises(
        ConfigError, match=r"victim: its weights alone take 17\.4 GB, but only 16\.0 GB"
    ):
        check_recipe(tiny.experiment(**{"victim.network": network, "data.image_size": 32}))


@pytest.mark.parametrize("recipe", sorted(RECIPES.glob("*.yaml")), ids=lambda p: p.stem)
def test_recipes_that_come_along_are_not_refused(recipe: Path) -> None:
    check_recipe(load(recipe))


def test_a_classifier_of_people_with_many_pictures_is_left_to_the_data() -> None:
    """How many pictures the public people have is not known yet."""
    check_recipe(
        tiny.experiment(
            sweep=None,
            generators={"wgan": {"name": "wgan_gp"}},
            defense={"name": "gan_fake_samples", "public_min_pictures": 10},
        )
    )
