"""The training loop of every network: batches, epochs, checkpoints, progress.

Gradients are averaged over workers by hand (`World.sync`) rather than by wrapping networks in DDP: a GAN steps
two networks in turns over several forward passes, which DDP's hooks do not allow, and a checkpoint loads the
same way on one worker and on many. They are sent in one message after the backward pass. Sending them in buckets
meanwhile, by hooks or by DDP, was tried (`benchmarks/training_workers.py`): where the cores that compute also
send, it takes no less time. docs/data.md has the figures.
"""

import math
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from functools import reduce
from typing import Any, Protocol

import torch
from torch import Tensor, nn

from inversionlab.core import seeds
from inversionlab.core.contracts import TrainingJob
from inversionlab.core.images import to_float
from inversionlab.core.learner import Learner, Precision
from inversionlab.core.rows import ahead
from inversionlab.pipeline.curve import Curve


class TrainingError(RuntimeError):
    """A training cannot go on; the text names the network and the reason."""


@dataclass(frozen=True)
class World:
    """The training workers, and this worker's place among them."""

    rank: int
    size: int
    device: torch.device
    average: Callable[[Tensor], Tensor] = lambda tensor: tensor
    """The mean of a tensor over all workers, which may take its place; every worker must call it."""
    _messages: dict[torch.dtype, Tensor] = field(default_factory=dict, repr=False, compare=False)
    """Room for the last message: memory that is new in every step costs more than copying into it."""

    def sync(self, parameters: Iterable[nn.Parameter]) -> None:
        """Average gradients over the workers, in one message."""
        gradients = [p.grad for p in parameters if p.grad is not None]
        if self.size == 1 or not gradients:
            return
        sizes = [gradient.numel() for gradient in gradients]
        dtype = reduce(torch.promote_types, (gradient.dtype for gradient in gradients))
        message = self._messages.get(dtype)
        if message is None or len(message) < sum(sizes):
            message = self._messages[dtype] = torch.empty(
                sum(sizes), dtype=dtype, device=self.device
            )
        message = message[: sum(sizes)]
        torch.cat([gradient.flatten() for gradient in gradients], out=message)
        for gradient, part in zip(gradients, self.average(message).split(sizes), strict=True):
            gradient.copy_(part.view_as(gradient))


def alone(device: torch.device) -> World:
    """A world of one worker."""
    return World(0, 1, device)


class Checkpoints(Protocol):
    """Where the state of an unfinished training is kept."""

    def load(self) -> dict[str, Any] | None:
        """The last state, or None. Its `file`, if there is one, says where it was read."""

    def save(self, state: dict[str, Any]) -> None:
        """Keep a state; only rank 0 calls this."""


@dataclass(frozen=True)
class Progress:
    """How far a training has come."""

    title: str
    """The network's name for users."""
    epoch: int
    """Epochs done."""
    epochs: int
    losses: Mapping[str, float]
    """Means over the last epoch."""
    seconds_left: float
    pictures_per_second: float
    """Since this call began."""


@dataclass(frozen=True)
class Trained:
    """What a training came to."""

    metrics: dict[str, float]
    """The losses of the last epoch, `epochs`, and `resumed_at`."""
    curve: Curve
    """The losses of every epoch."""


def train(
    training_job: TrainingJob,
    *,
    role: str,
    title: str = "",
    seed: int,
    world: World,
    checkpoints: Checkpoints,
    report: Callable[[Progress], None],
    checkpoint_seconds: float = 20.0,
    precision: Precision = "fp32",
) -> Trained:
    """Train the job's learner to the end, from its last checkpoint if there is one.

    Args:
        training_job: the learner and its data.
        role: labels the random streams.
        title: names the network to users; by default the role.
        seed: root of the random streams, such as the order of the pictures.
        world: the training workers; all of them call this function.
        checkpoints: where unfinished states are kept.
        report: called after every epoch.
        checkpoint_seconds: training time between checkpoints, which are written at the ends of epochs.
        precision: what convolutions and dense layers compute in.

    Raises:
        TrainingError: a loss became NaN or infinite, or there are fewer pictures than a batch needs.
    """
    learner, training = training_job.learner, training_job.training
    title, epochs = title or role, training.epochs
    for module in learner.modules.values():
        module.to(world.device)
    learner.workers, learner.precision = world.size, precision
    state = checkpoints.load()
    first = _resume(learner, state, world.device)
    curve = Curve.resumed(state if first else None, epochs)
    losses: dict[str, float] = {}
    warm = saved = time.monotonic()
    for epoch in range(first, epochs):
        losses = _epoch(training_job, role, title, seed, epoch, world)
        losses |= {k: float(v) for k, v in learner.end_epoch(world.average).items()}
        for name, value in losses.items():
            if not math.isfinite(value):
                raise TrainingError(
                    f"{title}: its {name} became {value} in epoch {epoch + 1}; training.learning_rate = "
                    f"{training.learning_rate:g} is probably too high"
                )
        now = time.monotonic()
        # The first epoch also loads and compiles, so it tells of itself alone.
        each = (now - warm) / max(1, epoch - first)
        if epoch == first:
            warm = now
        left, rate = each * (epochs - epoch - 1), len(training_job.images_NCHW) / max(each, 1e-9)
        curve.add(epoch + 1, losses)
        report(Progress(title, epoch + 1, epochs, losses, left, rate))
        if world.rank == 0 and now - saved >= checkpoint_seconds and epoch + 1 < epochs:
            checkpoints.save({**_state(learner, epoch + 1), "curve": curve.points})
            saved = now
    return Trained({**losses, "epochs": float(epochs), "resumed_at": float(first)}, curve)


