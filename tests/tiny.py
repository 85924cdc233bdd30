"""An experiment small enough for a test: made-up faces at 16 x 16, networks of a few thousand weights."""

from __future__ import annotations

import copy
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from inversionlab.core.settings import assign, validate
from inversionlab.distributed.train_worker import train_network
from inversionlab.experiment import Experiment
from inversionlab.pipeline.session import Session, open_experiment
from inversionlab.pipeline.train import alone
from inversionlab.store.storage import Storage

CPU = torch.device("cpu")


def _recognizer(width: int) -> dict[str, Any]:
    return {
        "network": {"name": "small_resnet", "width": width, "blocks": [1], "feature_size": 16},
        "training": {"epochs": 3, "batch_size": 16, "learning_rate": 0.005},
    }


RECIPE: dict[str, Any] = {
    "name": "tiny",
    "data": {
        "name": "procedural",
        "people": 30,
        "pictures_per_person": 6,
        "image_size": 16,
        "channels": 1,
    },
    "split": {"private_people": 6, "private_min_pictures": 2, "evaluator_people": 6},
    "victim": _recognizer(8),
    "evaluators": [
        {"name": "same", "protocol": "same_people", "recognizer": _recognizer(4)},
        {"name": "disjoint", "protocol": "person_disjoint", "recognizer": _recognizer(4)},
    ],
    "generator": {
        "name": "vae",
        "latent_size": 8,
        "width": 4,
        "training": {"epochs": 2, "batch_size": 32},
    },
    "defense_generator": {
        "name": "gan_ada",
        "latent_size": 8,
        "width": 4,
        "discriminator_width": 4,
        "training": {"epochs": 2, "batch_size": 16},
    },
    "defense": {
        "name": "dummy_recognizer",
        "alpha": 0.5,
        "neighbours": 8,
        "training": {"epochs": 2, "batch_size": 16},
    },
    "attacks": [
        {"name": "pixel_gray_box", "steps": 4},
        {"name": "latent_white_box", "steps": 6},
    ],
    "targets": {"count": 4, "repeats": 2},
    "sweep": {"setting": "defense.alpha", "values": [0.25, 1.0], "marked": 0.25},
    # The same numbers on every machine.
    "runtime": {"train_cpus": 1, "attack_workers": 1, "shard_size": 4, "precision": "fp32"},
}


def recipe(**changed: Any) -> dict[str, Any]:
    """The recipe as plain data, with dotted settings changed: `recipe(**{"defense.alpha": 0.1})`."""
    data = copy.deepcopy(RECIPE)
    for path, value in changed.items():
        assign(data, path, value)
    return data


def experiment(**changed: Any) -> Experiment:
    """The checked experiment."""
    return validate(Experiment, recipe(**changed), origin="tiny")


def session(root: Path, **changed: Any) -> Session:
    """The experiment opened in this process, without Ray."""
    made = experiment(**changed)
    return open_experiment(made, Storage(str(root)))


def train_all(opened: Session, on_spec: Callable[[str], None] = lambda role: None) -> None:
    """Train every network of the plan in this process."""
    for spec in opened.plan.specs:
        on_spec(spec.role)
        train_network(opened, spec, alone(CPU))
