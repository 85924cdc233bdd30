"""Recipes that are chosen for a model: what is in them, and that an experiment takes them."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from inversionlab.core.settings import ConfigError, validate
from inversionlab.core.yaml_io import parse_yaml
from inversionlab.data.survey import FolderSurvey
from inversionlab.experiment import Experiment
from inversionlab.experiment.from_model import choices, recipe_for, recipe_text
from inversionlab.experiment.model_options import ModelOptions
from inversionlab.given.settings import GivenModelSettings
from inversionlab.recognizers import RecognizerSettings

PEOPLE = FolderSurvey(Path("/people"), (1, 2, 30, 4, 5), shorter_side=100, gray=False)
STRANGERS = FolderSurvey(Path("/strangers"), (1,) * 4998 + (2, 3), shorter_side=250, gray=False)
GIVEN = ModelOptions(model="facenet.model:FaceNet", data=PEOPLE, public=STRANGERS)


def chosen(**changed: Any) -> dict[str, Any]:
    return recipe_for(replace(GIVEN, **changed))


def names(entries: list[dict[str, Any]]) -> list[str]:
    return [entry["name"] for entry in entries]


LABELS = ["label_only", "distil_then_invert"]
SCORES = ["public_look_alike", "latent_black_box", "ami", *LABELS]
WHITE_BOX = [
    "public_look_alike",
    "latent_white_box",
    "ked_mi",
    "ppa",
    "latent_black_box",
    "ami",
    *LABELS,
]


@pytest.mark.parametrize(
    ("changed", "attacks"),
    [
        ({}, WHITE_BOX),
        ({"model": "/x/faces.onnx"}, WHITE_BOX),
        ({"model": "torchvision:resnet50"}, WHITE_BOX),
        ({"model": "mine:predict"}, SCORES),
        ({"answers": "top_k"}, SCORES),
        ({"answers": "labels"}, LABELS),
        ({"access": "scores"}, SCORES),
        ({"model": None, "endpoint": "https://host/identify"}, SCORES),
        ({"model": None, "endpoint": "https://host/x", "answers": "labels"}, LABELS),
        ({"attacks": ("mirror", "gmi")}, ["mirror", "gmi"]),
        ({"attacks": ("gmi", "ami"), "suite": True}, [*WHITE_BOX, "gmi"]),
    ],
)
def test_attacks_are_those_that_the_access_allows(
    changed: dict[str, Any], attacks: list[str]
) -> None:
    recipe = chosen(**changed)
    assert names(recipe["attacks"]) == attacks
    # Whoever names attacks alone has not run the suite.
    assert recipe.get("suite") == (None if attacks == ["mirror", "gmi"] else "standard")
    # More generators are trained only for attacks that the VAE does not suit.
    kinds = [made["name"] for made in recipe.get("generators", {}).values()]
    wanted = {"mirror": "style_gan", "ked_mi": "ked_gan"}
    assert sorted(kinds) == sorted({wanted[name] for name in attacks if name in wanted})


@pytest.mark.parametrize(
    ("side", "model_size", "gpu", "size"),
    [
        (250, None, False, 64),
        (250, None, True, 128),
        (1000, 224, True, 128),
        (127, None, True, 64),
        (128, None, True, 128),
        (250, 112, True, 64),
        (250, 48, True, 32),
        (63, None, False, 32),
        (20, None, False, 32),
    ],
)
def test_the_size_is_the_largest_that_pictures_model_and_machine_bear(
    side: int, model_size: int | None, gpu: bool, size: int
) -> None:
    recipe = chosen(data=replace(PEOPLE, shorter_side=side), model_size=model_size, gpu=gpu)
    assert recipe["data"]["image_size"] == recipe["public_data"]["image_size"] == size


def test_a_size_that_no_generator_makes_is_refused() -> None:
    assert chosen(image_size=48)["data"]["image_size"] == 48
    with pytest.raises(ConfigError, match="--image-size 50: must be a multiple of 8 from 16 to"):
        chosen(image_size=50)


def test_gray_pictures_stay_gray_for_the_attacker_too() -> None:
    recipe = chosen(data=replace(PEOPLE, gray=True))
    assert recipe["data"]["channels"] == recipe["public_data"]["channels"] == 1
    assert chosen()["public_data"]["channels"] == 3


def test_whoever_has_two_pictures_is_a_target_and_nobody_is_set_aside() -> None:
    recipe = chosen()
    assert recipe["split"] == {"private_min_pictures": 2, "evaluator_people": 0}
    assert recipe["targets"] == {"count": 4, "repeats": 3}
    many = replace(PEOPLE, counts=(2,) * 500)
    assert chosen(data=many)["targets"]["count"] == 20


def test_evaluators_by_what_the_strangers_and_the_installation_allow() -> None:
    assert names(chosen()["evaluators"]) == ["same_people", "nearest_identity"]
    lonely = replace(STRANGERS, counts=(1,) * 99 + (2,))
    assert names(chosen(public=lonely)["evaluators"]) == ["same_people"]
    # An independent embedding decides, where there is one.
    assert names(chosen(faces=True)["evaluators"]) == ["sface", "same_people", "nearest_identity"]
    assert chosen(faces=True)["evaluators"][0] == {"name": "sface", "protocol": "embedding"}
    first = validate(RecognizerSettings, chosen()["evaluators"][0]["recognizer"], origin="test")
    # It must not share the blind spots of the recognizer that stands in for the model.
    assert first.network != RecognizerSettings().network


def test_every_attack_that_is_asked_for_gets_a_generator_that_suits_it() -> None:
    assert "generators" not in chosen(attacks=("latent_white_box", "mi_face"))
    # One style GAN, which has a critic, serves two of them.
    recipe = chosen(attacks=("gmi", "mirror", "ked_mi"))
    kinds = {label: made["name"] for label, made in recipe["generators"].items()}
    assert kinds == {"style": "style_gan", "ked_gan": "ked_gan"}
    validate(Experiment, recipe, origin="test")
    assert "&" not in recipe_text("", choices(replace(GIVEN, attacks=("mirror", "ked_mi"))))


def test_small_public_sets_are_seen_more_often() -> None:
    def epochs(pictures: int) -> tuple[int, int]:
        recipe = chosen(public=replace(STRANGERS, counts=(pictures,)))
        other = recipe["generators"]["ked_gan"]["training"]["epochs"]
        return recipe["generator"]["training"]["epochs"], other

    assert epochs(100_000) == (12, 20)
    assert epochs(5000) == (20, 28)
    assert epochs(10) == (200, 200)


def test_the_victim_is_what_the_options_say() -> None:
    assert chosen()["victim"] == {"model": "facenet.model:FaceNet"}
    assert chosen(weights=Path("/w.pt"), classes=Path("/c.txt"), answers="logits")["victim"] == {
        "model": "facenet.model:FaceNet",
        "weights": "/w.pt",
        "classes": "/c.txt",
        "answers": "logits",
    }
    endpoint = chosen(model=None, endpoint="https://host:8/identify", budget=50_000)
    assert endpoint["victim"] == {"endpoint": {"url": "https://host:8/identify", "budget": 50_000}}
    for recipe in (
        chosen(),
        endpoint,
        chosen(answers="embedding", gallery="private", access="scores"),
        chosen(weights=Path("/w.pt"), classes=Path("/c.txt")),
    ):
        validate(GivenModelSettings, recipe["victim"], origin="test")


@pytest.mark.parametrize(
    ("changed", "name"),
    [
        ({}, "FaceNet"),
        ({"model": "/a/b/my faces (2).onnx"}, "my_faces_2_"),
        ({"model": "timm:vit_tiny.augreg"}, "vit_tiny.augreg"),
        ({"model": "live"}, "model"),
        ({"model": "/a/___.pt"}, "model"),
        ({"model": None, "endpoint": "https://user@faces.example:80/x?y"}, "faces.example"),
    ],
)
def test_the_name_is_one_that_a_recipe_may_have(changed: dict[str, Any], name: str) -> None:
    assert chosen(**changed)["name"] == name


def test_without_private_pictures_only_the_attack_is_chosen() -> None:
    recipe = chosen(data=None)
    assert not recipe.keys() & {"data", "split", "evaluators"}
    assert recipe["targets"]["count"] == 20


def test_too_few_people_or_the_same_folder_twice_are_refused() -> None:
    with pytest.raises(ConfigError, match="1 of its 3 people have two pictures or more; at least"):
        chosen(data=replace(PEOPLE, counts=(1, 1, 9)))
    with pytest.raises(ConfigError, match="is the folder of --data too"):
        chosen(public=replace(STRANGERS, root=PEOPLE.root))


@pytest.mark.parametrize(
    ("private", "public", "found"),
    [("in", ".", "holds"), (".", "in", "lies in"), ("in", "link", "is the folder of")],
)
def test_a_folder_of_strangers_in_or_around_the_private_one_is_refused(
    tmp_path: Path, private: str, public: str, found: str
) -> None:
    (tmp_path / "in").mkdir()
    (tmp_path / "link").symlink_to("in")
    data, strangers = tmp_path / private, tmp_path / public
    with pytest.raises(ConfigError, match=f"--public {strangers}: {found} --data"):
        chosen(data=replace(PEOPLE, root=data), public=replace(STRANGERS, root=strangers))


@pytest.mark.parametrize(
    "changed",
    [
        *({"access": access} for access in ("white_box", "scores", "labels")),
        {"faces": True, "weights": Path("/w.pt")},
        {"data": None},
        {"model": None, "endpoint": "https://host/identify", "budget": 50_000},
        {"answers": "embedding", "gallery": "private"},
    ],
)
def test_an_experiment_takes_the_recipe(changed: dict[str, Any]) -> None:
    recipe = chosen(**changed)
    experiment = validate(Experiment, recipe, origin="test")
    # Nothing joins the attacks and generators that the recipe names.
    assert names(recipe["attacks"]) == [attack.name for attack in experiment.attacks]
    assert list(experiment.generators) == list(recipe.get("generators", {}))
    assert isinstance(experiment.victim, GivenModelSettings)
    assert experiment.defense.name == "none"


def test_the_text_reads_back_as_the_recipe_and_each_key_has_its_reason() -> None:
    text = recipe_text("For a test.\nTwo lines.", choices(GIVEN))
    assert parse_yaml(text) == recipe_for(GIVEN)
    lines = text.splitlines()
    assert lines[:2] == ["# For a test.", "# Two lines."]
    keys = [i for i, line in enumerate(lines) if line[0].isalpha()]
    assert len(keys) == len(recipe_for(GIVEN))
    assert all(lines[i - 1].startswith("# ") and lines[i - 1].endswith(".") for i in keys)
    assert "name: FaceNet" in lines
    assert "targets: {count: 4, repeats: 3}" in lines
    assert max(map(len, lines)) <= 115
    assert "64 pixels: more is slow without a GPU; in colour." in text
    by_function = {c.key: c.why for c in choices(replace(GIVEN, model="m:predict"))}
    assert "`predict` is a function by its name, which has no gradients" in by_function["attacks"]
