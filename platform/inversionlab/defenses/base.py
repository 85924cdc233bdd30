"""The interface of a defense: what it trains, what it releases in place of the victim, and where it protects.

A defense is a subclass of `Defense` with its own `Settings`. It states the class facts (`layer`, `protects`, ...)
and implements `protect` unless it only replaces the victim. If it `trains` a network, it also implements
`training_job` and, unless that network is a plain recognizer, `build`. Every other method has a default.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from enum import IntEnum
from typing import TYPE_CHECKING, Any, ClassVar, Self, TypeAlias

import torch
from pydantic import Field, PrivateAttr
from torch import Tensor, nn

from inversionlab.core.contracts import GenerativePrior, ModelShape, TrainingJob, as_scoring_model
from inversionlab.core.images import to_float
from inversionlab.core.learner import Learner, TrainingSettings
from inversionlab.core.rows import Images, table
from inversionlab.core.settings import Settings
from inversionlab.core.views import View

if TYPE_CHECKING:
    # At run time, `defenses/__init__.py` replaces it by the union of all defenses' settings.
    AnyDefense: TypeAlias = "DefenseSettings"


class DefenseSettings(Settings):
    """Base of every defense's settings; each subclass gives `name` a literal type."""

    name: str
    label: str | None = Field(default=None, pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]*$", max_length=64)
    """Title in tables; null: its name. A recipe that holds one defense twice needs labels."""
    inner: AnyDefense | None = None
    """The defense that this one is applied to; null: the victim itself."""
    _aimed_at: int | None = PrivateAttr(default=None)

    @property
    def aimed_at(self) -> int | None:
        """The attacked class that it, or one below it, protects alone (`protect: each`); None: all of them.

        No recipe holds it.
        """
        below = None if self.inner is None else self.inner.aimed_at
        return below if self._aimed_at is None else self._aimed_at

    def alone_for(self, target: int, inner: DefenseSettings | None) -> Self:
        """A copy that protects this class alone, put on `inner`."""
        copied = self.model_copy(update={"inner": inner})
        copied._aimed_at = target
        return copied

    @property
    def title(self) -> str:
        """Title in tables."""
        return self.label or self.name

    def trained_part(self) -> dict[str, Any]:
        """The settings that this defense's own network depends on, without those of `inner`."""
        # The generator that a label refers to enters the network's hash separately.
        without = {"label", "inner", "generator", *self.inference_only}
        return self.model_dump(mode="json", exclude=without)

    def released_part(self) -> dict[str, Any]:
        """All settings that the released model depends on, including those of `inner`."""
        own = self.model_dump(mode="json", exclude={"label", "inner", "generator"})
        return own if self.inner is None else {**own, "inner": self.inner.released_part()}


class Layer(IntEnum):
    """What a defense changes. It can be put only on a defense of a lower layer."""

    NOTHING = 0
    VICTIM = 1
    """Another recognizer replaces the victim."""
    MIXTURE = 2
    """The outputs of other networks are mixed into the victim's."""
    OUTPUT = 3
    """The score vector is changed before it is released."""
    LABEL = 4
    """The winning class of the changed score vector is corrected."""


class ProtectedModel(nn.Module, ABC):
    """The released model: users query it and attackers attack it."""

    classes: int
    """K, the number of classes."""
    centres: int = 1
    """C, how many identities the weights hold under each label."""
    victim: nn.Module
    """The model below: another `ProtectedModel`, or a recognizer at the bottom."""

    @abstractmethod
    def log_scores(self, x_NCHW: Tensor) -> Tensor:
        """Log-probabilities (N, K) of pictures (N, C, H, W) in [0, 1], differentiable in the pictures."""

    def centre_log_scores(self, x_NCHW: Tensor) -> Tensor:
        """Log-probabilities (N, K, C) of the identities under each label, whose sum over C is the label's."""
        return self.log_scores(x_NCHW)[..., None]

    def centre_lengths(self) -> Tensor | None:
        """The lengths (K, C) of the weights of these identities; None where there is one under each label."""
        return None

    def facts(self) -> dict[str, float]:
        """Figures to read with the accuracy, such as the epsilon spent, including those of `victim`."""
        victim: Any = getattr(self, "victim", None)
        return victim.facts() if hasattr(victim, "facts") else {}

    def recognizer(self) -> nn.Module:
        """The recognizer at the bottom, without the defenses on top of it."""
        return self.victim.recognizer() if isinstance(self.victim, ProtectedModel) else self.victim


