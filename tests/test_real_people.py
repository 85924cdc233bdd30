"""The whole path on real faces (ORL), in this process: nothing found on made-up faces alone is believed."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from inversionlab.distributed.attack_worker import AttackWorker
from inversionlab.distributed.work_items import (
    MeasureEvaluator,
    MeasureModel,
    Shard,
    WorkContext,
)
from inversionlab.experiment import Experiment
from inversionlab.pipeline.cell import Cell
from inversionlab.pipeline.session import Session, open_experiment
from inversionlab.store.storage import Storage
from tests import tiny

pytestmark = [pytest.mark.real_data]


def recognizer(width: int) -> dict[str, Any]:
    return {
        "network": {"name": "small_resnet", "width": width, "blocks": [1, 1], "feature_size": 64},
        "training": {
            "epochs": 30,
            "batch_size": 32,
            "learning_rate": 0.003,
            "schedule": "one_cycle",
        },
    }


def orl(root: Path) -> Experiment:
    return tiny.experiment(
        data={"name": "folder", "root": str(root), "image_size": 32, "channels": 1},
        split={"private_people": 20, "evaluator_people": 0},
        victim=recognizer(12),
        evaluators=[{"name": "same", "protocol": "same_people", "recognizer": recognizer(16)}],
        generator={
            "name": "vae",
            "latent_size": 24,
            "width": 6,
            "training": {"epochs": 60, "batch_size": 16, "learning_rate": 0.003},
        },
        defense={"name": "none"},
        defense_generator=None,
        sweep=None,
        attacks=[{"name": "latent_white_box", "stop": 0.999}],
        targets={"count": 10, "repeats": 2},
    )


@pytest.fixture(scope="module")
def session(tmp_path_factory: pytest.TempPathFactory) -> Session:
    root = Path(__file__).resolve().parents[2] / "shared" / "data" / "att_faces"
    if not root.is_dir():
        pytest.skip(f"{root} is absent: no real faces to test on")
    storage = Storage(str(tmp_path_factory.mktemp("orl")))
    torch.set_num_threads(1)
    opened = open_experiment(orl(root), storage)
    tiny.train_all(opened)
    return opened


def ranks(session: Session, cell: Cell) -> np.ndarray[Any, np.dtype[np.int64]]:
    table = session.store.reconstructions([cell.id])
    return np.array([v[0]["rank"] for v in table["verdicts"].to_pylist()])


def test_the_attack_beats_the_nulls_by_far_on_a_good_victim(session: Session) -> None:
    worker = AttackWorker(gpu=False)
    # No object store here: the worker reads the storage.
    brief = WorkContext(session.spec, session.plan.data_id, None, {})
    worker.run(MeasureEvaluator(brief, "same"))
    jobs = tuple((t, r) for t in session.plan.targets for r in range(2))
    found = {}
    for cell in session.plan.cells:
        if cell.defense is not None:
            worker.run(MeasureModel(brief, cell.id))
        worker.run(Shard(brief, cell.id, jobs))
        found[cell.attack.name] = (ranks(session, cell) <= 5).mean()
    metrics = [session.artifacts.card(t)["metrics"] for t in session.plan.specs[:2]]  # type: ignore[index]
    assert all(m["test_accuracy"] >= 0.85 for m in metrics)
    # By chance a quarter of the pictures are among the judge's five best of twenty people.
    nulls = max(found["random_latent"], found["random_public"])
    assert nulls <= 0.5
    assert found["latent_white_box"] >= nulls + 0.35
