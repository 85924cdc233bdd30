"""Trainings on Ray Train: one worker group learns the missing networks one after another.

A worker group costs some twenty seconds to start and stop, so one group takes a whole list of tasks; each
finished network is stored at once, so a group that dies loses at most the epochs since the last checkpoint
of the network in hand.
"""

from __future__ import annotations

import os
import time
import uuid
from collections.abc import Sequence
from typing import Any, cast

import ray
import torch
from torch import distributed, nn

from inversionlab.pictures import grid, png, to_bytes
from inversionlab.recognizers import Recognizer
from inversionlab.runtime.artifacts import TaskCheckpoints
from inversionlab.runtime.site import Address, Site, open_site
from inversionlab.stages.evaluate import recognition
from inversionlab.stages.plan import Task
from inversionlab.stages.training import Progress, TrainingError, World, alone, train
from inversionlab.stages.workshop import judge_classes

WAITS = 20
"""Times, a minute each, that Ray Train tries to start workers before it gives up."""
SAMPLES = 64
"""Pictures in a generator's sample grid."""


def train_missing(site: Site, *, gpu: bool) -> list[str]:
    """Train every network of the plan that is not stored yet; returns their keys.

    Raises:
        TrainingError: a training cannot go on; networks that were finished before it are stored.
    """
    missing = [task for task in site.plan.tasks if not site.artifacts.finished(task)]
    if missing:
        _fit(site.address, [task.key for task in missing], site, gpu=gpu)
    return [task.key for task in missing]