class Undefended(ProtectedModel):
    """A recognizer as it is."""

    def __init__(self, victim: nn.Module) -> None:
        super().__init__()
        self.victim = victim
        self.classes = as_scoring_model(victim).classes
        self.centres = getattr(victim, "centres", 1)

    def log_scores(self, x_NCHW: Tensor) -> Tensor:
        """The recognizer's log-probabilities (N, K)."""
        return as_scoring_model(self.victim).log_scores(x_NCHW)

    def centre_log_scores(self, x_NCHW: Tensor) -> Tensor:
        """Those of the recognizer's identities (N, K, C)."""
        if self.centres == 1:
            return super().centre_log_scores(x_NCHW)
        victim: Any = self.victim
        log_p_NKC: Tensor = victim.centre_log_scores(x_NCHW)
        return log_p_NKC

    def centre_lengths(self) -> Tensor | None:
        """Those of the recognizer's identities (K, C), where it has several a label."""
        victim: Any = self.victim
        return victim.centre_lengths() if self.centres > 1 else None


@dataclass(frozen=True)
class VictimBlueprint:
    """The victim's shape and structure, from which a defense builds its own network."""

    shape: ModelShape
    new_network: Callable[[], nn.Module]
    """Returns an untrained recognizer (`recognizers/recognizer.py`) of the victim's structure and loss, whose
    weights depend on the experiment's seed alone."""
    with_classes: Callable[[int], nn.Module] | None = None
    """The same with another number of classes; None for a given victim, whose head cannot be replaced."""


@dataclass(frozen=True)
class DefenseContext:
    """What the defender has for training a defense's network. Networks are frozen, in inference mode and on
    `device`; pictures are uint8 (N, C, H, W) on the CPU."""

    blueprint: VictimBlueprint
    private_NCHW: Images
    """The victim's training set."""
    private_class_N: Tensor
    public_NCHW: Images
    """Pictures of public people, the same that attackers have."""
    public_class_N: Tensor
    """Classes 0, 1, ... of F_C for those pictures; -1 for people with a single picture."""
    targets: tuple[int, ...]
    """The classes attacked in this experiment, for defenses that protect chosen classes."""
    seed: int
    device: torch.device
    augment: Callable[[Tensor, torch.Generator], Tensor]
    """The victim's training augmentation of float pictures (N, C, H, W)."""
    new_recognizer: Callable[[TrainingSettings], Learner]
    """Returns a learner of an untrained network of the victim's structure and loss, without augmentation."""
    name: str = ""
    """The hash of everything that goes into the network to be trained."""
    victim: nn.Module | None = None
    """R_T, the trained victim, if the defense `needs` it. Copy it before training it further."""
    model: ProtectedModel | None = None
    """The model that the defense is put on, if the defense `needs` it."""
    generator: GenerativePrior | None = None
    """The defender's own generator, if the defense `needs` a private or a public one."""
    classifier: nn.Module | None = None
    """F_C, a recognizer of the victim's structure trained on public people, if the defense `needs` it."""
    decoy_NCHW: Images | None = None
    """Pictures of strangers whom only the defender knows (`split.decoy_people`), if the defense needs any."""
    decoy_person_N: Tensor | None = None
    """The people 0, 1, ... on those pictures."""

    @property
    def classes(self) -> int:
        """K, the number of private people."""
        return self.blueprint.shape.classes

    @torch.no_grad()
    def answers(self, images_NCHW: Images, chunk: int = 256) -> Tensor:
        """Log-probabilities (N, K), on the CPU, that `model` gives to uint8 pictures; a new tensor."""
        assert self.model is not None, "the defense must state that it needs the model"
        log_p_NK = table(len(images_NCHW), self.model.classes)
        for rows in torch.arange(len(images_NCHW)).split(chunk):
            log_p_NK[rows] = self.model.log_scores(to_float(images_NCHW[rows], self.device)).cpu()
        return log_p_NK


