"""A recipe for a model that the user has: attacks by access, sizes by the pictures, evaluators by the people.

Nothing is loaded or asked. Each choice comes with the reason for it, which is written into the recipe.
"""

import re
import textwrap
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from inversionlab.attacks import ATTACKS
from inversionlab.core.places import relation
from inversionlab.core.settings import ConfigError
from inversionlab.core.yaml_io import dump_yaml
from inversionlab.experiment.model_attacks import (
    LATENT_SIZE,
    attack_settings,
    attacks_and_targets,
)
from inversionlab.experiment.model_options import Choice, ModelOptions
from inversionlab.experiment.suite import default_generator
from inversionlab.generators import GENERATORS
from inversionlab.given.endpoint_url import host_of
from inversionlab.given.settings import LIVE

SIZES = (32, 64, 128)
"""Sides of pictures that attacks are tried at."""
LARGEST_WITHOUT_GPU = 64
WIDTH = 115
"""Characters in a line of a recipe."""


def recipe_for(given: ModelOptions) -> dict[str, Any]:
    """The recipe as plain values.

    Raises:
        ConfigError: see `choices`.
    """
    return {choice.key: choice.value for choice in choices(given)}


def recipe_text(header: str, choices: Sequence[Choice]) -> str:
    """The recipe as YAML, with the header and the reasons as comments."""
    parts = [f"# {line}\n" for line in header.splitlines()]
    for choice in choices:
        parts += [f"# {line}\n" for line in textwrap.wrap(choice.why, WIDTH - 2)]
        compact = isinstance(choice.value, dict | list)
        parts.append(dump_yaml({choice.key: choice.value}, WIDTH, compact=compact))
    return "".join(parts)


def choices(given: ModelOptions) -> list[Choice]:
    """The keys of the recipe, in order, each with its reason.

    Raises:
        ConfigError: too few people have pictures, the picture size fits no generator, or one folder is, or holds,
            that of the private and that of the public pictures.
    """
    _refuse_same_place(given)
    return [
        Choice("name", _name(given), "The name of the run's folder and of the report."),
        *_victim(given),
        *_data(given),
        *_evaluators(given),
        *_generators(given),
        Choice("defense", {"name": "none"}, "none: the model as it is."),
        *attacks_and_targets(given),
    ]


def _refuse_same_place(given: ModelOptions) -> None:
    if given.data is None:
        return
    found = relation(given.public.root, given.data.root)
    if found == "is":
        raise ConfigError(
            f"--public {given.public.root}: is the folder of --data too; the attacker's pictures must show "
            "strangers"
        )
    if found is not None:
        raise ConfigError(
            f"--public {given.public.root}: {found} --data {given.data.root}, so private people would be "
            "strangers too; give each a folder that holds nothing of the other"
        )


def _name(given: ModelOptions) -> str:
    """The file, the class or the host, as a name that a recipe may have."""
    if given.endpoint is not None:
        plain = host_of(given.endpoint) or "endpoint"
    elif given.model in (None, LIVE):
        plain = "model"
    elif ":" in str(given.model):
        plain = str(given.model).rpartition(":")[2]
    else:
        plain = Path(str(given.model)).stem
    return re.sub(r"[^A-Za-z0-9_.-]+", "_", plain).lstrip("_.-")[:64] or "model"


def _victim(given: ModelOptions) -> Iterator[Choice]:
    victim: dict[str, Any] = {}
    if given.endpoint is not None:
        victim["endpoint"] = {"url": given.endpoint}
        if given.budget is not None:
            victim["endpoint"]["budget"] = given.budget
    else:
        victim["model"] = given.model
    for key in ("weights", "classes"):
        if (path := getattr(given, key)) is not None:
            victim[key] = str(path)
    if given.answers != "auto":
        victim["answers"] = given.answers
    if given.access is not None:
        victim["access"] = given.access
    if given.gallery is not None:
        victim["gallery"] = given.gallery
    yield Choice("victim", victim, "The model under attack. It is not trained.")


def _data(given: ModelOptions) -> Iterator[Choice]:
    size, why = _image_size(given)
    of = given.public if given.data is None else given.data
    common = {"name": "folder", "image_size": size, "channels": 1 if of.gray else 3}
    colours = "gray, as the pictures are" if of.gray else "in colour"
    if given.data is not None:
        people = given.data.people(2)
        if people < 2:
            raise ConfigError(
                f"--data {given.data.root}: {people} of its {given.data.people()} people have two pictures or "
                "more; at least two such people are needed, because one picture of each is kept for tests"
            )
        yield Choice(
            "data",
            {**common, "root": str(given.data.root)},
            f"{people} people with two pictures or more. {size} pixels: {why}; {colours}.",
        )
        yield Choice(
            "split",
            {"private_min_pictures": 2, "evaluator_people": 0},
            "Everybody with a picture for the tests and one for training may be a target; nobody is set aside.",
        )
    yield Choice(
        "public_data",
        {**common, "root": str(given.public.root)},
        f"The attacker has {given.public.pictures} pictures of {given.public.people()} strangers.",
    )


