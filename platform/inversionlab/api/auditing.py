"""`inversionlab.audit`: the whole audit from Python, on Ray, as the command does it."""

import os
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from torch import nn

from inversionlab.api.from_arguments import (
    Arguments,
    Named,
    experiment_for_model,
    experiment_from_recipe,
)
from inversionlab.api.report import Report, load_report
from inversionlab.api.victim import copied
from inversionlab.core.environment import check_environment
from inversionlab.distributed.audit import audit as run_audit
from inversionlab.distributed.errors import AuditError
from inversionlab.experiment import Experiment
from inversionlab.store.address import default_root
from inversionlab.store.storage import Storage


def audit(
    model: nn.Module | str | Path | None = None,
    *,
    recipe: Experiment | Mapping[str, Any] | str | Path | None = None,
    endpoint: str | None = None,
    budget: int | None = None,
    weights: str | Path | None = None,
    data: str | Path | None = None,
    public: str | Path | None = None,
    classes: str | Path | Sequence[str] | None = None,
    gallery: str | Path | None = None,
    answers: str | None = None,
    access: str | None = None,
    preprocessing: Mapping[str, Any] | None = None,
    image_size: int | None = None,
    attacks: Sequence[Named] = (),
    suite: str | None = None,
    defense: Named | None = None,
    generator: Named | None = None,
    evaluators: Sequence[Named] = (),
    targets: int | Mapping[str, Any] | None = None,
    settings: Mapping[str, Any] | None = None,
    storage: str | Path | None = None,
    force: bool = False,
    pictures: bool = True,
    quiet: bool = False,
    say: Callable[[str], None] = print,
) -> Report:
    """Measure how much of its training data a recognizer gives away, and return the report.

    Give a `recipe`, or a model with its pictures; then sizes, attacks by access, generator and evaluators are
    chosen, and each choice is told with its reason. Whatever stopped a call, the same call continues. A module at
    hand is copied; it stays as it is.

    Args:
        model: a `torch.nn.Module`, or text as `--model` takes it: `package.module:Class`, a file, ...
        recipe: a file, the name of one that comes along, its keys as a mapping, or a checked experiment. Beside it
            go `model`, for `victim: {model: live}`, and `settings`.
        endpoint: the address of a model behind HTTP, in place of `model`.
        budget: the most queries that the endpoint gets.
        weights: the weights of a class.
        data: a folder with one folder of pictures for each person whom the model knows. None: success cannot be
            judged.
        public: the same of strangers.
        classes: the people in the order of the model's classes: names, or a file of them. None: the sorted names
            of the folders.
        gallery: the enrolled people's pictures, for an embedding; "private": those of `data`.
        answers: what the model answers, such as "logits" or "embedding". None: as its answers show.
        access: "white_box", "scores" or "labels": what the attacker sees. None: all that the model gives.
        preprocessing: what the model expects of a picture, as in a recipe.
        image_size: side of all pictures in pixels. None: by the pictures.
        attacks: names, or settings as in a recipe. None: the standard suite, as far as access and budget allow.
        suite: "standard": the whole standard suite, in addition to `attacks`; one of `attacks` with the title of
            one of the suite's stands in its place.
        defense: the same, of the defense under test.
        generator: the same, of the attacker's generator.
        evaluators: settings as in a recipe, or names of those that would be chosen.
        targets: how many people are attacked, or the keys of the section `targets`.
        settings: other values of any setting, by dotted paths: `{"targets.repeats": 5}`.
        storage: folder or bucket for networks and results. None: `$INVERSIONLAB_STORAGE`, or `./runs`.
        force: go on although the checks of the model say that something is wrong.
        pictures: whether the report shows pictures in a notebook.
        quiet: say nothing.
        say: gets each line about the progress.

    Raises:
        ConfigError: the recipe, the model or the pictures are wrong.
        AuditError: attacks failed, or an endpoint's budget is spent. Everything else is stored, and the error's
            `report` holds it.
        TrainingError: a training cannot go on.
        ActorPoolError: the attack workers die as fast as they are started.
    """
    check_environment()
    given = Arguments(
        model=model,
        endpoint=endpoint,
        budget=budget,
        weights=weights,
        data=data,
        public=public,
        classes=classes,
        gallery=gallery,
        answers=answers,
        access=access,
        preprocessing=preprocessing,
        image_size=image_size,
        attacks=tuple(attacks),
        suite=suite,
        defense=defense,
        generator=generator,
        evaluators=tuple(evaluators),
        targets=targets,
    )
    told = (lambda line: None) if quiet else say
    place = Storage(default_root() if storage is None else str(storage))
    _import_from_current_folder()
    if recipe is not None:
        experiment = experiment_from_recipe(recipe, given, settings or {})
    else:
        experiment = experiment_for_model(given, settings or {}, place, told)
    live = None
    if isinstance(model, nn.Module):
        # Workers get what this returns, so it is on the CPU.
        copy = copied(model).cpu()
        live = lambda: copy  # noqa: E731
    try:
        run = run_audit(experiment, place.root, told, live=live, force=force)
    except AuditError as error:
        error.report = load_report(error.run, place.root, pictures=pictures)  # type: ignore[attr-defined]
        raise
    return load_report(run, place.root, pictures=pictures)


def _import_from_current_folder() -> None:
    """Let a user's own modules be imported from the current folder; the workers do so too."""
    if not {"", os.getcwd()} & {*sys.path}:
        sys.path.append(os.getcwd())
