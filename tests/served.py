"""A recognizer behind HTTP to audit: made-up people in folders, a network trained outside, and tiny recipes.

The server computes in double precision. So its answer to a picture does not depend, in float32, on the other
pictures of the request, and equal audits leave equal rows however their requests were cut.
"""

from __future__ import annotations

import json
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import torch
from PIL import Image
from torch import nn

from inversionlab import data as data_sets
from inversionlab.core.settings import assign, validate
from inversionlab.core.yaml_io import dump_yaml
from inversionlab.data.procedural import ProceduralSettings
from inversionlab.distributed.train_worker import train_network
from inversionlab.experiment import Experiment
from inversionlab.given.endpoint_settings import EndpointSettings
from inversionlab.given.ledger import Ledger, ledger_folder
from inversionlab.pipeline.session import open_experiment
from inversionlab.pipeline.train import alone
from inversionlab.store.storage import Storage
from tests.given.outside_model import trained

PEOPLE, STRANGERS, PICTURES, SIDE = 5, 12, 8, 16
TARGETS, REPEATS = 3, 2
BATCH, AT_ONCE = 4, 3
"""Pictures in a request, and requests in flight."""
ROWS = 5 * TARGETS * REPEATS
"""Reconstructions: three attacks and two null attacks."""
SMALL = {"epochs": 2, "batch_size": 16}