def _fit(address: Address, keys: Sequence[str], site: Site, *, gpu: bool) -> None:
    # Imported late: Ray Train costs seconds, and a run that trains nothing does not need it.
    from ray.train import FailureConfig, RunConfig, ScalingConfig, TrainingFailedError
    from ray.train.torch import TorchTrainer

    runtime = site.experiment.runtime
    biggest = max(int(node["Resources"].get("CPU", 0)) for node in ray.nodes() if node["Alive"])
    cpus = max(1, min(runtime.train_cpus, biggest // runtime.train_workers or 1))
    _warn_of_waiting(runtime.train_workers, cpus, gpu=gpu)
    name = f"{site.experiment.name}-{uuid.uuid4().hex[:8]}"
    trainer = TorchTrainer(
        cast(Any, _learn),
        train_loop_config={"address": address, "keys": list(keys), "threads": cpus},
        scaling_config=ScalingConfig(
            num_workers=runtime.train_workers, use_gpu=gpu, resources_per_worker=_needs(cpus, gpu)
        ),
        run_config=RunConfig(
            name=name,
            storage_path=site.store.storage.uri("ray_train"),
            failure_config=cast(Any, FailureConfig)(max_failures=2, controller_failure_limit=WAITS),
        ),
    )
    try:
        # Ray's annotations know neither a loop that returns nor what it returned.
        fault = cast(Any, trainer.fit()).return_value
    except TrainingFailedError as error:
        raise TrainingError(f"the training workers failed three times: {error}") from error
    if fault is not None:
        raise TrainingError(str(fault))


def _warn_of_waiting(workers: int, cpus: int, *, gpu: bool) -> None:
    """A cluster that grows may yet get what is asked for; on any other, a user should know why nothing goes on."""
    has = ray.cluster_resources()
    for kind, needed in _needs(cpus, gpu).items():
        if workers * needed > has.get(kind, 0):
            print(
                f"      runtime.train_workers = {workers} need {workers * needed:g} {kind}, the cluster has "
                f"{has.get(kind, 0):g}: waiting for it to grow, some {WAITS} minutes at most",
                flush=True,
            )


def _needs(cpus: int, gpu: bool) -> dict[str, float]:
    return {"CPU": float(cpus), **({"GPU": 1.0} if gpu else {})}


def _learn(config: dict[str, Any]) -> str | None:
    """What each Ray Train worker does; returns why a training cannot go on (to try again would not help)."""
    from ray import train as ray_train
    from ray.train.torch import get_device

    context = ray_train.get_context()
    device = get_device()
    torch.set_num_threads(int(config["threads"]))
    site = open_site(config["address"], device)
    size = context.get_world_size()
    world = alone(device)
    if size > 1:
        world = World(context.get_world_rank(), size, device, _average)
    try:
        for task in site.plan.tasks:
            if task.key in config["keys"] and not _all_agree(site.artifacts.finished(task), world):
                learn_task(site, task, world)
                if size > 1:
                    # Nobody goes on before the network is stored: the next task may need it.
                    distributed.barrier()
    except TrainingError as error:
        return str(error)
    return None


def _all_agree(mine: bool, world: World) -> bool:
    """Whether every worker says yes; each looks at the storage for itself, and they must not part ways."""
    vote = torch.tensor(float(mine), device=world.device)
    return bool((world.average(vote) if world.average is not None else vote) == 1)


def _average(tensor: torch.Tensor) -> torch.Tensor:
    """The mean over the workers."""
    distributed.all_reduce(tensor)
    return tensor / distributed.get_world_size()


def learn_task(site: Site, task: Task, world: World) -> None:
    """Train one task's network and store it; rank 0 writes."""
    began = time.monotonic()
    lesson = site.workshop.lesson(task)
    losses = train(
        lesson,
        role=task.role,
        seed=site.experiment.seed,
        world=world,
        checkpoints=TaskCheckpoints(site.artifacts.storage, task),
        report=_Printer(world.rank),
        checkpoint_seconds=site.experiment.runtime.checkpoint_seconds,
    )
    # Another run on the same storage may have finished it meanwhile; what is attacked already must stay.
    if world.rank != 0 or site.artifacts.finished(task):
        return
    product = lesson.learner.product().eval()
    metrics = {**losses, **_test(site, task, product)}
    seconds = time.monotonic() - began
    card = {
        "seconds": seconds,
        "metrics": metrics,
        "pictures": len(lesson.images_NCHW),
        "workers": world.size,
        "device": str(world.device),
    }
    shown = lesson.learner.samples(SAMPLES)
    samples = png(grid(to_bytes(shown))) if shown is not None else None
    site.artifacts.save(task, product.state_dict(), card, samples)
    accuracy = metrics.get("test_accuracy")
    told = f", test accuracy {accuracy:.1%}" if accuracy is not None else ""
    print(f"[train] {task.role}: done in {seconds:.0f} s{told}", flush=True)


def _test(site: Site, task: Task, product: nn.Module) -> dict[str, float]:
    """Test accuracy of a victim or an evaluator."""
    splits = site.workshop.splits
    if not isinstance(product, Recognizer) or task.role == "defense":
        return {}
    test = splits.test
    if task.role.startswith("evaluator:"):
        judge = site.workshop.evaluator(task.role.partition(":")[2])
        test = judge_classes(judge, splits, site.plan.targets).test
    frozen_scores = product.requires_grad_(False).log_scores
    correct = recognition(frozen_scores, test, site.workshop.device)
    return {
        "test_accuracy": float(correct.float().mean()),
        "test_correct": float(correct.sum()),
        "test_total": float(len(correct)),
    }


class _Printer:
    """Prints progress with an estimate, a line every few seconds; Ray carries it to the driver."""

    def __init__(self, rank: int) -> None:
        self.silent = rank != 0
        self.last = 0.0
        self.every = float(os.environ.get("INVERSIONLAB_PROGRESS_SECONDS", "10"))

    def __call__(self, progress: Progress) -> None:
        now = time.monotonic()
        if self.silent or (now - self.last < self.every and progress.epoch < progress.epochs):
            return
        self.last = now
        losses = ", ".join(f"{k} {v:.3g}" for k, v in progress.losses.items())
        left = f"{int(progress.seconds_left) // 60}:{int(progress.seconds_left) % 60:02d}"
        print(
            f"[train] {progress.role}: epoch {progress.epoch}/{progress.epochs}, {losses}, "
            f"{left} left",
            flush=True,
        )
