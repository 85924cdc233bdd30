"""Every defense on a victim of a few thousand weights, with made-up pictures and short trainings."""

from __future__ import annotations

import copy
import functools
from typing import Any

import torch
from torch import Tensor, nn

from inversionlab.core.contracts import ModelShape, TrainingJob
from inversionlab.core.learner import TrainingSettings
from inversionlab.defenses import DEFENSES, Defense, DefenseContext, ProtectedModel, VictimBlueprint
from inversionlab.defenses.base import Undefended
from inversionlab.generators.inversion_model import InversionModelSettings
from inversionlab.pipeline.train import Progress, alone, train
from inversionlab.recognizers import (
    AugmentSettings,
    Recognizer,
    RecognizerLearner,
    RecognizerSettings,
)
from inversionlab.recognizers.small_resnet import SmallResnet
from tests import toys

CLASSES, SIZE, LATENT, STRANGERS = 5, 16, 6, 7
DECOYS = 2
"""Of each class, unless a test says otherwise; the defender holds strangers for seven."""
TARGETS = (0, 2, 3)
VICTIM = RecognizerSettings(
    augment=AugmentSettings(flip=0, shift=0, zoom=0, rotation=0, brightness=0, contrast=0, erase=0),
    network=SmallResnet.Settings(width=8, blocks=(1,), feature_size=16),
    training=TrainingSettings(epochs=30, batch_size=8, learning_rate=5e-3),
)

INNER: dict[str, str] = {"label_modifier": "uniform_noise"}
"""The defense below one that cannot stand alone."""
SHORT: dict[str, dict[str, Any]] = {
    "dummy_recognizer": {"neighbours": 4, "alpha": 0.7},
    "gan_fake_samples": {"samples": 4, "steps": 3},
    "uniform_noise": {"amplitude": 0.3},
    "anonymity_set": {"decoys": DECOYS},
    "adversarial_noise": {"network": InversionModelSettings(width=4, layers_fewer=1)},
}
"""Settings that keep a test short or a defense's effect large."""


class Faces(nn.Module):
    """A generator with a critic and an encoder, whose code is the mean of each colour, twice."""

    latent_size = LATENT

    def forward(self, z_ND: Tensor) -> Tensor:
        return z_ND.repeat(1, 128)[:, : 3 * SIZE**2].view(-1, 3, SIZE, SIZE).sigmoid()

    def draw(self, count: int, rng: torch.Generator) -> Tensor:
        return torch.randn(count, LATENT, generator=rng)

    def critic(self, x_NCHW: Tensor) -> Tensor:
        return -x_NCHW.flatten(1).var(1)

    def encode(self, x_NCHW: Tensor) -> Tensor | None:
        return x_NCHW.mean(dim=(2, 3)).repeat(1, 2)


def pictures(count: int = 6, seed: int = 4) -> Tensor:
    """Float pictures (count, 3, 16, 16)."""
    return torch.rand(count, 3, SIZE, SIZE, generator=torch.Generator().manual_seed(seed))


def people(classes: int, each: int, seed: int) -> tuple[Tensor, Tensor]:
    """uint8 pictures of distinguishable people, and their class numbers."""
    class_N = torch.arange(classes).repeat_interleave(each)
    faces = pictures(classes, seed)[class_N]
    return (255 * (0.8 * faces + 0.2 * pictures(len(class_N), seed + 1))).byte(), class_N


def _recognizer(classes: int, seed: int, training: TrainingSettings) -> RecognizerLearner:
    settings = VICTIM.model_copy(update={"training": training})
    return RecognizerLearner(settings, classes=classes, channels=3, image_size=SIZE, seed=seed)


class StoppedError(Exception):
    """A training was stopped."""


class Kept:
    """A checkpoint in memory."""

    def __init__(self) -> None:
        self.state: dict[str, Any] | None = None

    def load(self) -> dict[str, Any] | None:
        return self.state

    def save(self, state: dict[str, Any]) -> None:
        self.state = copy.deepcopy(state)