def _image_size(given: ModelOptions) -> tuple[int, str]:
    """The side of all pictures, and why."""
    if (size := given.image_size) is not None:
        if size % 8 or not 16 <= size <= 256:
            raise ConfigError(
                f"--image-size {size}: must be a multiple of 8 from 16 to 256, which the generators can make"
            )
        return size, "as said"
    of = given.public if given.data is None else given.data
    bounds = {f"the median picture has {of.shorter_side}": of.shorter_side}
    if given.model_size is not None:
        bounds[f"the model takes {given.model_size}"] = given.model_size
    if not given.gpu:
        bounds["more is slow without a GPU"] = LARGEST_WITHOUT_GPU
    why = min(bounds, key=lambda reason: bounds[reason])
    most = bounds[why]
    if most < SIZES[0]:
        return SIZES[0], f"{why}, and fewer pixels show no face"
    size = max(side for side in SIZES if side <= most)
    return size, why if most <= SIZES[-1] else "the largest size that is tried"


def _generators(given: ModelOptions) -> Iterator[Choice]:
    pictures = given.public.pictures
    epochs = _epochs(pictures, seen=100_000, least=12)
    yield Choice(
        "generator",
        {
            "name": "vae",
            "latent_size": LATENT_SIZE,
            "width": 12,
            "training": {
                "epochs": epochs,
                "batch_size": 32,
                "learning_rate": 0.002,
                "schedule": "one_cycle",
                "weight_decay": 0.0001,
            },
        },
        f"vae: the attacker's generator, trained on the public pictures, {epochs} epochs of {pictures} pictures.",
    )
    yield from _more_generators(given)


def _more_generators(given: ModelOptions) -> Iterator[Choice]:
    """Those of attacks that the VAE does not suit."""
    epochs = _epochs(given.public.pictures, seen=140_000, least=20)
    training = {
        "epochs": epochs,
        "batch_size": 32,
        "learning_rate": 0.0005,
        "schedule": "constant",
        "weight_decay": 0.0,
    }
    more: dict[str, dict[str, Any]] = {}
    why = []
    for attack in (settings["name"] for settings in attack_settings(given)):
        # The recipe's check refuses an unknown attack by name.
        wants = ATTACKS[attack].wants if attack in ATTACKS else frozenset()
        there = [GENERATORS[settings["name"]].offers for settings in more.values()]
        if any(wants <= offers for offers in (GENERATORS["vae"].offers, *there)):
            continue
        kind = default_generator(attack)
        more["style" if kind == "style_gan" else kind] = {"name": kind, "training": dict(training)}
        why.append(f"{attack} needs a generator with {' and '.join(sorted(wants))}: {kind}")
    if more:
        yield Choice("generators", more, f"{'; '.join(why)}. {epochs} epochs.")


def _epochs(pictures: int, *, seen: int, least: int, most: int = 200) -> int:
    """Epochs after which a training has seen about so many pictures, within bounds."""
    return min(most, max(least, round(seen / max(1, pictures))))


def _evaluators(given: ModelOptions) -> Iterator[Choice]:
    if given.data is None:
        return
    people, strangers = given.data.people(2), given.public.people(2)
    epochs = _epochs(given.data.pictures, seen=120_000, least=40, most=100)
    # Another structure than the default recognizer's, which stands in for the model where one is trained.
    evaluators = [_evaluator("same_people", width=24, epochs=epochs)]
    why = [f"same_people is trained on the {people} people"]
    if strangers >= 2:
        epochs = _epochs(given.public.pictures, seen=240_000, least=60, most=100)
        evaluators.append(_evaluator("nearest_identity", width=32, epochs=epochs))
        why.append(f"nearest_identity on the {strangers} strangers with two pictures or more")
    if given.faces:
        # Those that are trained on the model's own task are fooled by what fools the model.
        evaluators.insert(0, {"name": "sface", "protocol": "embedding"})
        why.insert(0, "sface, which was trained by others on other faces, decides")
    else:
        why.append("the extra `faces` would add an independent embedding")
    yield Choice("evaluators", evaluators, f"Who is in a reconstruction? {'; '.join(why)}.")


def _evaluator(protocol: str, *, width: int, epochs: int) -> dict[str, Any]:
    return {
        "name": protocol,
        "protocol": protocol,
        "recognizer": {
            "network": {"name": "small_resnet", "width": width, "dropout": 0.3},
            "training": {
                "epochs": epochs,
                "batch_size": 48,
                "learning_rate": 0.002,
                "schedule": "one_cycle",
                "weight_decay": 0.05,
            },
        },
    }
