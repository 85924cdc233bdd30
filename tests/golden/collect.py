"""What users have stored goes by names; here those names are computed as the present code gives them.

All that is imported from the platform stands here, so that a file that moves is followed in one place.
"""

from __future__ import annotations

import json
import os
import tarfile
import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from inversionlab.attacks import ATTACKS
from inversionlab.core import seeds
from inversionlab.core.yaml_io import parse_yaml
from inversionlab.distributed.attack_worker import AttackWorker
from inversionlab.distributed.run_record import run_name
from inversionlab.distributed.train_worker import train_network
from inversionlab.distributed.work_items import Shard, WorkContext, missing_measurements
from inversionlab.experiment import Experiment, load
from inversionlab.pipeline.data import choose_people, data_id, picture_ids
from inversionlab.pipeline.given_facts import read_facts
from inversionlab.pipeline.plan import Plan, make_plan
from inversionlab.pipeline.session import Session, missing_jobs, open_experiment
from inversionlab.pipeline.train import alone
from inversionlab.report.audit.page import write_report
from inversionlab.report.search.page import write_search_page
from inversionlab.store.storage import Storage
from inversionlab.store.tables import SCHEMAS, Store
from inversionlab.tuning.search import SearchOptions, search_name
from inversionlab.tuning.searcher import DeterministicSearcher
from inversionlab.tuning.space import SearchSpace, check_space, experiment_at, load_space

__all__ = [
    "ATTACKS",
    "AttackWorker",
    "DeterministicSearcher",
    "Experiment",
    "SearchOptions",
    "Session",
    "Shard",
    "Storage",
    "Store",
    "WorkContext",
    "alone",
    "check_space",
    "experiment_at",
    "load",
    "load_space",
    "missing_jobs",
    "missing_measurements",
    "open_experiment",
    "parse_yaml",
    "run_name",
    "search_name",
    "seeds",
    "train_network",
    "write_report",
    "write_search_page",
]

HERE = Path(__file__).resolve().parent
CHECKOUT = HERE.parents[1]
STORE = HERE / "store.tar.xz"
RECIPE = HERE / "recipe.yaml"
SPACE = HERE / "dummy_recognizer.py"

RECIPES = sorted((CHECKOUT / "jobs" / "recipes").glob("*.yaml"))
SPACES = sorted((CHECKOUT / "search_spaces").glob("*.py"))

PEOPLE = 158
"""Private people, where no data is there to count them."""
FAKE = ("0" * 16, "1" * 16)
"""Names of data sets that a fresh machine lacks."""
OUTPUT = ("adversarial_noise", "purifier", "uniform_noise")
"""Defenses whose settings are searched without an attack on the weights (`lfw_small.yaml` says how)."""
SCORES_ONLY = "attacks=[{name: ami_adaptive, network: {width: 16}}]"


def plan_of(experiment: Experiment) -> tuple[Plan, tuple[str, ...]]:
    """An experiment's plan without its data, and the names of its data sets, true ones if they are made up."""
    sources = [s for s in (experiment.data, experiment.public_data) if s is not None]
    made_up = all(source.name == "procedural" for source in sources)
    pictures = picture_ids(experiment) if made_up else FAKE[: len(sources)]
    wanted = experiment.targets
    known = experiment.split.private_people or PEOPLE
    people = max(known, wanted.skip + wanted.count, wanted.pool or 0)
    targets, pool = choose_people(experiment, range(people))
    facts = dict(read_facts(experiment, None))
    return make_plan(experiment, data_id(experiment, pictures), targets, pool, facts), pictures


def named(plan: Plan) -> dict[str, list[str]]:
    """The names of a plan's networks and cells, a line each."""
    return {
        "networks": [f"{t.role} | {t.id} | {t.key}" for t in plan.specs],
        "cells": [
            f"{c.id} | protected {c.protected or '-'} | model {c.model or '-'} | {c.label}"
            for c in plan.cells
        ],
    }


def load_anywhere(recipe: Path, *assignments: str) -> Experiment:
    """A recipe with its data in a folder that is the same on every machine: names of runs hold it."""
    plain = parse_yaml(recipe.read_text())
    sections = [s for s in ("data", "public_data") if "root" in (plain.get(s) or {})]
    return load(recipe, [*(f"{s}.root=/nowhere/{s}" for s in sections), *assignments])


def recipe_names(recipe: Path) -> dict[str, Any]:
    """Every name of a recipe's experiment."""
    experiment = load_anywhere(recipe)
    plan, pictures = plan_of(experiment)
    return {
        "run": run_name(experiment),
        "data": plan.data_id,
        "pictures": list(pictures),
        "targets": str(list(plan.targets)),
        "pool": str(list(plan.pool)),
        **named(plan),
    }


