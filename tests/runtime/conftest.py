"""One local Ray for all tests of this folder, with a temporary folder of its own."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
import ray
from jobs.audit import app as audit
from jobs.search import app as search
from tests import faults
from typer.testing import CliRunner

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


@pytest.fixture(scope="session")
def undisturbed(local_ray: None, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder whose storage holds all networks, and an audit that nothing disturbed."""
    folder = tmp_path_factory.mktemp("undisturbed")
    faults.train_base(folder / "runs")
    result = CliRunner().invoke(audit, faults.audit_words(folder)[1:])
    assert result.exit_code == 0, result.output[-3000:]
    assert len(faults.rows(folder)) == faults.ROWS
    return folder


@pytest.fixture(scope="session")
def searched(undisturbed: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder whose storage holds all networks, and a search that nothing disturbed."""
    folder = tmp_path_factory.mktemp("searched")
    faults.copy_networks(undisturbed / "runs", folder)
    result = CliRunner().invoke(search, faults.search_words(folder)[1:])
    assert result.exit_code == 0, result.output[-3000:]
    trials = faults.record(folder)["trials"]
    assert [t["state"] for t in trials] == ["complete"] * faults.TRIALS
    # Were all values equal, equal studies would prove little.
    assert len({t["accuracy"]["value"] for t in trials}) > 1
    return folder