def _learned(
    training_job: TrainingJob, checkpoints: Any = None, interrupted_after: int | None = None
) -> nn.Module:
    def report(progress: Progress) -> None:
        if progress.epoch - 1 == interrupted_after:
            raise StoppedError

    train(
        training_job,
        role="toy",
        seed=1,
        world=alone(toys.CPU),
        checkpoints=checkpoints or toys.NoCheckpoints(),
        report=report,
        checkpoint_seconds=0.0,
    )
    module = training_job.learner.product()
    module.zero_grad(set_to_none=True)
    return module.eval().requires_grad_(False)


@functools.cache
def recognizer(classes: int = CLASSES, seed: int = 1) -> nn.Module:
    """A trained recognizer of made-up people, frozen."""
    images, class_N = people(classes, 8, seed)
    learner = _recognizer(classes, seed, VICTIM.training)
    return _learned(TrainingJob(learner, images, class_N, VICTIM.training))


def blueprint() -> VictimBlueprint:
    def new_network() -> nn.Module:
        return Recognizer(VICTIM, classes=CLASSES, channels=3, image_size=SIZE, seed=9)

    def with_classes(classes: int) -> nn.Module:
        return Recognizer(VICTIM, classes=classes, channels=3, image_size=SIZE, seed=9)

    return VictimBlueprint(ModelShape(CLASSES, 3, SIZE), new_network, with_classes)


def context(model: ProtectedModel | None = None) -> DefenseContext:
    """A context with everything that a defense may need."""
    images, class_N = people(CLASSES, 8, 1)
    public, stranger_N = people(STRANGERS, 4, 2)
    decoys, decoy_N = people(7 * CLASSES, 3, 3)
    return DefenseContext(
        name="toy",
        blueprint=blueprint(),
        private_NCHW=images,
        private_class_N=class_N,
        public_NCHW=public,
        public_class_N=stranger_N,
        targets=TARGETS,
        seed=5,
        device=toys.CPU,
        augment=lambda x_NCHW, rng: x_NCHW,
        new_recognizer=lambda training: _recognizer(CLASSES, 9, training),
        victim=recognizer(),
        model=model or Undefended(recognizer()),
        generator=Faces(),
        classifier=recognizer(STRANGERS, 2),
        decoy_NCHW=decoys,
        decoy_person_N=decoy_N,
    )


def settings(name: str, **changed: Any) -> Any:
    """Short settings of a defense, with the defense below if it needs one."""
    inner = settings(INNER[name]) if name in INNER else None
    values = {**SHORT.get(name, {}), **changed}
    fields = DEFENSES[name].Settings.model_fields
    if "training" in fields and "training" not in values:
        values["training"] = TrainingSettings(epochs=1, batch_size=8, learning_rate=1e-3)
    return DEFENSES[name].Settings(name=name, inner=inner, **values)


def make(chosen: Any) -> Defense:
    """The defense of some settings."""
    return DEFENSES[chosen.name](chosen)


def trained(
    chosen: Any, checkpoints: Any = None, interrupted_after: int | None = None
) -> nn.Module:
    """The network that a defense on the bare victim trains, frozen."""
    training_job = make(chosen).training_job(context())
    return _learned(training_job, checkpoints, interrupted_after)


_STATES: dict[str, dict[str, Tensor]] = {}
"""The weights that each defense has trained, by its settings as JSON."""


def protected(chosen: Any, *, anew: bool = False) -> ProtectedModel:
    """The released model, frozen; the networks that it needs are trained, once in a process unless `anew`."""
    # A copy, so that a test that damages it damages no other test.
    below = (
        copy.deepcopy(recognizer()) if chosen.inner is None else protected(chosen.inner, anew=anew)
    )
    defense, own, key = make(chosen), None, chosen.model_dump_json()
    if defense.trains:
        if anew or key not in _STATES:
            job = defense.training_job(
                context(below if isinstance(below, ProtectedModel) else Undefended(below))
            )
            _STATES[key] = copy.deepcopy(_learned(job).state_dict())
        own = defense.build(blueprint())
        own.load_state_dict(_STATES[key])
        own.eval().requires_grad_(False)
    model = defense.protect(below, own)
    model.eval().requires_grad_(False)
    return model
