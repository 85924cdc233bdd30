"""A Ray of its own for a benchmark, and the tiny experiment, trained."""

from __future__ import annotations

import contextlib
import io
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path

import ray
from tests import tiny

from inversionlab.distributed.cluster import connect
from inversionlab.experiment import Experiment
from inversionlab.pipeline.session import Session, open_experiment
from inversionlab.store.storage import Storage


@contextlib.contextmanager
def local_ray(cpus: int) -> Iterator[Path]:
    """A local Ray with `cpus` CPUs, whatever the machine has; gives a folder that goes with it."""
    # Ray's sockets want a short path.
    with tempfile.TemporaryDirectory(prefix="il", dir="/tmp", ignore_cleanup_errors=True) as folder:
        os.environ.update(RAY_ADDRESS="local", RAY_TMPDIR=folder)
        connect(num_cpus=cpus, include_dashboard=False, object_store_memory=200_000_000)
        try:
            yield Path(folder)
        finally:
            ray.shutdown()


def trained(experiment: Experiment, root: Path) -> Session:
    """The experiment, opened on the storage `root`, its networks trained in this process."""
    session = open_experiment(experiment, Storage(str(root)))
    with contextlib.redirect_stdout(io.StringIO()):
        tiny.train_all(session)
    return session
