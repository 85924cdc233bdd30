"""What a network in training is: the contract between the rooms' learners and the training loop.

A `Learner` owns its networks, losses and optimizers and takes one step on a batch it is handed. The loop
(`pipeline/train.py`) owns batches, epochs, checkpoints, devices and progress; `runtime/` puts the loop
on Ray Train. So every network of the platform, alone or on many workers, trains on one path.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Mapping
from typing import Literal

import torch
from pydantic import Field
from torch import Tensor, nn

from inversionlab.core.settings import Settings

GradientSync = Callable[[Iterable[nn.Parameter]], None]
"""Averages the gradients of these parameters over all training workers, in place (one worker: nothing)."""


class TrainingSettings(Settings):
    """How long and how fast a network is trained."""

    epochs: int = Field(default=20, ge=0, le=100_000)
    """Passes over the training pictures."""
    batch_size: int = Field(default=64, ge=2, le=65_536)
    """Pictures a step, over all workers together."""
    learning_rate: float = Field(default=1e-3, gt=0, le=10)
    """Peak step size."""
    schedule: Literal["constant", "cosine", "one_cycle"] = "cosine"
    """How the step size goes: flat; down to 0 along a cosine; up over the first fifth and then down."""
    weight_decay: float = Field(default=5e-4, ge=0, le=1)
    """Decoupled weight decay (AdamW), or L2 decay under SGD."""
    optimizer: Literal["adamw", "sgd"] = "adamw"
    """SGD runs with Nesterov momentum 0.9."""


def make_optimizer(
    parameters: Iterable[nn.Parameter], settings: TrainingSettings
) -> torch.optim.Optimizer:
    """The optimizer that the settings name."""
    if settings.optimizer == "sgd":
        return torch.optim.SGD(
            parameters,
            lr=settings.learning_rate,
            momentum=0.9,
            nesterov=True,
            weight_decay=settings.weight_decay,
        )
    return torch.optim.AdamW(
        parameters, lr=settings.learning_rate, weight_decay=settings.weight_decay
    )


def rate_factor(schedule: str, progress: float) -> float:
    """The share of the peak step size at `progress` in [0, 1] through the training."""
    if schedule == "constant":
        return 1.0
    if schedule == "cosine":
        return 0.5 * (1 + math.cos(math.pi * progress))
    warm = 0.2
    if progress < warm:
        return 0.04 + 0.96 * progress / warm
    return 0.5 * (1 + math.cos(math.pi * (progress - warm) / (1 - warm)))


def set_rate(
    optimizer: torch.optim.Optimizer,
    settings: TrainingSettings,
    progress: float,
    factor: float = 1.0,
) -> None:
    """Give the optimizer the step size of the settings' schedule at `progress` in [0, 1], times `factor`."""
    rate = settings.learning_rate * rate_factor(settings.schedule, progress)
    for group in optimizer.param_groups:
        group["lr"] = rate * factor


class Learner(ABC):
    """Networks in training. Holds everything that a checkpoint must hold."""

    modules: Mapping[str, nn.Module]
    """Every network by name; moved to the device and checkpointed by the loop."""
    optimizers: Mapping[str, torch.optim.Optimizer]
    """Every optimizer by name; checkpointed by the loop."""
    workers: int = 1
    """Training workers that share each batch; set by the loop."""
    counters: dict[str, float]
    """Other numbers that a checkpoint must carry (say, the strength of the augmentation)."""

    @abstractmethod
    def step(
        self, x_NCHW: Tensor, y_N: Tensor, rng: torch.Generator, sync: GradientSync
    ) -> dict[str, Tensor]:
        """Learn from one batch and update the weights.

        Args:
            x_NCHW: float pictures in [0, 1] on the device.
            y_N: class numbers; a learner without classes ignores them.
            rng: a generator on the CPU; draw every random number from it.
            sync: call it on the parameters between `backward()` and the optimizer's step.

        Returns:
            detached scalar losses by name, left on the device (the loop reads them once an epoch).
        """

    def schedule(self, progress: float) -> None:  # noqa: B027 (a learner may keep its rate)
        """Set the step sizes for `progress` in [0, 1]; called before every step."""

    @abstractmethod
    def product(self) -> nn.Module:
        """The network that the training was for; its state dict becomes the artifact."""

    @torch.no_grad()
    def samples(self, count: int) -> Tensor | None:
        """`count` pictures (count, C, H, W) in [0, 1] that show how the training goes, or None."""
        return None
