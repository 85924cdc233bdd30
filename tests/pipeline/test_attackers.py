"""What attackers train: generators of another kind, taught ones, networks of their own; from plan to row."""

from __future__ import annotations

import io
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor

from inversionlab.core.images import to_float
from inversionlab.defenses import Protected
from inversionlab.distributed.attack_worker import (
    AttackWorker,
    Brief,
    MeasureJudge,
    MeasureModel,
    Shard,
)
from inversionlab.distributed.missing_work import missing_measures
from inversionlab.pipeline.network_spec import Task
from inversionlab.pipeline.plan import Cell, Plan, make_plan
from inversionlab.pipeline.session import Site
from inversionlab.pipeline.train import TrainingError
from tests import tiny

SHORT = {"epochs": 1, "batch_size": 16}
INVERSION = {"network": {"width": 4}, "training": SHORT, "public_pictures": 8}
GAN = {"latent_size": 6, "width": 4, "discriminator_width": 4, "training": SHORT}
ATTACKERS: dict[str, Any] = {
    "generators": {
        "wgan": {"name": "wgan_gp", **GAN},
        "specific": {"name": "ked_gan", **GAN},
        "style": {"name": "style_gan", **GAN},
    },
    "attacks": [
        {"name": "latent_white_box", "steps": 3},
        {"name": "latent_white_box", "label": "on_wgan", "generator": "wgan", "steps": 3},
        {"name": "gmi", "steps": 3},
        {"name": "ked_mi", "steps": 3},
        {"name": "mirror", "steps": 3},
        {
            "name": "mirror",
            "label": "mirror_scores",
            "gradients": False,
            "genetic": {"generations": 2},
        },
        {"name": "ami", **INVERSION},
        {"name": "ami", "label": "ami_output", "invert": "output", **INVERSION},
        {"name": "ami_adaptive", **INVERSION},
        {"name": "label_only", "steps": 3},
    ],
    "evaluators": [
        tiny.RECIPE["evaluators"][0],
        {
            "name": "strangers",
            "protocol": "nearest_identity",
            "recognizer": tiny.RECIPE["evaluators"][0]["recognizer"],
        },
    ],
    "sweep": None,
}
TARGETS = (0, 2, 3, 5)


def plan(**changed: Any) -> Plan:
    return make_plan(tiny.experiment(**{**ATTACKERS, **changed}), "data", TARGETS)


def plain_title(task: Task) -> str:
    """The title without the part of its id that tells two of a kind apart."""
    return task.title.replace(f" {task.id[:6]}", "")


def cells_of(made: Plan, title: str) -> dict[str, Cell]:
    """The cells of an attack by their defense."""
    return {
        c.defense.name: c for c in made.cells if c.defense is not None and c.attack.title == title
    }


def test_each_attack_gets_a_generator_that_has_what_it_needs() -> None:
    made = plan()
    kinds = {
        title: " ".join(cells_of(made, title)["none"].generator.title.split()[:2])
        for title in ("latent_white_box", "on_wgan", "gmi", "ked_mi", "mirror")
    }
    assert kinds == {
        "latent_white_box": "generator vae",
        "on_wgan": "generator wgan_gp",
        "gmi": "generator wgan_gp",
        "ked_mi": "generator ked_gan",
        "mirror": "generator style_gan",
    }


def test_networks_are_shared_where_they_are_the_same_and_taught_by_each_model_otherwise() -> None:
    made = plan()
    count = Counter(task.title for task in made.tasks)
    assert max(count.values()) == 1
    taught = sorted(plain_title(t) for t in made.tasks if t.taught_by is not None)
    assert taught == [
        "attack ami, taught by none",
        "attack ami_adaptive, taught by dummy_recognizer",
        "generator ked_gan, taught by dummy_recognizer",
        "generator ked_gan, taught by none",
    ]

    def network(attack: str, model: str) -> str:
        task = cells_of(made, attack)[model].network
        assert task is not None
        return task.key

    own = network("ami", "none")
    assert network("ami_output", "none") == network("ami", "dummy_recognizer") == own
    assert network("ami_adaptive", "none") == own
    assert network("ami_adaptive", "dummy_recognizer") != own


def test_who_is_taught_by_a_model_comes_after_the_models_networks() -> None:
    order = [task.key for task in plan().tasks]
    for task in plan().tasks:
        if task.taught_by is not None and task.taught_by.name != "none":
            defense = next(t for t in plan().tasks if t.role == "defense")
            assert order.index(task.key) > order.index(defense.key)


def test_only_what_a_taught_network_is_taught_by_retrains_it() -> None:
    before = {t.key for t in plan().tasks}
    after = {plain_title(t) for t in plan(**{"defense.alpha": 0.9}).tasks if t.key not in before}
    assert after == {
        "attack ami_adaptive, taught by dummy_recognizer",
        "generator ked_gan, taught by dummy_recognizer",
    }


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Site:
    torch.set_num_threads(1)
    changed = {**ATTACKERS, "defense": {"name": "none"}, "targets.count": 2}
    opened = tiny.site(tmp_path_factory.mktemp("attackers"), **changed)
    tiny.train_all(opened)
    worker = AttackWorker(gpu=False)
    brief = Brief(opened.address, opened.plan.data_id, None, {})
    for judge in opened.experiment.evaluators:
        worker.run(MeasureJudge(brief, judge.name))
    jobs = tuple((t, r) for t in opened.plan.targets for r in range(2))
    for cell in opened.plan.cells:
        if cell.defense is not None:
            worker.run(MeasureModel(brief, cell.id))
        worker.run(Shard(brief, cell.id, jobs))
    return opened


