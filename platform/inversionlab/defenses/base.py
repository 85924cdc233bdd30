"""What every defense is: how it is trained, what it releases in the victim's place, and whom that stops."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from enum import IntEnum
from typing import TYPE_CHECKING, Any, ClassVar, TypeAlias

import torch
from pydantic import Field
from torch import Tensor, nn

from inversionlab.core.contracts import GenerativePrior, ModelShape, TrainingJob
from inversionlab.core.images import to_float
from inversionlab.core.learner import Learner, TrainingSettings
from inversionlab.core.settings import Settings
from inversionlab.core.views import View

if TYPE_CHECKING:
    # At run time the union of all defenses' settings, which `defenses/__init__.py` puts in.
    AnyDefense: TypeAlias = "DefenseSettings"


class DefenseSettings(Settings):
    """Base of a defense's settings; each defense's own class adds a literal `name`."""

    name: str
    label: str | None = Field(default=None, pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]*$", max_length=64)
    """What the tables call it; null: its name. Needed where a recipe has one defense twice."""
    inner: AnyDefense | None = None
    """The defense that this one is put on; null: the victim itself."""

    @property
    def title(self) -> str:
        """What the tables call it."""
        return self.label or self.name

    def trained_part(self) -> dict[str, Any]:
        """The settings that this defense's own network depends on; what it is put on is not among them."""
        # Which generator a label means goes into a network's name by itself.
        without = {"label", "inner", "generator", *self.inference_only}
        return self.model_dump(mode="json", exclude=without)

    def released_part(self) -> dict[str, Any]:
        """All settings that the released model depends on, `inner`'s among them."""
        own = self.model_dump(mode="json", exclude={"label", "inner", "generator"})
        return own if self.inner is None else {**own, "inner": self.inner.released_part()}


class Layer(IntEnum):
    """Where a defense takes hold. One may be put on another of a lower layer."""

    NOTHING = 0
    VICTIM = 1
    """Another recognizer stands in the victim's place."""
    MIXTURE = 2
    """Other networks answer beside it."""
    OUTPUT = 3
    """Its answers are changed before they are given."""
    LABEL = 4
    """The winning class is put right after that."""


class ProtectedModel(nn.Module, ABC):
    """The model that is released: what users query and attackers attack."""

    classes: int
    victim: nn.Module
    """What it is put on: another `ProtectedModel`, or at the bottom a recognizer."""

    @abstractmethod
    def log_scores(self, x_NCHW: Tensor) -> Tensor:
        """Log-probabilities (N, K) of pictures (N, C, H, W) in [0, 1], differentiable in the picture."""

    def facts(self) -> dict[str, float]:
        """Numbers that users should read beside this model's accuracy, such as the epsilon spent; those of
        what it is put on among them."""
        below = getattr(self, "victim", None)
        return below.facts() if isinstance(below, ProtectedModel) else {}

    def recognizer(self) -> nn.Module:
        """The recognizer at the bottom, without the defenses that are put on it."""
        return self.victim.recognizer() if isinstance(self.victim, ProtectedModel) else self.victim


@dataclass(frozen=True)
class VictimBlueprint:
    """What a defense's own network is built from: the victim's shape, and untrained networks of its structure."""

    shape: ModelShape
    new_network: Callable[[], nn.Module]
    """Returns an untrained recognizer of the victim's structure and loss, with `backbone`, `head`, `features`,
    `logits` and `log_scores` as in `recognizers/recognizer.py`. Its weights depend on the experiment's seed alone."""


@dataclass(frozen=True)
class DefenseContext:
    """What the defender has in hand when a network of the defense is trained. Networks are frozen, in
    inference mode and on the device; pictures are uint8 (N, C, H, W) on the CPU."""

    blueprint: VictimBlueprint
    private_NCHW: Tensor
    private_class_N: Tensor
    """The victim's training set."""
    public_NCHW: Tensor
    """Pictures of strangers, the same that attackers hold."""
    public_class_N: Tensor
    """Who is on them as classes 0, 1, ... of F_C; -1 for those of whom there is one picture only."""
    targets: tuple[int, ...]
    """Classes under attack in this experiment, for defenses that protect chosen ones."""
    seed: int
    device: torch.device
    augment: Callable[[Tensor, torch.Generator], Tensor]
    """Changes float pictures (N, C, H, W) at random, as in the victim's own training."""
    new_recognizer: Callable[[TrainingSettings], Learner]
    """A learner of an untrained network of the victim's structure and loss, without augmentation."""
    name: str = ""
    """The name of the network that is to be trained: the hash of everything that goes into it."""
    victim: nn.Module | None = None
    """R_T as it was trained, a recognizer; where the defense `needs` it. Copy it before you train it further."""
    model: ProtectedModel | None = None
    """The model that the defense is put on; where the defense `needs` it."""
    generator: GenerativePrior | None = None
    """The defender's own generator; where the defense `needs` a private or a public one."""
    classifier: nn.Module | None = None
    """F_C, a recognizer of the victim's structure, trained on public people; where the defense `needs` it."""

    @property
    def classes(self) -> int:
        """Private people."""
        return self.blueprint.shape.classes

    @torch.no_grad()
    def answers(self, images_NCHW: Tensor, chunk: int = 256) -> Tensor:
        """What `model` says of uint8 pictures: log-probabilities (N, K) on the CPU."""
        assert self.model is not None, "the defense must say that it needs the model"
        parts = images_NCHW.split(chunk)
        return torch.cat([self.model.log_scores(to_float(p, self.device)).cpu() for p in parts])


