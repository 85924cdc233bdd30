"""What the attack benchmarks run on: an experiment with trained networks, and an evaluator.

Without a recipe, small networks learn made-up faces in this process, in about a minute. With one, the networks are
those that an audit has trained and stored; nothing is written to that storage. Where only the time of passes
matters, the networks have the LFW recipe's size and are untrained.
"""

from __future__ import annotations

import contextlib
import io
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from inversionlab.attacks import ATTACKS, AttackerContext
from inversionlab.core.images import to_bytes
from inversionlab.core.settings import override, read_recipe, validate
from inversionlab.defenses import ProtectedModel
from inversionlab.distributed.train_worker import train_network
from inversionlab.experiment import Experiment
from inversionlab.generators.base import Generator
from inversionlab.pipeline.batch_invariant import BatchInvariantModel, BatchInvariantPrior
from inversionlab.pipeline.evaluate import features
from inversionlab.pipeline.network_spec import NetworkSpec
from inversionlab.pipeline.session import Session, SessionSpec, open_experiment, open_session
from inversionlab.pipeline.train import alone
from inversionlab.store.storage import Storage
from inversionlab.store.tables import Job

TARGETS = 20
CPU = torch.device("cpu")


def _recognizer(width: int, dropout: float) -> dict[str, Any]:
    return {
        "network": {"name": "small_resnet", "width": width, "dropout": dropout},
        "training": {"epochs": 20, "batch_size": 32, "learning_rate": 0.003, "weight_decay": 0.05},
    }


RECIPE: dict[str, Any] = {
    "name": "arena",
    "data": {"name": "procedural", "people": 24, "pictures_per_person": 30, "image_size": 32},
    "public_data": {
        "name": "procedural",
        "people": 500,
        "pictures_per_person": 3,
        "image_size": 32,
        "seed": 1,
    },
    "split": {"private_people": TARGETS, "evaluator_people": 0},
    "victim": _recognizer(16, 0.0),
    "evaluators": [
        {"name": "same_people", "protocol": "same_people", "recognizer": _recognizer(20, 0.3)}
    ],
    "generator": {
        "name": "vae",
        "latent_size": 32,
        "width": 8,
        "beta": 0.1,
        "training": {"epochs": 12, "batch_size": 32, "learning_rate": 0.002},
    },
    # As published, as the plain attacks are. Fewer updates than by default: every perturbation of every update
    # costs the plain black-box attack a picture.
    "attacks": [
        {"name": "latent_white_box", "stop": 0.9999, "as_published": True},
        {
            "name": "latent_black_box",
            "stop": 0.9999,
            "steps": 150,
            "as_published": True,
            "grid_every": 25,
        },
        {"name": "mi_face"},
    ],
    "targets": {"count": TARGETS, "repeats": 1},
}
LFW_SIZE = (
    "data={name: procedural, people: 158, pictures_per_person: 10, image_size: 64}",
    "public_data={name: procedural, people: 256, pictures_per_person: 2, image_size: 64, seed: 1}",
    "split.private_people=158",
    "victim.network.width=32",
    "generator.latent_size=64",
    "generator.width=12",
)
"""Overrides that give the networks of the recipe above the LFW recipe's size."""