def rows(site: Site, title: str) -> list[dict[str, Any]]:
    (cell,) = [c for c in site.plan.cells if c.attack.title == title]
    found: list[dict[str, Any]] = site.store.reconstructions([cell.id]).to_pylist()
    return found


def test_every_attack_leaves_a_row_a_job_that_both_judges_have_seen(site: Site) -> None:
    for attack in site.experiment.attacks:
        found = rows(site, attack.title)
        assert len(found) == 4
        assert {r["attack"] for r in found} == {attack.title}
        for row in found:
            assert [v["evaluator"] for v in row["verdicts"]] == ["same", "strangers"]
            assert all(1 <= v["rank"] <= 6 for v in row["verdicts"])


def test_queries_for_training_are_one_a_public_picture(site: Site) -> None:
    public = len(site.workshop.splits.public_NCHW)
    asked = {
        a.title: {r["training_queries"] for r in rows(site, a.title)}
        for a in site.experiment.attacks
    }
    assert asked["ami"] == asked["ami_output"] == asked["ked_mi"] == {public}
    assert asked["latent_white_box"] == asked["gmi"] == asked["label_only"] == {0}


def test_the_error_is_that_of_the_picture_whose_answer_was_overheard(site: Site) -> None:
    jobs = [(r["target"], r["repeat"]) for r in rows(site, "ami_output")]
    private = to_float(site.workshop.private_pictures(jobs), tiny.CPU).numpy()
    for row, own in zip(rows(site, "ami_output"), private, strict=True):
        stored = np.asarray(Image.open(io.BytesIO(row["picture"])), np.float32) / 255
        # The stored picture is rounded to 8 bits.
        assert row["error"] == pytest.approx(float(((stored - own[0]) ** 2).mean()), abs=2e-3)
        assert row["queries"] == 1
    assert all(np.isnan(r["error"]) for r in rows(site, "ami"))


def test_another_repeat_overhears_another_picture(site: Site) -> None:
    target = site.plan.targets[0]
    first, second = site.workshop.private_pictures([(target, 0), (target, 1)])
    assert not torch.equal(first, second)


def test_the_judge_of_strangers_was_trained_on_no_private_person(site: Site) -> None:
    splits = site.workshop.splits
    lesson = site.workshop.lesson(site.plan.task("evaluator:strangers"))
    public = {x.numpy().tobytes() for x in splits.public_NCHW}
    assert all(x.numpy().tobytes() in public for x in lesson.images_NCHW)
    (row,) = [
        r
        for name in site.store.storage.files("evaluators", ".parquet")
        for r in site.store.read("evaluators", Path(name).stem).to_pylist()
        if r["evaluator"] == "strangers"
    ]
    assert row["total"] == len(splits.test)


def test_a_worker_lets_go_of_networks_of_single_models(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("inversionlab.distributed.attack_worker.NETWORKS", 1)
    worker = AttackWorker(gpu=False)
    brief = Brief(site.address, site.plan.data_id, None, {})
    taught = [c for c in site.plan.cells if c.network or c.generator.taught_by]
    assert len({t.key for c in taught for t in (c.network, c.generator) if t}) > 2
    for cell in taught:
        worker.run(Shard(brief, cell.id, ((site.plan.targets[0], 0),)))
        passing = {t.key for t in site.plan.tasks if t.taught_by is not None}
        assert len(passing & set(worker._networks)) == 1
    assert site.plan.task("victim").key in worker._networks


def test_an_attacker_is_not_taught_by_scores_that_are_no_numbers(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Broken(Protected):
        classes = 6

        def log_scores(self, x_NCHW: Tensor) -> Tensor:
            return torch.full((len(x_NCHW), 6), torch.nan)

    monkeypatch.setattr(site.workshop, "protected", lambda settings: Broken())
    (task,) = [t for t in site.plan.tasks if t.attack is not None]
    with pytest.raises(
        TrainingError, match=r"\(none\) answers public pictures with scores that are not"
    ):
        site.workshop.lesson(task)


def test_a_lost_gallery_is_measured_again(site: Site) -> None:
    brief = Brief(site.address, site.plan.data_id, None, {})

    def judges() -> list[str]:
        orders = missing_measures(site, [], brief, set())
        return [o.name for o in orders if isinstance(o, MeasureJudge)]

    assert judges() == []
    (gallery,) = site.store.storage.files("galleries", ".parquet")
    site.store.storage.set_aside(gallery)
    assert judges() == ["strangers"]
    AttackWorker(gpu=False).run(MeasureJudge(brief, "strangers"))
    assert judges() == []
