"""An audit of the model that was trained outside: pictures in folders, the model's files, and a small recipe."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from PIL import Image

from inversionlab.core.settings import assign, validate
from inversionlab.experiment import Experiment
from inversionlab.pipeline.endpoint import begin
from inversionlab.pipeline.session import Session, store_given
from inversionlab.store.storage import Storage
from tests.given.outside_model import PEOPLE, OutsideFiles, made_up_people, train_outside

NAMES = tuple(f"p{number}" for number in (1, 10, 2, 20, 3, 4))
"""The people, sorted as text."""
MEAN, STD = 0.4, 0.25
"""What the model's pictures are normalized by."""
NORMALIZED = {"mean": [MEAN], "std": [STD]}


@dataclass(frozen=True)
class Own:
    """What the owner of a model has."""

    files: OutsideFiles
    people: Path
    strangers: Path

    def victim(self, form: str = "state", **changed: Any) -> dict[str, Any]:
        """The recipe's `victim`, for one form of the model's files."""
        path = str(getattr(self.files, form))
        given: dict[str, Any] = {"model": path}
        if form in ("state", "safetensors"):
            model = "tests.given.outside_model:OutsideNet"
            given = {"model": model, "arguments": self.files.arguments, "weights": path}
        return {**given, "preprocessing": NORMALIZED, **changed}

    def recipe(self, victim: dict[str, Any], **changed: Any) -> dict[str, Any]:
        """A recipe whose networks train in a second; dotted settings are changed."""
        pictures = {"name": "folder", "image_size": 16}
        recipe: dict[str, Any] = {
            "name": "own",
            "data": {**pictures, "root": str(self.people)},
            "public_data": {**pictures, "root": str(self.strangers)},
            "split": {"private_min_pictures": 2, "evaluator_people": 0},
            "victim": victim,
            "evaluators": [{"name": "same", "protocol": "same_people", "recognizer": small(3)}],
            "generator": {
                "name": "vae",
                "latent_size": 8,
                "width": 4,
                "training": {"epochs": 2, "batch_size": 32},
            },
            "attacks": [{"name": "latent_white_box", "steps": 6}],
            "targets": {"count": 2, "repeats": 1},
            # In bfloat16 the last bits in which forms of a model differ make other pictures.
            "runtime": {"train_cpus": 1, "attack_workers": 1, "shard_size": 4, "precision": "fp32"},
        }
        for path, value in changed.items():
            assign(recipe, path, value)
        return recipe

    def experiment(self, victim: dict[str, Any], **changed: Any) -> Experiment:
        """The checked experiment."""
        return validate(Experiment, self.recipe(victim, **changed), origin="own")

    def session(self, root: Path, victim: dict[str, Any], **changed: Any) -> Session:
        """The experiment as an audit opens it, with the given models stored."""
        session = begin(self.experiment(victim, **changed), Storage(str(root)))
        store_given(session)
        return session


def small(epochs: int) -> dict[str, Any]:
    """A recognizer of a few thousand weights."""
    return {
        "network": {"name": "small_resnet", "width": 4, "blocks": [1], "feature_size": 16},
        "training": {"epochs": epochs, "batch_size": 16, "learning_rate": 0.005},
    }


def make_own(folder: Path) -> Own:
    """Draw people and strangers, train a model of the people outside, and write everything."""
    pictures_NCHW, label_N = made_up_people(2 * PEOPLE)
    known_N = label_N < PEOPLE
    files = train_outside(
        folder / "model", pictures_NCHW[known_N], label_N[known_N], mean=MEAN, std=STD
    )
    strangers = [f"s{number}" for number in range(PEOPLE)]
    write_people(folder / "people", pictures_NCHW[known_N], label_N[known_N], NAMES)
    write_people(
        folder / "strangers", pictures_NCHW[~known_N], label_N[~known_N] - PEOPLE, strangers
    )
    return Own(files, folder / "people", folder / "strangers")


def write_people(
    folder: Path, x_NCHW: torch.Tensor, label_N: torch.Tensor, names: Sequence[str]
) -> None:
    """A folder for each person, with PNGs."""
    for row, (x_CHW, label) in enumerate(zip(x_NCHW, label_N.tolist(), strict=True)):
        path = folder / names[label] / f"{row:03d}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        image_HWC = (255 * x_CHW).round().byte().permute(1, 2, 0).numpy()
        Image.fromarray(image_HWC).save(path)