class Defense(ABC):
    """One way to make a victim give less away."""

    Settings: ClassVar[type[DefenseSettings]]
    layer: ClassVar[Layer]
    """Where it takes hold."""
    trains: ClassVar[bool]
    """Whether it trains a network of its own (`training_job`)."""
    needs: ClassVar[frozenset[str]] = frozenset()
    """What that training needs of the workbench: "victim", "model", "strangers" (public people on two pictures or
    more), "classifier" (of them), "private_generator", "public_generator"."""
    learns_private: ClassVar[bool] = False
    """Whether its networks learn from private pictures; such a one cannot be put on one that promises
    differential privacy."""
    differential_privacy: ClassVar[bool] = False
    """Whether the released model keeps a promise of differential privacy."""
    victim_share: ClassVar[str | None] = None
    """The setting that says which share of a mixed output is the victim's, so that 1 means undefended; None: it
    mixes nothing."""
    keeps_labels: ClassVar[bool] = False
    """Whether it promises that the winning class is never moved: it is that of what it is put on, or of the
    recognizer that the settings name."""
    protects: ClassVar[frozenset[type[View]]]
    """The views of an attacker that it protects in. Without `WhiteBox`, who holds the weights can take it off:
    he is left with `inner`."""

    def __init__(self, settings: Any) -> None:
        """Take the class's own `Settings`."""
        self.settings = settings

    @classmethod  # noqa: B027 (most settings go together)
    def check(cls, settings: Any) -> None:
        """Refuse settings that do not go together, at load.

        Raises:
            ValueError: which, and what would be right.
        """

    def fits(self, blueprint: VictimBlueprint, pictures: int) -> None:
        """Refuse settings that do not fit the data, before anything is trained.

        Args:
            blueprint: what the defense's network is built for.
            pictures: how many private ones there are to learn from.

        Raises:
            ValueError: which, and what would be right.
        """
        del blueprint, pictures

    def idle(self) -> bool:
        """Whether, at these settings, the released model is the one it is put on, unchanged."""
        return False

    def needed(self) -> frozenset[str]:
        """What the training needs at these settings, of `needs`."""
        return self.needs

    def aims(self) -> bool:
        """Whether its network depends on who is attacked, `DefenseContext.targets`."""
        return False

    def carries_victim(self) -> bool:
        """Whether the released model holds the undefended victim's own weights beside what it is put on."""
        return False

    def left(self) -> DefenseSettings | None:
        """What is left of it for an attacker who takes off what he can; None: the bare victim."""
        inner: DefenseSettings | None = self.settings.inner
        return inner

    def build(self, blueprint: VictimBlueprint) -> nn.Module:
        """The defense's own network, untrained: the structure of `training_job(...).learner.product()`.

        Raises:
            ConfigError: it does not fit.
        """
        return blueprint.new_network()

    def training_job(self, context: DefenseContext) -> TrainingJob:
        """The training of the defense's own network.

        Raises:
            NotImplementedError: the defense trains nothing.
        """
        raise NotImplementedError(f"{type(self).__name__} trains nothing")

    @abstractmethod
    def protect(self, victim: nn.Module, trained: nn.Module | None) -> ProtectedModel:
        """The released model.

        Args:
            victim: the model that it is put on: the recognizer R_T, or another `ProtectedModel`; with
                `classes` and `log_scores`.
            trained: the network of `training_job`; or the undefended victim, where the defense carries it.
        """

    def own(self, trained: nn.Module | None) -> nn.Module:
        """The network that `protect` was given.

        Raises:
            ValueError: it was given none.
        """
        if trained is None:
            raise ValueError(f"{self.settings.title}: its network has not been trained")
        return trained

    def decoys(self, context: DefenseContext) -> Tensor | None:
        """Pictures (K, C, H, W) in [0, 1] that attacks are led to, one a class; None if there are none."""
        return None
