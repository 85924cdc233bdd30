"""Audits of the tiny experiment by the command that a user types, and the rows that they leave."""

from __future__ import annotations

import io
import json
import shutil
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
from PIL import Image

from inversionlab.core.yaml_io import dump_yaml
from tests import tiny
from tests.clusters import Cluster
from tests.processes import family

Key = tuple[str, int, int]
"""Cell, target, repeat."""
Rows = dict[Key, dict[str, Any]]


class Audit:
    """A recipe, a storage root that holds every trained network, and the command that audits on it.

    Attributes:
        storage: the storage root.
        command: for `Cluster.start` and `Cluster.run`.
    """

    def __init__(self, folder: Path, trained: Path, changed: dict[str, Any]) -> None:
        """Write the recipe and copies of the networks at `trained` into `folder`."""
        folder.mkdir(parents=True, exist_ok=True)
        self.storage = folder / "runs"
        shutil.copytree(trained, self.storage)
        recipe = folder / "tiny.yaml"
        recipe.write_text(dump_yaml(tiny.recipe(**changed)))
        self.command = (
            *(sys.executable, "jobs/audit.py", str(recipe)),
            *("--storage", str(self.storage), "--no-pictures"),
        )

    def shards(self) -> int:
        """Files of rows that exist now."""
        return len(list(self.storage.glob("reconstructions/*/*.parquet")))

    def rows(self) -> Rows:
        """Every stored row; each job must be there once.

        Raises:
            AssertionError: a job is there twice.
        """
        found: Rows = {}
        for file in self.storage.glob("reconstructions/*/*.parquet"):
            for row in pq.read_table(file, partitioning=None).to_pylist():
                key = (row["cell"], row["target"], row["repeat"])
                assert key not in found, f"{key} is there twice"
                found[key] = row
        return found

    @property
    def record_file(self) -> Path:
        """Its `run.json`."""
        (file,) = self.storage.glob("runs/*/run.json")
        return file

    def record(self) -> dict[str, Any]:
        """The run's record."""
        record: dict[str, Any] = json.loads(self.record_file.read_text())
        return record


def train(root: Path, changed: dict[str, Any]) -> Path:
    """Train every network of the tiny experiment in this process; returns the storage root."""
    tiny.train_all(tiny.session(root, **changed))
    return root


def at_work(cluster: Cluster) -> list[int]:
    """Numbers of the worker nodes that are running a work item now."""
    among = cluster.processes()
    found = []
    for number, raylet in cluster.nodes().items():
        members = family([raylet], among)
        # Ray titles a worker's process with the call that it is in.
        busy = [
            p
            for p in among
            if p.pid in members and p.command[0].startswith("ray::AttackWorker.run")
        ]
        found += [number] if busy else []
    return found


def assert_same(mine: Rows, theirs: Rows) -> None:
    """The same jobs with the same findings, ranks included.

    Shards are cut by the measured pace, and a network's last bits depend on the size of its batch: pictures
    may differ by one of 255 steps.
    """
    assert mine.keys() == theirs.keys()
    for key, row in mine.items():
        other = theirs[key]
        for column in ("attack", "defense", "protected", "person", "steps", "queries", "seed"):
            assert row[column] == other[column], (key, column)
        assert ranks(row) == ranks(other), key
        np.testing.assert_allclose(row["confidence"], other["confidence"], rtol=1e-3, atol=1e-4)
        np.testing.assert_allclose(pixels(row), pixels(other), rtol=0, atol=1)


def ranks(row: dict[str, Any]) -> dict[str, int]:
    """The rank of the target for each evaluator."""
    return {said["evaluator"]: said["rank"] for said in row["verdicts"]}


def pixels(row: dict[str, Any]) -> np.ndarray[Any, Any]:
    """The reconstruction, 0 to 255."""
    return np.array(Image.open(io.BytesIO(row["picture"])), dtype=np.float32)