@dataclass(frozen=True)
class Arena:
    """An experiment that is open in this process; its attacks target the undefended victim."""

    session: Session
    steps: int | None = None
    """No attack makes more updates than this; None: as many as its settings say."""

    @property
    def device(self) -> torch.device:
        """Where its networks live."""
        return self.session.builder.device

    @property
    def model(self) -> ProtectedModel:
        """The model under attack, as a worker holds it."""
        return self.session.builder.attacked(self.session.experiment.defense)

    @property
    def bare_model(self) -> ProtectedModel:
        """The model under attack, without the pipeline's wrapper."""
        model = self.model
        assert isinstance(model, BatchInvariantModel)
        return model.model

    def settings(self, name: str) -> Any:
        """An attack's settings."""
        (found,) = (a for a in self.session.experiment.attacks if a.name == name)
        steps = min(found.steps, self.steps or found.steps)  # type: ignore[attr-defined]
        return found.model_copy(update={"steps": steps})

    def context(self, name: str) -> AttackerContext:
        """What an attack's attacker holds."""
        (cell,) = (
            c for c in self.session.plan.cells if c.attack.name == name and c.defense is not None
        )
        return self.session.builder.attacker_context(cell)

    def bare_generator(self, name: str) -> Generator:
        """The attacker's generator, without the pipeline's wrapper."""
        prior = self.context(name).generator
        assert isinstance(prior, BatchInvariantPrior)
        return prior.generator

    def jobs(self, count: int, skip: int = 0) -> list[Job]:
        """`count` jobs after the first `skip`; the targets take turns."""
        targets = self.session.plan.targets
        numbers = range(skip, skip + count)
        return [(targets[i % len(targets)], i // len(targets)) for i in numbers]

    @torch.no_grad()
    def recognised(self, images_NCHW: Tensor, jobs: Sequence[Job]) -> int:
        """In how many pictures the recipe's first evaluator ranks the target first."""
        settings = self.session.experiment.evaluators[0]
        people = self.session.plan.evaluators[settings.name].data(self.session.builder.splits)
        evaluator = self.session.builder.recognizer(f"evaluator:{settings.name}")
        feature_ND = features(evaluator, to_bytes(images_NCHW), self.device)
        winner_N = evaluator.head(feature_ND.to(self.device)).argmax(1).cpu()
        return int((winner_N == torch.tensor([people.class_of[t] for t, _ in jobs])).sum())


def seconds(work: Callable[[], object], device: torch.device) -> float:
    """What one call takes: CPU time of this process, or, on a GPU, time until the GPU is done."""
    if device.type == "cpu":
        began = time.process_time()
        work()
        return time.process_time() - began
    torch.cuda.synchronize(device)
    began = time.perf_counter()
    work()
    torch.cuda.synchronize(device)
    return time.perf_counter() - began


def prepare(
    recipe: Path | None,
    assignments: Sequence[str],
    storage: Path,
    attacks: Sequence[str],
    device: torch.device = CPU,
    judge: str | None = None,
) -> SessionSpec:
    """Open the experiment and train its missing networks; every process can then open the returned spec.

    Raises:
        ConfigError: the recipe or the data is wrong.
        SystemExit: a network of the recipe is not in the storage, or the recipe has no evaluator `judge`.
    """
    data = RECIPE if recipe is None else read_recipe(recipe)
    opened = _opened(override(data, assignments), storage, attacks, judge)
    session = open_session(opened.spec, device, splits=opened.builder.splits)
    for spec in session.plan.specs:
        if session.artifacts.finished(spec):
            continue
        if recipe is not None:
            raise SystemExit(f"{storage}: {spec.title} is missing; run the audit of {recipe} first")
        with contextlib.redirect_stdout(io.StringIO()):
            train_network(session, spec, alone(device))
    return session.spec


def enter(spec: SessionSpec, device: torch.device, steps: int | None = None) -> Arena:
    """Open the arena in this process."""
    return Arena(open_session(spec, device), steps)


def untrained(
    storage: Path, attacks: Sequence[str], device: torch.device, steps: int | None
) -> Arena:
    """Untrained networks of the LFW recipe's size, with which no attack ever converges."""
    session = _opened(override(RECIPE, LFW_SIZE), storage, attacks)

    def initial(spec: NetworkSpec) -> dict[str, Tensor]:
        return dict(spec.training_job(session.builder).learner.product().state_dict())

    return Arena(open_session(session.spec, device, load=initial), steps)


def _opened(
    data: dict[str, Any], storage: Path, attacks: Sequence[str], judge: str | None = None
) -> Session:
    given = {attack["name"]: attack for attack in reversed(data["attacks"])}
    changed = {
        **{key: data[key] for key in data if key not in ("defense_generator", "sweep")},
        # A network's name depends on the data, the seed and its own settings, not on these sections.
        "defense": {"name": "none"},
        "attacks": [given.get(name, {"name": name}) for name in attacks],
        "evaluators": _judges(data["evaluators"], judge),
    }
    experiment = validate(Experiment, changed, origin=str(data["name"]))
    return open_experiment(experiment, Storage(str(storage)))


def _judges(evaluators: list[dict[str, Any]], judge: str | None) -> list[dict[str, Any]]:
    """The evaluator of this name alone; None: the first one."""
    found = [each for each in evaluators if judge in (None, each["name"])]
    if not found:
        names = ", ".join(each["name"] for each in evaluators)
        raise SystemExit(f"--judge {judge}: the recipe's evaluators are {names}")
    return found[:1]


def runnable(name: str) -> bool:
    """Whether an attack queries the model and needs nothing else but a decoder and an encoder."""
    kind = ATTACKS[name]
    return kind.view is not None and not kind.trains and kind.wants <= {"encoder"}