class Defense:
    """One way to make a victim reveal less of its training data."""

    Settings: ClassVar[type[DefenseSettings]]
    layer: ClassVar[Layer]
    trains: ClassVar[bool] = False
    """Whether it trains a network of its own (`training_job`)."""
    needs: ClassVar[frozenset[str]] = frozenset()
    """What that training needs of its context: "victim", "model", "strangers" (public people with two pictures or
    more), "classifier" (of those people), "private_generator", "public_generator"."""
    wants: ClassVar[frozenset[str]] = frozenset()
    """What its public generator must offer besides pictures; see `Generator.offers`."""
    learns_private: ClassVar[bool] = False
    """Whether its network learns from private pictures; if so, it cannot be put on differential privacy."""
    differential_privacy: ClassVar[bool] = False
    """Whether the released model satisfies differential privacy."""
    victim_share: ClassVar[str | None] = None
    """The setting that is the victim's share of a mixed output (1: undefended); None: it mixes no outputs."""
    aware_attack: ClassVar[str] = "distil_then_invert"
    """The attack that knows of this defense: one made against it, or the generic one."""
    keeps_labels: ClassVar[bool] = False
    """Whether the winning class is always that of the model below, or of the recognizer in the settings."""
    protects: ClassVar[frozenset[type[View]]]
    """The views in which it protects. Without `WhiteBox`, an attacker who holds the weights can remove it."""

    def __init__(self, settings: Any) -> None:
        """Take an instance of the class's own `Settings`."""
        self.settings = settings

    @classmethod
    def check(cls, settings: Any) -> None:
        """Raise ValueError if the settings do not go together; called when a recipe is loaded."""

    def fits(self, blueprint: VictimBlueprint, pictures: int) -> None:
        """Before training: raise ValueError if the settings do not fit the victim or its number of pictures."""
        del blueprint, pictures

    def decoy_people(self, classes: int) -> int:
        """How many of the defender's strangers (`split.decoy_people`) it needs for a victim of K classes."""
        del classes
        return 0

    def idle(self) -> bool:
        """Whether these settings release the model below unchanged."""
        return False

    def needed(self) -> frozenset[str]:
        """The part of `needs` that training needs at these settings."""
        return self.needs

    def aims(self) -> bool:
        """Whether its network depends on `DefenseContext.targets`."""
        return False

    def carries_victim(self) -> bool:
        """Whether the released model also holds the undefended victim's weights."""
        return False

    def left(self) -> DefenseSettings | None:
        """What remains after a white-box attacker removes this defense; None: the bare victim."""
        inner: DefenseSettings | None = self.settings.inner
        return inner

    def build(self, blueprint: VictimBlueprint) -> nn.Module:
        """An untrained `training_job(...).learner.product()`; ConfigError if the network does not fit the data."""
        return blueprint.new_network()

    def training_job(self, context: DefenseContext) -> TrainingJob:
        """The training of the defense's own network; NotImplementedError if it trains none."""
        raise NotImplementedError(f"{type(self).__name__} trains nothing")

    def protect(self, victim: nn.Module, trained: nn.Module | None) -> ProtectedModel:
        """The released model; by default the trained network alone, in the victim's place.

        `victim` is the model below, with `classes` and `log_scores`: the recognizer R_T or a `ProtectedModel`.
        `trained` is the network that `training_job` trained, or the undefended victim if `carries_victim`;
        ValueError if it is None, but the defense needs it.
        """
        return Undefended(self.own(trained))

    def own(self, trained: nn.Module | None) -> nn.Module:
        """`trained`, the network that `protect` was given; ValueError if it is None."""
        if trained is None:
            raise ValueError(f"{self.settings.title}: its network has not been trained")
        return trained

    def decoys(self, context: DefenseContext) -> Tensor | None:
        """Pictures (K, C, H, W) in [0, 1], one a class, that attacks are led to; None if there are none."""
        return None