def _epoch(
    training_job: TrainingJob, role: str, title: str, seed: int, epoch: int, world: World
) -> dict[str, float]:
    """Train one epoch; returns the mean losses over its steps and over the workers."""
    learner, training = training_job.learner, training_job.training
    count = len(training_job.images_NCHW)
    order_N = torch.randperm(count, generator=seeds.torch_stream(seed, role, "order", epoch))
    size = min(training.batch_size, count)
    share = size // world.size
    if share < 2:
        raise TrainingError(
            f"{title}: {count} pictures in batches of {size} leave a worker fewer than 2; "
            "raise training.batch_size or lower runtime.train_workers"
        )
    for module in learner.modules.values():
        module.train()
    steps = count // size
    total: dict[str, Tensor] = {}
    batches = (order_N[step * size + world.rank * share :][:share] for step in range(steps))
    for step, (mine, drawn_NCHW) in enumerate(ahead(training_job.images_NCHW, batches)):
        x_NCHW = to_float(drawn_NCHW, world.device)
        y_N = training_job.class_N[mine].to(world.device)
        rng = seeds.torch_stream(seed, role, "step", epoch, step, world.rank)
        # Layers such as dropout draw from torch's own stream: it too must not depend on what ran before.
        torch.manual_seed(seeds.derive(seed, role, "layers", epoch, step, world.rank))
        learner.schedule((epoch + step / steps) / training.epochs)
        for name, loss in learner.step(x_NCHW, y_N, rng, world.sync).items():
            total[name] = total.get(name, torch.zeros((), device=world.device)) + loss
    # Averaged, so that all workers stop together when one of them meets a loss that is not a number.
    means = world.average(torch.stack(list(total.values())) / steps)
    return dict(zip(total, means.tolist(), strict=True))


def _state(learner: Learner, epoch: int) -> dict[str, Any]:
    """Everything that a checkpoint holds."""
    return {
        "epoch": epoch,
        "modules": {k: m.state_dict() for k, m in learner.modules.items()},
        "optimizers": {k: o.state_dict() for k, o in learner.optimizers.items()},
        "counters": dict(learner.counters),
    }


def _resume(learner: Learner, state: dict[str, Any] | None, device: torch.device) -> int:
    """Load a checkpoint into the learner if it fits; returns the first epoch to train."""
    if state is None:
        return 0
    # Checked before anything is loaded: a load that stops half-way would leave some of its weights behind.
    if not _fits(learner, state):
        where = state.get("file", "the checkpoint")
        print(f"{where}: is damaged (not a state of this network); it starts anew", flush=True)
        return 0
    for name, module in learner.modules.items():
        module.load_state_dict(state["modules"][name])
        module.to(device)
    for name, optimizer in learner.optimizers.items():
        optimizer.load_state_dict(state["optimizers"][name])
    learner.counters.update(state["counters"])
    return int(state["epoch"])


def _fits(learner: Learner, state: Mapping[str, Any]) -> bool:
    """Whether a state has the same form as this learner's; its numbers cannot be checked."""
    own, kept = _state(learner, 0), state.get("optimizers")
    return (
        type(state.get("epoch")) is int
        and state["epoch"] >= 0
        and all(_alike(state.get(part), own[part]) for part in ("modules", "counters"))
        and isinstance(kept, Mapping)
        and all(_suits(optimizer, kept.get(k)) for k, optimizer in learner.optimizers.items())
    )


def _suits(optimizer: torch.optim.Optimizer, kept: object) -> bool:
    """Whether this is a state of the optimizer; PyTorch would notice only in the middle of a step."""
    if not isinstance(kept, Mapping) or not isinstance(kept.get("state"), Mapping):
        return False
    shapes = [p.shape for group in optimizer.param_groups for p in group["params"]]
    return _alike(kept.get("param_groups"), optimizer.state_dict()["param_groups"]) and all(
        type(index) is int
        and index in range(len(shapes))
        and isinstance(held, Mapping)
        and all(v.shape in ((), shapes[index]) for v in held.values() if isinstance(v, Tensor))
        for index, held in kept["state"].items()
    )


def _alike(given: object, own: object) -> bool:
    """Whether two values have the same form: the same keys, shapes and types."""
    if isinstance(own, Tensor):
        return isinstance(given, Tensor) and given.shape == own.shape
    if isinstance(own, list | tuple) and isinstance(given, list | tuple):
        own, given = dict(enumerate(own)), dict(enumerate(given))
    if isinstance(own, Mapping):
        return (
            isinstance(given, Mapping)
            and given.keys() == own.keys()
            and all(_alike(given[k], v) for k, v in own.items())
        )
    # Whole numbers and fractions count as one type: a counter may begin as one and become the other.
    return isinstance(given, int | float if isinstance(own, int | float) else type(own))


def frozen(module: nn.Module, device: torch.device) -> nn.Module:
    """The module on the device, in inference mode, its weights without gradients."""
    return module.to(device).eval().requires_grad_(False)
