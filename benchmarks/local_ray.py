"""A Ray of its own for a benchmark, a pool of fixed size, and the tiny experiment, trained."""

from __future__ import annotations

import contextlib
import io
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import TypeVar

import ray
from tests import tiny

from inversionlab.distributed.actor_pool import ActorPool
from inversionlab.distributed.cluster import connect
from inversionlab.distributed.shard_queue import ShardQueue
from inversionlab.experiment import Experiment
from inversionlab.pipeline.session import Session, open_experiment
from inversionlab.store.storage import Storage

Item = TypeVar("Item")


@contextlib.contextmanager
def local_ray(cpus: int) -> Iterator[Path]:
    """A local Ray with `cpus` CPUs, however many the machine has; yields a folder that is deleted with it."""
    # Ray's sockets want a short path.
    with tempfile.TemporaryDirectory(prefix="il", dir="/tmp", ignore_cleanup_errors=True) as folder:
        os.environ.update(RAY_ADDRESS="local", RAY_TMPDIR=folder)
        connect(num_cpus=cpus, include_dashboard=False, object_store_memory=200_000_000)
        try:
            yield Path(folder)
        finally:
            ray.shutdown()


def work_off(pool: ActorPool[Item], queue: ShardQueue[Item], workers: int) -> None:
    """Let a pool of fixed size work off a closed queue, as the scheduler does with one that changes."""
    more = True
    while more:
        pool.resize(workers, queue.waiting())
        more = pool.work(queue)


def trained(experiment: Experiment, root: Path) -> Session:
    """Open the experiment on the storage `root` and train its networks in this process."""
    session = open_experiment(experiment, Storage(str(root)))
    with contextlib.redirect_stdout(io.StringIO()):
        tiny.train_all(session)
    return session
