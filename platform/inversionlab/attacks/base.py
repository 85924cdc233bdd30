"""What every attack is, and what its attacker has in hand."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Any, ClassVar, Protocol

import torch
from torch import Tensor

from inversionlab import seeds
from inversionlab.access import View
from inversionlab.config import Settings


class AttackError(RuntimeError):
    """An attack cannot go on; the text names the attack and the target."""


class Prior(Protocol):
    """A generator as an attacker uses it: latents to pictures, frozen."""

    latent_size: int

    def __call__(self, z_ND: Tensor) -> Tensor:
        """Pictures (N, C, H, W) in [0, 1] of latents (N, m)."""
        ...

    def encode(self, x_NCHW: Tensor) -> Tensor | None:
        """Latents of pictures, or None where there is no encoder."""
        ...

    def draw(self, count: int, rng: torch.Generator) -> Tensor:
        """Latents from the prior, drawn on the CPU."""
        ...


class AttackSettings(Settings):
    """Base of an attack's settings; each attack's own class adds a literal `name`."""

    name: str


@dataclass(frozen=True)
class Jobs:
    """What to reconstruct: row i is repeat `repeat_N[i]` of class `target_N[i]`."""

    target_N: Tensor
    repeat_N: Tensor

    def __len__(self) -> int:
        return len(self.target_N)


@dataclass(frozen=True)
class Found:
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
class Knowledge:
    """What the attacker holds beside the view: a prior over faces, and public pictures."""

    generator: Prior | None
    public_NCHW: Tensor
    """uint8 (N, C, H, W), people the victim never saw; on the CPU."""
    seed: int
    """Root of every random stream of the attack."""
    device: torch.device

    def stream(self, attack: str, target: int, repeat: int) -> torch.Generator:
        """The random stream of one job: the same wherever and with whomever the job runs."""
        return seeds.torch_stream(self.seed, "attack", attack, target, repeat)

    def public(self, index_N: Tensor) -> Tensor:
        """Public pictures by number, as float (N, C, H, W) in [0, 1] on the device."""
        return self.public_NCHW[index_N].to(self.device).float() / 255


class Attack(ABC):
    """One model inversion attack. Its networks are frozen before it gets them."""

    Settings: ClassVar[type[AttackSettings]]
    view: ClassVar[type[View] | None]
    """What it needs to see of the model; None: nothing (a null attack)."""
    needs_generator: ClassVar[bool]

    def __init__(self, settings: Any, knowledge: Knowledge) -> None:
        """Arm the attack.

        Raises:
            ValueError: it needs a generator and `knowledge` has none.
        """
        if self.needs_generator and knowledge.generator is None:
            raise ValueError(f"attack `{settings.name}` needs a generator, and none was given")
        self.knowledge = knowledge

    @abstractmethod
    def run(self, view: View | None, jobs: Jobs) -> Found:
        """Reconstruct every job's target.

        Rows must not influence each other: losses are summed over rows, random numbers come from
        `knowledge.stream(name, target, repeat)`.

        Args:
            view: an instance of the class's `view`, opened with `len(jobs)` rows.
            jobs: class numbers and repeats, on the device.

        Raises:
            AttackError: the model answered with a score that is not a number.
        """


def refuse_nan(attack: str, log_p_N: Tensor, target_N: Tensor) -> None:
    """Raise if a score is not a number, naming the attack and the first such target."""
    bad = log_p_N.isnan()
    if bool(bad.any()):
        target = int(target_N[bad.nonzero()[0, 0]])
        raise AttackError(
            f"attack `{attack}`: the model's score of target {target} is not a number"
        )
