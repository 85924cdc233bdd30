"""Trainings on Ray Train: one worker group trains the missing networks one after another.

A worker group takes about twenty seconds to start and stop, so one group trains a whole list of networks. Each
finished network is stored at once, so a group that dies loses at most the epochs since its last checkpoint.
"""

import threading
import uuid
from collections.abc import Callable, Sequence
from concurrent.futures import Future, wait
from typing import Any, cast

from ray.exceptions import RayError

from inversionlab.distributed.cluster import alive_nodes
from inversionlab.distributed.room import training_workers
from inversionlab.distributed.train_worker import begun_file, learn
from inversionlab.given.ledger import BudgetError
from inversionlab.pipeline.session import Session
from inversionlab.pipeline.train import TrainingError
from inversionlab.store.storage import StorageError


def _calm() -> dict[str, Any]:
    """What keeps Ray Train from telling of each of its own steps; older releases cannot."""
    from ray import train

    config = getattr(train, "LoggingConfig", None)
    return {} if config is None else {"logging_config": config(log_level="WARNING")}


class TrainingLostError(TrainingError):
    """The workers failed, not the training; another try may succeed."""


def train_group(session: Session, keys: Sequence[str], *, gpu: bool) -> str:
    """Train the networks `keys`, in the order of the plan, in one worker group; returns the name of its run.

    Raises:
        TrainingLostError: the workers failed three times, or Ray lost the process that leads them.
        TrainingError: a training cannot go on; networks that were finished before it are stored.
        BudgetError: a network learns from an endpoint, whose budget of queries does not suffice.
        StorageError: the storage cannot be written to.
    """
    # Imported late: Ray Train costs seconds, and a run that trains nothing does not need it.
    from ray.train import BackendConfig, FailureConfig, RunConfig, ScalingConfig
    from ray.train.torch import TorchConfig, TorchTrainer

    from inversionlab.distributed.own_process_group import OwnProcessGroup, is_one_machine

    runtime = session.experiment.runtime
    workers = training_workers(runtime, alive_nodes(), gpu=gpu)
    name = f"{session.experiment.name}-{uuid.uuid4().hex[:8]}"
    together: Any = None
    if workers.count == 1:
        # A worker alone has nobody to talk to, and PyTorch's store for that listens to everybody.
        together = BackendConfig()
        together.backend = "none"
    elif is_one_machine():
        together = OwnProcessGroup("nccl" if gpu else "gloo")
    trainer = TorchTrainer(
        cast(Any, learn),
        train_loop_config={
            "address": session.spec,
            "keys": list(keys),
            "threads": int(workers.needs["CPU"]),
            "run": name,
        },
        torch_config=cast(TorchConfig, together),
        scaling_config=ScalingConfig(
            num_workers=workers.count, use_gpu=gpu, resources_per_worker=dict(workers.needs)
        ),
        run_config=cast(Any, RunConfig)(
            **_calm(),
            name=name,
            storage_path=session.store.storage.uri("ray_train"),
            # Workers that wait for resources are no failure.
            failure_config=cast(Any, FailureConfig)(max_failures=2, controller_failure_limit=-1),
        ),
    )
    # Ray Train would make it readable by all.
    session.store.storage.make_folder("ray_train")
    # A driver that was killed may have left the file behind.
    session.artifacts.storage.delete(begun_file(keys[0]))
    try:
        fault = fitted(trainer.fit)
    finally:
        session.artifacts.storage.delete(begun_file(keys[0]))
    if fault is not None:
        kind, _, text = str(fault).partition(": ")
        if kind == BudgetError.__name__:
            raise BudgetError(text)
        raise TrainingError(str(fault))
    return name


def fitted(fit: Callable[[], Any]) -> Any:
    """What the training loop of `fit` returned.

    Raises:
        TrainingLostError: the workers failed three times, or Ray lost the process that leads them.
    """
    from ray.train import TrainingFailedError

    try:
        # Ray's annotations know neither a loop that returns nor what it returned.
        return in_threads([fit])[0].return_value
    except TrainingFailedError as error:
        # A storage's own line says it all; anything else needs its traceback.
        faults = getattr(error, "worker_failures", {}).values()
        cause = next((fault for fault in faults if isinstance(fault, StorageError)), error)
        raise TrainingLostError(f"the training workers failed three times: {cause}") from error
    except RayError as error:
        # For instance, the node ran out of memory: Ray then kills what was started last.
        why = str(error).strip().partition("\n")[0]
        raise TrainingLostError(
            f"Ray lost the process that leads the training: {why}. Finished work is stored, and the same command "
            "continues from there"
        ) from error


def in_threads(calls: Sequence[Callable[[], Any]]) -> list[Any]:
    """Run each call in a thread and wait for all: in the main thread `fit` would keep Ctrl-C for itself.

    Raises whatever the first of the calls that failed raised, once all have ended.
    """
    outcomes: list[Future[Any]] = [Future() for _ in calls]

    def run(call: Callable[[], Any], outcome: Future[Any]) -> None:
        try:
            outcome.set_result(call())
        except BaseException as error:
            outcome.set_exception(error)

    for work in zip(calls, outcomes, strict=True):
        threading.Thread(target=run, args=work, daemon=True, name="Ray Train").start()
    while not all(outcome.done() for outcome in outcomes):
        wait(outcomes, timeout=0.5)
    return [outcome.result() for outcome in outcomes]
