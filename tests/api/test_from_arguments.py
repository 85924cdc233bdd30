"""From the arguments of `inversionlab.audit` to an experiment: what is chosen, changed and refused."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
from PIL import Image
from torch import nn

import inversionlab
from inversionlab.api.from_arguments import (
    Arguments,
    experiment_for_model,
    experiment_from_recipe,
)
from inversionlab.core.settings import ConfigError
from inversionlab.experiment import Experiment
from inversionlab.given.settings import GivenModelSettings
from inversionlab.store.storage import Storage
from tests import tiny

LIVE_RECIPE = tiny.recipe(victim={"model": "live"}, defense={"name": "none"}, sweep=None)


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The current folder: three people with three pictures each, strangers with one."""
    for folder, count in (("people", 3), ("strangers", 1)):
        for person in ("ann", "bob", "cid"):
            for index in range(count):
                path = tmp_path / folder / person / f"{index}.png"
                path.parent.mkdir(parents=True, exist_ok=True)
                Image.new("RGB", (48, 40)).save(path)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def chosen(settings: dict[str, Any] | None = None, **given: Any) -> Experiment:
    arguments = {"model": nn.Linear(1, 1), "data": "people", "public": "strangers", **given}
    storage = Storage(str(Path("runs")))
    return experiment_for_model(Arguments(**arguments), settings or {}, storage, lambda line: None)


def names(entries: Any) -> list[str]:
    return [entry.name for entry in entries]


def test_a_module_is_audited_with_everything_chosen(here: Path) -> None:
    said: list[str] = []
    given = Arguments(model=nn.Linear(1, 1), data="people", public=here / "strangers")
    made = experiment_for_model(given, {}, Storage("runs"), said.append)
    assert isinstance(made.victim, GivenModelSettings)
    assert made.victim.model == "live"
    assert made.suite == "standard"
    assert names(made.attacks)[:3] == ["public_look_alike", "latent_white_box", "ked_mi"]
    assert made.defense.name == "none"
    assert (made.targets.count, made.targets.repeats) == (3, 3)
    assert getattr(made.data, "root", None) == here / "people"
    assert said[0] == "Chosen for Linear:"
    assert any(line.startswith("  targets: 3 of the 3 people") for line in said)


def test_two_modules_have_runs_of_their_own() -> None:
    one, other = nn.Linear(1, 1), nn.Linear(1, 1)
    names = [chosen(model=model).name for model in (one, one, other)]
    assert names[0] == names[1] != names[2]
    assert all(re.fullmatch("Linear-[0-9a-f]{6}", name) for name in names)


def test_text_names_a_model_as_on_the_command_line(here: Path) -> None:
    (here / "net.safetensors").write_bytes(b"")
    made = chosen(model="my.net:Net", weights="net.safetensors", answers="logits")
    assert isinstance(made.victim, GivenModelSettings)
    assert made.victim.model == "my.net:Net"
    assert made.victim.weights == here / "net.safetensors"
    assert made.victim.answers == "logits"
    by_url = chosen(model=None, endpoint="https://host/identify", budget=5_000_000)
    assert isinstance(by_url.victim, GivenModelSettings)
    assert by_url.victim.endpoint is not None
    assert by_url.victim.endpoint.budget == 5_000_000
    assert "latent_white_box" not in names(by_url.attacks)
    assert {"latent_black_box", "label_only"} <= set(names(by_url.attacks))


def test_methods_come_by_name_or_with_settings() -> None:
    made = chosen(
        attacks=["latent_white_box", {"name": "mirror", "steps": 7}],
        defense="uniform_noise",
        generator={"name": "vae", "latent_size": 9},
        evaluators=["same_people", {"name": "mine", "protocol": "same_people"}],
        targets=2,
        preprocessing={"size": 32, "mean": (0.5,)},
        settings={"targets.repeats": 5, "headline": "worst"},
    )
    # The first as it is usually chosen, the second with these settings alone.
    assert [a.model_dump().get("stop") for a in made.attacks] == [0.9999, 0.9999]
    assert made.attacks[1].model_dump()["steps"] == 7
    # Mirror searches style vectors, so a generator that has them is added.
    assert list(made.generators) == ["style"]
    assert made.generator.latent_size == 9
    assert made.defense.name == "uniform_noise"
    assert names(made.evaluators) == ["same_people", "mine"]
    assert (made.targets.count, made.targets.repeats, made.headline) == (2, 5, "worst")
    assert isinstance(made.victim, GivenModelSettings)
    assert made.victim.preprocessing.mean == (0.5,)
    assert made.pictures.image_size == 32


def test_attacks_join_the_suite_or_stand_for_it() -> None:
    suite = names(chosen().attacks)
    assert names(chosen(suite="standard").attacks) == suite
    own = [{"name": "label_only", "steps": 9}, "pixel_gray_box", {"name": "ami", "label": "wide"}]
    made = chosen(suite="standard", attacks=own)
    assert [a.title for a in made.attacks] == [*suite, "wide", "pixel_gray_box"]
    changed = next(a for a in made.attacks if a.name == "label_only")
    assert changed.model_dump()["steps"] == 9
    # Whoever says what the attacks are, and no suite, wants these alone.
    alone = chosen({"attacks": [{"name": "label_only"}]})
    assert (alone.suite, names(alone.attacks)) == (None, ["label_only"])
    assert (chosen(attacks=["label_only"]).suite, chosen(attacks=own[:1]).suite) == (None, None)


