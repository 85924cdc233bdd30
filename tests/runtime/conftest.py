"""One local Ray for all tests of this folder, with a temporary folder of its own."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator

import pytest
import ray

from inversionlab.runtime.cluster import connect


@pytest.fixture(scope="session")
def local_ray() -> Iterator[None]:
    """A local Ray with two CPUs; its sockets want a short path, so not pytest's own folder."""
    with tempfile.TemporaryDirectory(prefix="il", dir="/tmp", ignore_cleanup_errors=True) as folder:
        before = dict(os.environ)
        os.environ.update(RAY_ADDRESS="local", RAY_TMPDIR=folder)
        connect(num_cpus=2, include_dashboard=False)
        yield
        ray.shutdown()
        os.environ.clear()
        os.environ.update(before)
