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

from inversionlab.experiment import RuntimeSettings
from inversionlab.pictures import grid, png, to_bytes
from inversionlab.recognizers import Recognizer
from inversionlab.runtime.artifacts import TaskCheckpoints
from inversionlab.runtime.lease import single_flight
from inversionlab.runtime.site import Address, Site, open_site
from inversionlab.stages.evaluate import recognition
from inversionlab.stages.plan import Task
from inversionlab.stages.training import Progress, TrainingError, World, alone, train
from inversionlab.stages.workshop import judge_classes
from inversionlab.storage import StorageError

WAITS = 20
"""Times, a minute each, that Ray Train tries to start workers before it gives up."""
SAMPLES = 64
"""Pictures in a generator's sample grid."""


def train_missing(site: Site, *, gpu: bool) -> list[str]:
    """Train every network of the plan that is not stored yet; returns the keys of those that were trained here.

    What another run on the same storage is training is waited for, and not trained again.

    Raises:
        TrainingError: a training cannot go on; networks that were finished before it are stored.
        StorageError: the storage cannot be written to.
    """
    artifacts, tasks = site.artifacts, {task.key: task for task in site.plan.tasks}
    missing = [key for key, task in tasks.items() if not artifacts.finished(task)]
    trained: list[str] = []
    while missing:
        with single_flight(
            artifacts.storage, missing, lambda key: artifacts.finished(tasks[key]), _say
        ) as mine:
            if mine:
                run = _fit(site.address, mine, site, gpu=gpu)
                # A worker that was alone with a network for too long may find that another was faster.
                cards = {key: artifacts.card(tasks[key]) or {} for key in mine}
                trained += [key for key in mine if cards[key].get("run") == run]
        missing = [key for key in missing if key not in mine] if mine else []
    return trained


def _say(line: str) -> None:
    print(line, flush=True)


def _fit(address: Address, keys: Sequence[str], site: Site, *, gpu: bool) -> str:
    """Train these networks; returns the name of the Ray Train run."""
    # Imported late: Ray Train costs seconds, and a run that trains nothing does not need it.
    from ray.train import FailureConfig, RunConfig, ScalingConfig, TrainingFailedError
    from ray.train.torch import TorchTrainer

    runtime = site.experiment.runtime
    worker = _worker_needs(runtime, gpu=gpu)
    _warn_of_waiting(training_needs(runtime, gpu=gpu))
    name = f"{site.experiment.name}-{uuid.uuid4().hex[:8]}"
    trainer = TorchTrainer(
        cast(Any, _learn),
        train_loop_config={
            "address": address,
            "keys": list(keys),
            "threads": int(worker["CPU"]),
            "run": name,
        },
        scaling_config=ScalingConfig(
            num_workers=runtime.train_workers, use_gpu=gpu, resources_per_worker=worker
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
        raise TrainingError(f"the training workers failed three times: {_cause(error)}") from error
    finally:
        site.artifacts.storage.delete(_begun(keys[0]))
    if fault is not None:
        raise TrainingError(str(fault))
    return name


def _cause(error: Exception) -> str:
    """What to say of a failed fit: a storage's own line says it all, anything else needs its traceback."""
    for failure in getattr(error, "worker_failures", {}).values():
        if isinstance(failure, StorageError):
            return str(failure)
    return str(error)


def training_needs(runtime: RuntimeSettings, *, gpu: bool) -> dict[str, float]:
    """The resources of all workers of a training together."""
    worker = _worker_needs(runtime, gpu=gpu)
    return {kind: runtime.train_workers * amount for kind, amount in worker.items()}


def _worker_needs(runtime: RuntimeSettings, *, gpu: bool) -> dict[str, float]:
    """The resources of a training worker; no more CPUs than a cluster of fixed size has on a node."""
    biggest = max(int(node["Resources"].get("CPU", 0)) for node in ray.nodes() if node["Alive"])
    cpus = runtime.train_cpus
    if biggest and not runtime.grows:
        cpus = max(1, min(cpus, biggest // runtime.train_workers or 1))
    return {"CPU": float(cpus), **({"GPU": 1.0} if gpu else {}), **runtime.train_resources}


def training_begun(site: Site, keys: Sequence[str]) -> bool:
    """Whether a worker group that is to train `keys` has got its place and has begun."""
    return any(site.artifacts.storage.exists(_begun(key)) for key in keys)


def _begun(key: str) -> str:
    return f"artifacts/{key}/begun.json"


def _warn_of_waiting(needs: dict[str, float]) -> None:
    """A cluster that grows may yet get what is asked for; on any other, a user should know why nothing goes on."""
    has = ray.cluster_resources()
    for kind, needed in needs.items():
        if needed > has.get(kind, 0):
            print(
                f"      the training workers need {needed:g} {kind}, the cluster has "
                f"{has.get(kind, 0):g}: waiting for it to grow, some {WAITS} minutes at most",
                flush=True,
            )


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
        if world.rank == 0:
            site.artifacts.storage.write_json(_begun(config["keys"][0]), {"run": config["run"]})
        for task in site.plan.tasks:
            if task.key in config["keys"] and not _all_agree(site.artifacts.finished(task), world):
                learn_task(site, task, world, run=str(config["run"]))
                if size > 1:
                    # Nobody goes on before the network is stored: the next task may need it.
                    distributed.barrier()
    except TrainingError as error:
        return str(error)
    except StorageError as error:
        # Where others train along, only an exception ends their waiting for this one.
        if size > 1:
            raise
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


def learn_task(site: Site, task: Task, world: World, *, run: str = "") -> None:
    """Train one task's network and store it; rank 0 writes. `run` is kept in its card."""
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
        "run": run,
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
        test = judge_classes(judge, splits, site.plan.pool).test
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
