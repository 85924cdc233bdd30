"""The contract between a network in training and the training loop.

A `Learner` owns its networks, losses and optimizers, and takes one step on each batch. The loop
(`pipeline/train.py`) owns batches, epochs, checkpoints, devices and progress; `distributed/` runs the loop on
Ray Train. Every network therefore trains on one path, on one worker or on many.
"""

import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Mapping
from functools import cached_property
from typing import Any, Literal

import torch
from pydantic import Field, field_validator
from torch import Tensor, nn

from inversionlab.core.settings import Settings

GradientSync = Callable[[Iterable[nn.Parameter]], None]
"""Averages the gradients of these parameters over all training workers, in place; does nothing for one worker."""
Average = Callable[[Tensor], Tensor]
"""The mean of a tensor over all training workers, which may take its place; every worker must call it."""
Precision = Literal["fp32", "bf16"]
Losses = dict[str, Tensor]
"""Detached scalar losses by name, on the device."""


class TrainingSettings(Settings):
    """How long and how fast a network trains."""

    epochs: int = Field(default=20, ge=1, le=100_000)
    """Passes over the training pictures."""
    batch_size: int = Field(default=64, ge=2, le=65_536)
    """Pictures in a step, summed over all workers."""
    learning_rate: float = Field(default=1e-3, gt=0, le=10)
    """Peak step size."""
    schedule: Literal["constant", "cosine", "one_cycle"] = "cosine"
    """The course of the step size: constant, down to 0 along a cosine, or up over the first fifth, then down."""
    weight_decay: float = Field(default=5e-4, ge=0, le=1)
    """Decoupled weight decay for AdamW, L2 decay for SGD and AMSGrad."""
    optimizer: Literal["adamw", "sgd", "amsgrad"] = "adamw"
    """The optimizer; SGD has Nesterov momentum 0.9, and AMSGrad is Adam with the largest second moment so far."""

    @field_validator("epochs", mode="before")
    @classmethod
    def _trained(cls, value: Any) -> Any:
        if value == 0 and not isinstance(value, bool):
            raise ValueError(
                "nothing is trained with 0 epochs; a trained model is given as `victim: {model: ..., "
                "weights: ...}`"
            )
        return value


def make_optimizer(
    parameters: Iterable[nn.Parameter], settings: TrainingSettings
) -> torch.optim.Optimizer:
    """The optimizer in the settings."""
    rate, decay = settings.learning_rate, settings.weight_decay
    if settings.optimizer == "sgd":
        return torch.optim.SGD(parameters, lr=rate, momentum=0.9, nesterov=True, weight_decay=decay)
    if settings.optimizer == "amsgrad":
        return torch.optim.Adam(parameters, lr=rate, weight_decay=decay, amsgrad=True)
    return torch.optim.AdamW(parameters, lr=rate, weight_decay=decay)


def set_rate(
    optimizer: torch.optim.Optimizer, settings: TrainingSettings, progress: float, factor: float = 1
) -> None:
    """Set the optimizer's step size: the schedule's at `progress` in [0, 1], times `factor`."""
    share, warm = 1.0, 0.2
    if settings.schedule == "one_cycle" and progress < warm:
        share = 0.04 + 0.96 * progress / warm
    elif settings.schedule == "one_cycle":
        share = 0.5 * (1 + math.cos(math.pi * (progress - warm) / (1 - warm)))
    elif settings.schedule == "cosine":
        share = 0.5 * (1 + math.cos(math.pi * progress))
    for group in optimizer.param_groups:
        group["lr"] = settings.learning_rate * share * factor


class Learner(ABC):
    """Networks in training. It holds everything that a checkpoint needs."""

    training: TrainingSettings | None = None
    """Whose schedule the step sizes follow; None: they stay as they are."""
    modules: Mapping[str, nn.Module]
    """Every network by name; the loop moves them to the device and checkpoints them."""
    workers: int = 1
    """Training workers that share each batch; the loop sets it."""
    precision: Precision = "fp32"
    """What convolutions and dense layers compute in; the loop sets it. Weights and losses are float32."""
    counters: dict[str, float]
    """Other numbers for the checkpoint, for example the strength of the augmentation."""

    def __init__(self, training: TrainingSettings, **networks: nn.Module) -> None:
        """Take over the networks; each gets an optimizer of its own name, and the first is the product."""
        self.training, self.modules, self.counters = training, networks, {}
        self._optimized = (training, networks)

    @cached_property
    def optimizers(self) -> Mapping[str, torch.optim.Optimizer]:
        """Every optimizer by name; the loop checkpoints them.

        They are made when they are first asked for: PyTorch imports its compiler with the first optimizer, which
        takes seconds, and many a learner is made only for its untrained network.
        """
        training, networks = self._optimized
        return {name: make_optimizer(net.parameters(), training) for name, net in networks.items()}

    @abstractmethod
    def step(self, x_NCHW: Tensor, y_N: Tensor, rng: torch.Generator, sync: GradientSync) -> Losses:
        """Learn from one batch and update the weights.

        Args:
            x_NCHW: float pictures in [0, 1] on the device.
            y_N: class numbers; a learner without classes ignores them.
            rng: a generator on the CPU, for every random number.
            sync: to be called on the parameters between `backward()` and the optimizer's step.

        Returns:
            The losses; the loop reads them once an epoch.
        """

    def descend(self, name: str, loss: Tensor, sync: GradientSync) -> None:
        """Take one step of the optimizer `name` down the gradient of `loss`, averaged over the workers."""
        optimizer = self.optimizers[name]
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        sync(weight for group in optimizer.param_groups for weight in group["params"])
        optimizer.step()

    def autocast(self, x_N: Tensor) -> torch.autocast:
        """Lets networks compute in `precision` on the device of `x_N`; losses belong outside of it."""
        half = self.precision == "bf16"
        return torch.autocast(x_N.device.type, torch.bfloat16, enabled=half)

    def schedule(self, progress: float) -> None:
        """Set the step sizes for `progress` in [0, 1]; the loop calls it before every step."""
        if self.training is not None:
            for optimizer in self.optimizers.values():
                set_rate(optimizer, self.training, progress)

    def end_epoch(self, average: Average) -> Losses:
        """Look at the networks after an epoch, before its checkpoint; returns what was found, for the progress."""
        return {}

    def product(self) -> nn.Module:
        """The trained network; its state dict becomes the artifact."""
        return next(iter(self.modules.values()))

    @torch.no_grad()
    def samples(self, count: int) -> Tensor | None:
        """Pictures (count, C, H, W) in [0, 1] that show the state of the training, or None."""
        return None