class EightBits(nn.Module):
    """A network as an endpoint shows it: pictures lose all but 8 bits a channel, and it computes in doubles."""

    def __init__(self, net: nn.Module) -> None:
        super().__init__()
        self.net = net.double()

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Logits (N, K) of pictures (N, C, H, W) in [0, 1]."""
        seen = (x * 255).round().clamp(0, 255).to(torch.uint8)
        return self.net(seen.double() / 255).float()


Row = dict[str, Any]


@dataclass(frozen=True)
class World:
    """What all audits share; `storage` holds the networks that are trained here."""

    folder: Path

    @property
    def script(self) -> Path:
        """The recognizer as TorchScript: pictures in [0, 1] to logits."""
        return self.folder / "net.ts"

    @property
    def storage(self) -> Path:
        """Evaluator and generators, trained."""
        return self.folder / "runs"

    def recipe(self, victim: dict[str, Any], **changed: Any) -> dict[str, Any]:
        """An audit of `victim` by three attacks, with dotted settings changed."""
        pictures = {"name": "folder", "image_size": SIDE, "channels": 1}
        recipe: dict[str, Any] = {
            "name": "served",
            "data": {**pictures, "root": str(self.folder / "people")},
            "public_data": {**pictures, "root": str(self.folder / "strangers")},
            "split": {"private_min_pictures": 2, "evaluator_people": 0},
            "victim": victim,
            "evaluators": [
                {
                    "name": "same",
                    "protocol": "same_people",
                    "recognizer": {
                        "network": {"name": "small_resnet", "width": 4, "blocks": [1]},
                        "training": SMALL,
                    },
                }
            ],
            "generator": {"name": "vae", "latent_size": 8, "width": 4, "training": SMALL},
            "generators": {
                "style": {
                    "name": "style_gan",
                    "latent_size": 8,
                    "style_size": 8,
                    "width": 4,
                    "discriminator_width": 4,
                    "training": SMALL,
                }
            },
            "attacks": [
                {"name": "latent_black_box", "perturbations": 8, "steps": 4, "grid_every": 2},
                {
                    "name": "mirror",
                    "gradients": False,
                    "candidates": 8,
                    "mapped": 64,
                    "genetic": {"population": 4, "generations": 4},
                },
                {"name": "label_only", "start_queries": 32, "directions": 4, "steps": 4},
            ],
            "targets": {"count": TARGETS, "repeats": REPEATS},
            "runtime": {"train_cpus": 1, "attack_workers": 2, "shard_size": 2},
        }
        for path, value in changed.items():
            assign(recipe, path, value)
        return recipe

    def audit(
        self,
        folder: Path,
        url: str | None = None,
        victim: dict[str, Any] | None = None,
        **changed: Any,
    ) -> Audit:
        """An audit in a folder of its own: of the endpoint `url`, or of another victim."""
        folder.mkdir(parents=True, exist_ok=True)
        storage = folder / "runs"
        if not storage.exists():
            shutil.copytree(self.storage, storage)
        asked = {"url": url, "batch_size": BATCH, "concurrency": AT_ONCE}
        given = victim or {"answers": "logits", "endpoint": asked}
        recipe = folder / "served.yaml"
        recipe.write_text(dump_yaml(self.recipe(given, **changed)))
        return Audit(recipe, storage)


@dataclass(frozen=True)
class Audit:
    """A recipe and the storage on which it is audited."""

    recipe: Path
    storage: Path

    def words(self, *more: str) -> list[str]:
        """The words after `inversionlab`."""
        return ["audit", str(self.recipe), "--storage", str(self.storage), *more]

    def rows(self) -> dict[tuple[str, int, int], Row]:
        """Every stored row of an attack, by attack, target and repeat; each must be there once."""
        found: dict[tuple[str, int, int], Row] = {}
        for file in self.storage.glob("reconstructions/*/*.parquet"):
            for row in pq.read_table(file, partitioning=None).to_pylist():
                on = "" if row["defense"] in ("", "none") else f" on {row['defense']}"
                key = (row["attack"] + on, row["target"], row["repeat"])
                assert key not in found, f"{key} is there twice"
                found[key] = row
        return found

    def findings(self) -> dict[tuple[str, int, int], tuple[Any, ...]]:
        """What must not depend on faults or kills: pictures, ranks, queries, steps."""
        return {
            key: (
                row["picture"],
                row["queries"],
                row["steps"],
                row["confidence"] if row["confidence"] == row["confidence"] else None,
                [(said["evaluator"], said["rank"]) for said in row["verdicts"]],
            )
            for key, row in self.rows().items()
        }

    def spent(self, url: str) -> int:
        """The queries that the ledger counts."""
        folder = ledger_folder(EndpointSettings(url=url), str(self.storage))
        ledger = Ledger(folder, "", None, None)
        try:
            return ledger.spent
        finally:
            ledger.close()

    def record(self) -> dict[str, Any]:
        """The run's record."""
        (file,) = self.storage.glob("runs/*/run.json")
        record: dict[str, Any] = json.loads(file.read_text())
        return record


def make_world(folder: Path) -> World:
    """Draw the people, train the recognizer outside, and train the networks that audits share."""
    settings = ProceduralSettings(
        people=PEOPLE + STRANGERS, pictures_per_person=PICTURES, image_size=SIDE, channels=1
    )
    pictures = data_sets.build(settings).load()
    for person, name in enumerate(pictures.people):
        own = pictures.images_NCHW[pictures.person_N == person]
        home = folder / ("people" if person < PEOPLE else "strangers") / name
        home.mkdir(parents=True)
        for number, x_CHW in enumerate(own):
            Image.fromarray(x_CHW[0].numpy()).save(home / f"{number}.png")
    private_N = pictures.person_N < PEOPLE
    x = pictures.images_NCHW[private_N].float() / 255
    world = World(folder)
    net = EightBits(trained(x, pictures.person_N[private_N], epochs=40))
    torch.jit.script(net.eval()).save(str(world.script))
    unasked = {"endpoint": {"url": "http://127.0.0.1:9/unasked"}}
    experiment = validate(Experiment, world.recipe(unasked), origin="served")
    session = open_experiment(experiment, Storage(str(world.storage)))
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    for spec in session.plan.specs:
        if not spec.given:
            train_network(session, spec, alone(torch.device("cpu")))
    torch.set_num_threads(threads)
    return world