def space_names(path: Path) -> dict[str, Any]:
    """The names of a search over a space, and those of its start points."""
    changes = [f"defense={{name: {path.stem}}}"]
    changes += [SCORES_ONLY] if path.stem in OUTPUT else []
    experiment = load_anywhere(CHECKOUT / "jobs" / "recipes" / "lfw_small.yaml", *changes)
    space = load_space(path)
    check_space(space, experiment)
    base = experiment_at(experiment, {})
    names = {
        kind: search_name(base, space, SearchOptions(trials=4, single=single))
        for kind, single in (("search", False), ("single", True))
    }
    starts = [named(plan_of(experiment_at(base, point))[0]) for point in space.start]
    return {**names, "starts": starts}


def schemas() -> dict[str, list[str]]:
    """Every table's columns."""
    return {name: [f"{f.name}: {f.type}" for f in schema] for name, schema in SCHEMAS.items()}


def keys(value: Any, where: str = "") -> set[str]:
    """The dotted keys of a record; items of lists go as one, `[]`."""
    if isinstance(value, dict):
        return {k for key, v in value.items() for k in keys(v, f"{where}.{key}".lstrip("."))}
    if isinstance(value, list):
        return {f"{where}[]"}.union(*(keys(item, f"{where}[]") for item in value))
    return {where}


def record_keys(files: Iterable[Path]) -> list[str]:
    """The keys of all these records together."""
    return sorted(set().union(*(keys(json.loads(file.read_text())) for file in files)))


def records(store: Path) -> dict[str, list[str]]:
    """The keys of every kind of record in a store, those of one kind of network as one."""
    cards = sorted(store.glob("artifacts/*/*/card.json"))
    roles = sorted({card.parent.parent.name for card in cards})
    return {
        "run.json": record_keys(store.glob("runs/*/run.json")),
        "search.json": record_keys(store.glob("searches/*/search.json")),
        "begun.json": record_keys(store.glob("searches/*/begun.json")),
        **{f"{r}/card.json": record_keys(store.glob(f"artifacts/{r}/*/card.json")) for r in roles},
    }


def derived() -> dict[str, int]:
    """Some seeds, by what they are for."""
    labels: list[tuple[str | int, ...]] = [
        ("weights", "victim"),
        ("weights", "evaluator:same_people"),
        ("weights", "defense"),
        ("attack", "latent_white_box", 3, 1),
        ("victim", "order", 0),
        ("search", "tpe"),
        ("targets",),
    ]
    return {" ".join(map(str, words)): seeds.derive(7, *words) for words in labels}


def unpacked(folder: Path) -> Path:
    """The golden store, unpacked into `folder`; returns its root."""
    with tarfile.open(STORE) as packed:
        packed.extractall(folder, filter="data")
    return folder / "store"


def golden(name: str, find: Callable[[], Any]) -> Any:
    """What the JSON file `name` holds; with INVERSIONLAB_GOLDEN=write it first takes over what `find` finds."""
    file = HERE / name
    if os.environ.get("INVERSIONLAB_GOLDEN") == "write":
        file.write_text(json.dumps(find(), indent=1) + "\n")
    return json.loads(file.read_text())


def opened(root: Path, *assignments: str) -> Session:
    """The golden recipe's experiment on a store."""
    return open_experiment(load(RECIPE, assignments), Storage(str(root)))


def search_options() -> SearchOptions:
    """How the golden search was run."""
    return SearchOptions(trials=3, max_concurrent=2, step_targets=2)


def golden_space() -> SearchSpace:
    """What the golden search varied."""
    return load_space(SPACE)


@contextmanager
def listening() -> Iterator[dict[str, int]]:
    """Collects every seed that is derived meanwhile: labels -> seed, numbers in the labels as `#`."""
    heard: dict[str, int] = {}
    first: dict[str, tuple[str, ...]] = {}
    lock, true_derive = threading.Lock(), seeds.derive

    def derive(seed: int, *labels: str | int) -> int:
        value = true_derive(seed, *labels)
        kind = " ".join("#" if isinstance(label, int) else label for label in labels)
        place = tuple(f"{label:09}" if isinstance(label, int) else label for label in labels)
        with lock:
            if kind not in first or place < first[kind]:
                first[kind], heard[kind] = place, value
        return value

    seeds.derive = derive
    try:
        yield heard
    finally:
        seeds.derive = true_derive


def everything() -> dict[str, Any]:
    """All names that the present code gives."""
    return {
        "recipes": {path.stem: recipe_names(path) for path in RECIPES},
        "spaces": {path.stem: space_names(path) for path in SPACES},
        "schemas": schemas(),
        "seeds": derived(),
    }
