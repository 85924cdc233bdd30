"""For equal seeds, pictures and settings, `invert` makes the pictures that an audit's worker stores."""

from __future__ import annotations

import io
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn

import inversionlab
from inversionlab.core.images import to_bytes
from inversionlab.distributed.attack_worker import AttackWorker
from inversionlab.distributed.work_items import MeasureEvaluator, Shard, WorkContext
from inversionlab.pipeline.session import Session, open_experiment, store_given
from inversionlab.store.storage import Storage
from tests import tiny
from tests.given.outside_model import OutsideNet

SHORT = {"epochs": 1, "batch_size": 16}
GENERATORS: dict[str, Any] = {
    "style": {"name": "style_gan", "latent_size": 6, "width": 4, "discriminator_width": 4},
    "specific": {"name": "ked_gan", "latent_size": 6, "width": 4, "discriminator_width": 4},
}
ATTACKS: dict[str, dict[str, Any]] = {
    "latent_white_box": {"steps": 5},
    "mirror": {"steps": 3, "mapped": 32, "candidates": 4},
    "ked_mi": {"steps": 3},
    "ami": {"network": {"width": 4}, "training": SHORT, "public_pictures": 8},
    "random_latent": {},
}
RECIPE: dict[str, Any] = {
    "generators": {k: {**v, "training": SHORT} for k, v in GENERATORS.items()},
    "attacks": [{"name": k, **v} for k, v in ATTACKS.items() if k != "random_latent"],
    "evaluators": tiny.RECIPE["evaluators"][:1],
    "defense": {"name": "none"},
    "sweep": None,
    "targets.count": 2,
    "seed": 5,
    "victim": {"model": "live", "preprocessing": {"mean": [0.5], "std": [0.5]}},
    "split.private_people": None,
    "split.evaluator_people": 0,
    "split.private": ["f000[0-5]"],
    "split.public": ["f000[6-9]", "f00[12]*"],
}


def live() -> nn.Module:
    """The caller's module; each call makes an equal one."""
    with torch.random.fork_rng():
        torch.manual_seed(2)
        return OutsideNet(classes=6, channels=1)


@pytest.fixture(scope="module")
def one_thread() -> Iterator[None]:
    """As attack workers compute; the order of sums depends on the threads."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module")
def session(one_thread: None, tmp_path_factory: pytest.TempPathFactory) -> Session:
    """An audited live module, by an attack worker in this process."""
    root = Storage(str(tmp_path_factory.mktemp("audited")))
    opened = open_experiment(tiny.experiment(**RECIPE), root, live)
    opened.builder.check()
    store_given(opened)
    for spec in opened.plan.specs:
        if not spec.given:
            tiny.train_network(opened, spec, tiny.alone(tiny.CPU))
    worker = AttackWorker(gpu=False)
    work = WorkContext(opened.spec, opened.plan.data_id, None, {})
    worker.run(MeasureEvaluator(work, "same"))
    jobs = tuple((t, r) for t in opened.plan.targets for r in range(2))
    for cell in opened.plan.cells:
        worker.run(Shard(work, cell.id, jobs))
    return opened


@pytest.mark.parametrize("name", ATTACKS)
def test_the_pictures_are_those_of_an_audit(session: Session, name: str) -> None:
    generator = {
        "mirror": RECIPE["generators"]["style"],
        "ked_mi": RECIPE["generators"]["specific"],
    }.get(name, tiny.RECIPE["generator"])
    invert = partial(inversionlab.invert, public=session.builder.splits.public_NCHW[:], say=None)
    mine = invert(
        live(),
        session.plan.targets,
        {"name": name, **ATTACKS[name]},
        generator=generator,
        repeats=2,
        seed=RECIPE["seed"],
        preprocessing=RECIPE["victim"]["preprocessing"],
    )
    (cell,) = [c for c in session.plan.cells if c.attack.title == name]
    rows = session.store.reconstructions([cell.id]).to_pylist()
    assert mine.target.tolist() == [row["target"] for row in rows]
    assert mine.repeat.tolist() == [row["repeat"] for row in rows]
    assert mine.queries.tolist() == [row["queries"] for row in rows]
    assert mine.steps.tolist() == [row["steps"] for row in rows]
    assert {row["training_queries"] for row in rows} == {mine.training_queries}
    np.testing.assert_array_equal(mine.confidence.numpy(), [row["confidence"] for row in rows])
    stored = [np.asarray(Image.open(io.BytesIO(row["picture"]))) for row in rows]
    np.testing.assert_array_equal(to_bytes(mine.images)[:, 0].numpy(), np.stack(stored))
    # Pictures that are all alike would show nothing.
    assert len({picture.tobytes() for picture in stored}) > 2


def test_no_file_is_written(
    session: Session, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    public_NCHW = session.builder.splits.public_NCHW[:]
    inversionlab.invert(
        live(),
        0,
        {"name": "ami", **ATTACKS["ami"]},
        generator=tiny.RECIPE["generator"],
        public=public_NCHW,
        say=None,
    )
    assert not list(tmp_path.iterdir())
