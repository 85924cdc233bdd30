"""What every attack is, and what its attacker has in hand."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

import torch
from pydantic import Field
from torch import Tensor, nn

from inversionlab.core import seeds
from inversionlab.core.contracts import GenerativePrior, ModelShape, ScoringModel
from inversionlab.core.learner import Learner
from inversionlab.core.settings import Settings
from inversionlab.core.views import View


class AttackError(RuntimeError):
    """An attack cannot go on; the text names the attack and the target."""


class AttackSettings(Settings):
    """Base of an attack's settings; each attack's own class adds a literal `name`."""

    name: str
    label: str | None = Field(default=None, pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]*$", max_length=64)
    """What the tables call it; null: its name. Needed where a recipe has one attack twice."""
    generator: str | None = None
    """Which of the recipe's `generators` it searches; null: the recipe's `generator` if it has what the attack
    needs, else the first of `generators` that has."""

    @property
    def title(self) -> str:
        """What the tables call it."""
        return self.label or self.name


@dataclass(frozen=True)
class AttackJobs:
    """What to reconstruct: row i is repeat `repeat_N[i]` of class `target_N[i]`."""

    target_N: Tensor
    repeat_N: Tensor
    starts: int = 1
    """Rows in a row that are attempts at one reconstruction; only the best of them is kept."""

    def __len__(self) -> int:
        return len(self.target_N)

    def times(self, starts: int) -> AttackJobs:
        """Every job `starts` times in a row."""
        return AttackJobs(
            self.target_N.repeat_interleave(starts), self.repeat_N.repeat_interleave(starts), starts
        )

    def account(self, rows_N: Tensor) -> Tensor:
        """On whose account in the ledger the queries of these rows go: that of their reconstruction."""
        return rows_N // self.starts

    def pairs(self) -> Iterator[tuple[int, int]]:
        """(target, repeat) of every row, as plain numbers."""
        return zip(self.target_N.tolist(), self.repeat_N.tolist(), strict=True)


@dataclass(frozen=True)
class AttackResult:
    """What an attack found, a row a job."""

    images_NCHW: Tensor
    """float pictures in [0, 1]."""
    confidence_N: Tensor
    """The protected model's score of the target as the attacker saw it; NaN where it never asked."""
    converged_N: Tensor
    """Whether the attack's own stop criterion was met."""
    steps_N: Tensor
    """Updates made."""


@dataclass(frozen=True)
class AttackerContext:
    """What the attacker holds beside the view: a prior over faces, and public pictures."""

    generator: GenerativePrior | None
    public_NCHW: Tensor
    """uint8 (N, C, H, W), people the victim never saw; on the CPU."""
    seed: int
    """Root of every random stream of the attack."""
    device: torch.device
    network: nn.Module | None = None
    """The attack's own trained network, frozen, where it `trains` one."""

    def stream(self, attack: str, target: int, repeat: int) -> torch.Generator:
        """The random stream of one job: the same wherever and with whomever the job runs."""
        return seeds.torch_stream(self.seed, "attack", attack, target, repeat)

    def shared_stream(self, attack: str, *labels: str | int) -> torch.Generator:
        """A random stream that all jobs of an attack share, such as that of a step's perturbations."""
        return seeds.torch_stream(self.seed, "attack", attack, "shared", *labels)

    def public(self, index_N: Tensor) -> Tensor:
        """Public pictures by number, as float (N, C, H, W) in [0, 1] on the device."""
        return self.public_NCHW[index_N].to(self.device).float() / 255