def test_targets_take_the_keys_of_their_section() -> None:
    made = chosen(targets={"repeats": 1, "skip": 1, "count": 2})
    assert (made.targets.count, made.targets.repeats, made.targets.skip) == (2, 1, 1)


def test_names_of_classes_are_written_into_the_storage(here: Path) -> None:
    made = chosen(classes=["cid", "ann", "bob", "dän"])
    assert isinstance(made.victim, GivenModelSettings)
    file = made.victim.classes
    assert file is not None
    assert file.is_relative_to(here / "runs" / "classes")
    assert json.loads(file.read_text(encoding="utf-8")) == ["cid", "ann", "bob", "dän"]
    # The record of a run holds the file's place, and so no page shows a name that should not be there.
    assert "dän" not in made.model_dump_json()
    again = chosen(classes=("cid", "ann", "bob", "dän"))
    assert isinstance(again.victim, GivenModelSettings)
    assert again.victim.classes == file
    named = chosen(classes="names.txt")
    assert isinstance(named.victim, GivenModelSettings)
    assert named.victim.classes == here / "names.txt"


def test_without_private_pictures_nothing_judges() -> None:
    made = chosen(data=None, classes=["x", "y"])
    assert made.data is None
    assert made.evaluators == ()


@pytest.mark.parametrize(
    ("given", "told"),
    [
        ({"model": None}, "nothing to audit: give a `recipe`, or one of `model` and `endpoint`"),
        ({"endpoint": "https://x"}, "nothing to audit: give a `recipe`, or one of `model` and"),
        ({"public": None}, "public: is missing; name a folder with pictures of strangers"),
        ({"public": "stranger"}, "did you mean"),
        ({"public": ""}, "public: root = .*: is empty; name a path"),
        ({"data": "s3://K:S@b/x"}, r"^data: root: s3://\*\*\*@b/x: holds a secret"),
        ({"model": "s3://K:S@b/x.pt"}, r"^model: s3://\*\*\*@b/x.pt: is a URI"),
        ({"model": None, "endpoint": "https://u:p@h"}, "^endpoint: holds a user or password"),
        ({"classes": "~no-such-user/x"}, "^classes ~no-such-user/x: the home folder is not known"),
        (
            {"model": "a:B", "gallery": "~no-such-user/x"},
            "^gallery ~no-such-user/x: the home folder",
        ),
        ({"weights": "net.pth"}, "weights: is only for a model that is given by its import path"),
        ({"classes": [1, 2]}, "classes: should be the path of a file, or a list of names"),
        ({"evaluators": ["same"]}, "evaluators = same: unknown name; give settings as in a recipe"),
        ({"attacks": ["miror"]}, "miror: unknown name; did you mean `mirror`"),
        ({"suite": "standart"}, "suite = .standart.: should be 'standard'"),
        ({"targets": 4.5}, "targets.count = 4.5"),
        ({"settings": {"defence": 1}}, "defence = 1: unknown key; did you mean `defense`"),
        ({"defense": "dp_sgd"}, "trains a recognizer anew in the victim's place"),
    ],
)
def test_what_does_not_fit_is_refused(given: dict[str, Any], told: str) -> None:
    with pytest.raises(ConfigError, match=told):
        chosen(**given)


def test_a_recipe_comes_as_a_name_a_file_a_mapping_or_an_experiment(here: Path) -> None:
    nothing, changes = Arguments(), {"targets.count": 3}
    (here / "mine.yaml").write_text(json.dumps(tiny.recipe()))
    made = [
        experiment_from_recipe(recipe, nothing, changes)
        for recipe in ("mine.yaml", here / "mine.yaml", tiny.recipe(), tiny.experiment())
    ]
    assert all(experiment == made[0] for experiment in made)
    assert (made[0].name, made[0].targets.count) == ("tiny", 3)
    assert experiment_from_recipe("demo", nothing, {}).name == "demo"


@pytest.mark.parametrize(
    ("recipe", "given", "told"),
    [
        (
            "demo",
            {"data": "people"},
            "recipe and data: give either a recipe, or a model with its pictu",
        ),
        (tiny.RECIPE, {"model": nn.Linear(1, 1)}, "recipe and model: a recipe names its model"),
        (LIVE_RECIPE, {"model": "a:B"}, "recipe and model: a recipe names its model under"),
        (LIVE_RECIPE, {}, "victim.model = live: hand the module over as `model`"),
        ("dmo", {}, "dmo: is not a file, and no recipe has this name; did you mean `demo`"),
        ({"name": "x"}, {}, "recipe: generator: is missing"),
    ],
)
def test_a_recipe_stands_alone(recipe: Any, given: dict[str, Any], told: str) -> None:
    with pytest.raises(ConfigError, match=told):
        experiment_from_recipe(recipe, Arguments(**given), {})


def test_a_live_recipe_takes_a_module_beside_it() -> None:
    made = experiment_from_recipe(LIVE_RECIPE, Arguments(model=nn.Linear(1, 1)), {})
    assert isinstance(made.victim, GivenModelSettings)


def test_errors_are_exceptions_and_ray_is_not_started_for_them() -> None:
    import ray

    was = ray.is_initialized()
    with pytest.raises(inversionlab.ConfigError, match="nothing to audit"):
        inversionlab.audit(quiet=True)
    assert ray.is_initialized() == was
