"""A network of an experiment as the pipeline sees it: named by a hash, and able to build and train itself.

The hash covers everything that goes into a network, so a change retrains what depends on it and nothing else.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Protocol

import torch
from torch import Tensor, nn

from inversionlab.attacks import ATTACKS, AttackSettings
from inversionlab.core import seeds
from inversionlab.core.contracts import ModelShape, TrainingJob
from inversionlab.core.settings import fingerprint
from inversionlab.data.labelled import Labelled
from inversionlab.data.splits import Splits
from inversionlab.defenses import DefenseSettings, ProtectedModel
from inversionlab.given.live import Live

NETWORK_FORMAT = 1
"""Raise it when a trained network would differ for equal settings."""


class BuildContext(Protocol):
    """The data and the trained networks that a spec builds and trains its network from."""

    splits: Splits
    shape: ModelShape
    """The victim's."""
    device: torch.device
    live: Live | None
    """Returns what no file holds of a given victim: the user's module, or the connection to an endpoint."""

    def network(self, spec: NetworkSpec) -> nn.Module:
        """The trained network of a spec, frozen."""

    def protected(self, settings: DefenseSettings, seed: int | None = None) -> ProtectedModel:
        """The model that a defense releases, frozen; of several victims the one of this seed."""


@dataclass(frozen=True)
class ModelRef:
    """A protected model by its name."""

    defense: DefenseSettings
    """The outermost defense that changes anything."""
    id: str
    """Hash of everything that the model depends on."""
    seed: int | None = None
    """The seed of its victim; None: there is only one victim."""


@dataclass(frozen=True)
class NetworkSpec(ABC):
    """A network to be trained."""

    data_id: str
    """Name of the splits."""
    seed: int
    """The seed of its weights and of the order of its training: the experiment's, or its victim's."""
    role: str
    """victim, evaluator:NAME, generator, attack, defense_generator, defense_classifier, or defense. It names the
    folder of the artifacts and the random streams."""
    learns_from: ModelRef | None = field(default=None, kw_only=True)
    """The model whose scores of the public pictures it learns from, if it does."""
    for_each_seed: bool = field(default=False, kw_only=True)
    """Whether there is one like it for each of several victims; its title then says whose it is."""

    @property
    def kind(self) -> str:
        """Tells networks of one role apart for users; empty where there is only one."""
        return ""

    @property
    def given(self) -> bool:
        """Whether it exists already, and is packed by `pack` instead of being trained."""
        return False

    @property
    def of_the_data(self) -> bool:
        """Whether the experiment's data and seed go into it; a given network mostly exists without them."""
        return not self.given

    @property
    def uses(self) -> tuple[NetworkSpec, ...]:
        """The networks that exist only for the training of this one."""
        return ()

    @property
    def reads(self) -> tuple[NetworkSpec, ...]:
        """The networks whose weights its training reads, besides those of the models in `asks`."""
        return self.uses

    @property
    def asks(self) -> tuple[ModelRef, ...]:
        """The released models that its training asks, or descends through."""
        return () if self.learns_from is None else (self.learns_from,)

    @property
    def of_one_model(self) -> bool:
        """Whether it belongs to a single protected model; other networks are shared by all of them."""
        return self.learns_from is not None

    @abstractmethod
    def own_inputs(self) -> dict[str, Any]:
        """What goes into this network in addition to format, data and seed, as JSON values."""

    @cached_property
    def inputs(self) -> dict[str, Any]:
        """Everything that goes into the network, as JSON values; it is hashed and kept in the card."""
        made_from = {"data": self.data_id, "seed": self.seed} if self.of_the_data else {}
        source = {} if self.learns_from is None else {"taught_by": self.learns_from.id}
        return {"format": NETWORK_FORMAT, **made_from, **self.own_inputs(), **source}

    @cached_property
    def id(self) -> str:
        """Hash of the role and the inputs."""
        return fingerprint({"role": self.role, **self.inputs})

    @property
    def key(self) -> str:
        """Where it is stored, below `artifacts/`."""
        return f"{self.role.replace(':', '-')}/{self.id}"

    @property
    def title(self) -> str:
        """Its name for users."""
        title = f"{self.role} {self.kind}".rstrip()
        if self.learns_from is not None:
            title = f"{title} {self.id[:6]}, learns from {self.learns_from.defense.title}"
        return f"{title}, seed {self.seed}" if self.for_each_seed else title

    @property
    def weights_seed(self) -> int:
        """The seed of the initial weights."""
        return seeds.derive(self.seed, "weights", self.role)

    @abstractmethod
    def build(self, context: BuildContext) -> nn.Module:
        """The network with untrained weights.

        Raises:
            ValueError: it does not fit the data.
        """

    def pack(self, module: nn.Module) -> dict[str, Tensor]:
        """The tensors that are stored of a built or trained network."""
        return dict(module.state_dict())

    def restore(self, context: BuildContext, weights: Mapping[str, Tensor]) -> nn.Module:
        """The network with stored weights."""
        module = self.build(context)
        module.load_state_dict(dict(weights))
        return module

    @abstractmethod
    def training_job(self, context: BuildContext) -> TrainingJob:
        """The training that makes the network.

        Raises:
            TrainingError: the model that it learns from gives scores that are not numbers.
        """

    def check(self, context: BuildContext) -> None:  # noqa: B027 (most have nothing to refuse)
        """Raise ValueError for settings of the training that do not fit the data; it says what would be right."""

    def test_pictures(self, context: BuildContext) -> Labelled | None:
        """Pictures to test the trained network on, with the classes of its head; None if it is not tested."""
        return None


def fault_of(spec: NetworkSpec, error: ValueError, among: Iterable[NetworkSpec]) -> str:
    """What is said of a network that does not fit; the networks `among` may need it."""
    users = [other.kind for other in among if spec in other.uses]
    whose = f" (for {', '.join(users)})" if users else ""
    return f"{spec.title}{whose}: {error}"


def latent_faults(attack: AttackSettings, latent_size: int) -> Iterator[str]:
    """Why an attack does not fit a generator with latents of this length."""
    try:
        ATTACKS[attack.name].check(attack, latent_size)
    except ValueError as error:
        yield f"attacks ({attack.title}): {error}"