class Attack(ABC):
    """One model inversion attack. Its networks are frozen before it gets them."""

    Settings: ClassVar[type[AttackSettings]]
    view: ClassVar[type[View] | None]
    """What it needs to see of the model; None: nothing (a null attack)."""
    knows_defense: ClassVar[bool] = False
    """Whether it is made against a defense: its attacker knows which one is in use."""
    needs_generator: ClassVar[bool]
    wants: ClassVar[frozenset[str]] = frozenset()
    """What its generator must offer: `encoder`, `critic`, `style`, `classes`."""
    trains: ClassVar[bool] = False
    """Whether it trains a network of its own on public pictures and the scores that a model gives to them."""
    network_kind: ClassVar[str] = ""
    """What that network is called: attacks that train the same at equal settings share it."""

    def __init__(self, settings: Any, context: AttackerContext) -> None:
        """Arm the attack.

        Raises:
            ValueError: it needs a generator or a trained network and `context` has none.
        """
        if self.needs_generator and context.generator is None:
            raise ValueError(f"attack `{settings.name}` needs a generator, and none was given")
        if self.trains and context.network is None:
            raise ValueError(f"attack `{settings.name}` needs its trained network; none was given")
        self.settings = settings
        self.context = context

    @classmethod
    def view_at(cls, settings: Any) -> type[View] | None:
        """What it needs to see at these settings."""
        return cls.view

    def open(self, model: ScoringModel, rows: int) -> View:
        """The view of `model` that this attack gets, for `rows` reconstructions at once."""
        view = self.view_at(self.settings)
        assert view is not None, "a null attack has no view"
        return view(model, rows)

    @classmethod
    def inverts_outputs_at(cls, settings: Any) -> bool:
        """Whether it inverts the model's answers to private pictures (`Scores.overheard_NK`), not classes."""
        return False

    @property
    def inverts_outputs(self) -> bool:
        """The same of this attack's own settings."""
        return self.inverts_outputs_at(self.settings)

    @classmethod  # noqa: B027 (most have nothing to refuse)
    def check(cls, settings: Any, latent_size: int) -> None:
        """Refuse settings that do not go with latents of this length, before anything is trained.

        Raises:
            ValueError: what is wrong, and what would be right.
        """

    @classmethod
    def teacher(cls, settings: Any) -> Literal["protected", "victim"]:
        """Whose scores its own network is trained on: the model under attack, or the undefended victim."""
        return "protected"

    @classmethod
    def training_top(cls, settings: Any) -> int | None:
        """How many of the largest scores its network is trained on; None: all."""
        return None

    @classmethod
    def learner(cls, settings: Any, shape: ModelShape, seed: int) -> Learner:
        """Its own network in training, where it `trains`; y of `step` are scores (N, K)."""
        raise NotImplementedError(f"{cls.__name__} trains no network")

    @classmethod
    def build(cls, settings: Any, shape: ModelShape) -> nn.Module:
        """Its own network, untrained, where it `trains`."""
        raise NotImplementedError(f"{cls.__name__} trains no network")

    @abstractmethod
    def run(self, view: View | None, jobs: AttackJobs) -> AttackResult:
        """Reconstruct every job's target.

        Rows must not influence each other: losses are summed over rows, random numbers come from
        `context.stream(name, target, repeat)`.

        Args:
            view: an instance of the class's `view`, opened with `len(jobs)` rows.
            jobs: class numbers and repeats, on the device.

        Raises:
            AttackError: the model answered with a score that is not a number.
        """


def refuse_nan(attack: str, score_N: Tensor, target_N: Tensor) -> None:
    """Raise if a score (N,) or log-score is not a number, naming the attack and the first such target."""
    bad = score_N.isnan()
    if bool(bad.any()):
        target = int(target_N[bad.nonzero()[0, 0]])
        raise AttackError(
            f"attack `{attack}`: the model's score of target {target} is not a number"
        )


def of_targets(attack: str, y_NK: Tensor, target_N: Tensor) -> Tensor:
    """Each row's target's score, or log-score, (N,) out of all (N, K).

    Raises:
        AttackError: one is not a number.
    """
    score_N = y_NK.gather(1, target_N[:, None]).squeeze(1)
    refuse_nan(attack, score_N, target_N)
    return score_N
