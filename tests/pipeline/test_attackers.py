"""What attackers train, from plan to row: generators of several kinds and networks of their own."""

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
from inversionlab.defenses import ProtectedModel
from inversionlab.distributed.attack_worker import AttackWorker
from inversionlab.distributed.work_items import (
    MeasureEvaluator,
    MeasureModel,
    Shard,
    WorkContext,
    missing_measurements,
)
from inversionlab.pipeline.cell import Cell
from inversionlab.pipeline.generator_specs import AttackNetworkSpec
from inversionlab.pipeline.measure import model_key
from inversionlab.pipeline.network_spec import NetworkSpec
from inversionlab.pipeline.plan import Plan, make_plan
from inversionlab.pipeline.session import Session
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


def plain_title(spec: NetworkSpec) -> str:
    """The title without the part of its id that tells two of a kind apart."""
    return spec.title.replace(f" {spec.id[:6]}", "")


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


def test_equal_networks_are_shared_and_those_that_learn_from_a_model_are_not() -> None:
    made = plan()
    count = Counter(spec.title for spec in made.specs)
    assert max(count.values()) == 1
    learning = sorted(plain_title(t) for t in made.specs if t.learns_from is not None)
    assert learning == [
        "attack ami, learns from none",
        "attack ami_adaptive, learns from dummy_recognizer",
        "generator ked_gan, learns from dummy_recognizer",
        "generator ked_gan, learns from none",
    ]

    def network(attack: str, model: str) -> str:
        spec = cells_of(made, attack)[model].network
        assert spec is not None
        return spec.key

    own = network("ami", "none")
    assert network("ami_output", "none") == network("ami", "dummy_recognizer") == own
    assert network("ami_adaptive", "none") == own
    assert network("ami_adaptive", "dummy_recognizer") != own


def test_a_network_that_learns_from_a_model_comes_after_the_models_networks() -> None:
    order = [spec.key for spec in plan().specs]
    for spec in plan().specs:
        if spec.learns_from is not None and spec.learns_from.defense.name != "none":
            defense = next(t for t in plan().specs if t.role == "defense")
            assert order.index(spec.key) > order.index(defense.key)


def test_only_another_model_to_learn_from_retrains_a_network() -> None:
    before = {t.key for t in plan().specs}
    after = {plain_title(t) for t in plan(**{"defense.alpha": 0.9}).specs if t.key not in before}
    assert after == {
        "attack ami_adaptive, learns from dummy_recognizer",
        "generator ked_gan, learns from dummy_recognizer",
    }


@pytest.fixture(scope="module")
def session(tmp_path_factory: pytest.TempPathFactory) -> Session:
    torch.set_num_threads(1)
    changed = {**ATTACKERS, "defense": {"name": "none"}, "targets.count": 2}
    opened = tiny.session(tmp_path_factory.mktemp("attackers"), **changed)
    tiny.train_all(opened)
    worker = AttackWorker(gpu=False)
    work = WorkContext(opened.spec, opened.plan.data_id, None, {})
    for evaluator in opened.experiment.evaluators:
        worker.run(MeasureEvaluator(work, evaluator.name))
    jobs = tuple((t, r) for t in opened.plan.targets for r in range(2))
    for cell in opened.plan.cells:
        if cell.defense is not None:
            worker.run(MeasureModel(work, cell.id))
        worker.run(Shard(work, cell.id, jobs))
    return opened


def rows(session: Session, title: str) -> list[dict[str, Any]]:
    (cell,) = [c for c in session.plan.cells if c.attack.title == title]
    found: list[dict[str, Any]] = session.store.reconstructions([cell.id]).to_pylist()
    return found


def test_every_attack_leaves_a_row_a_job_with_both_evaluators_verdicts(session: Session) -> None:
    for attack in session.experiment.attacks:
        found = rows(session, attack.title)
        assert len(found) == 4
        assert {r["attack"] for r in found} == {attack.title}
        for row in found:
            assert [v["evaluator"] for v in row["verdicts"]] == ["same", "strangers"]
            assert all(1 <= v["rank"] <= 6 for v in row["verdicts"])


def test_a_models_test_pictures_are_counted_for_each_person(session: Session) -> None:
    model = session.plan.cells[-1].protected
    (row,) = session.store.read("models", model_key(session, model)).to_pylist()
    test = session.builder.splits.test
    assert row["total_of"] == torch.bincount(test.class_N, minlength=6).tolist()
    assert sum(row["correct_of"]) == row["correct_all"]
    assert (
        sum(row["correct_of"][target] for target in session.plan.targets)
        == (row["correct_targets"])
    )


def test_queries_for_training_and_for_starts_are_one_a_public_picture(session: Session) -> None:
    public = len(session.builder.splits.public_NCHW)
    asked = {
        a.title: {r["training_queries"] for r in rows(session, a.title)}
        for a in session.experiment.attacks
    }
    assert asked["ami"] == asked["ami_output"] == asked["ked_mi"] == {public}
    # There are fewer public pictures than starts that are wanted.
    assert asked["latent_white_box"] == asked["label_only"] == {public}
    # Its starts are draws, of which there are as many as wanted.
    assert asked["gmi"] == {512}


def test_the_error_is_that_of_the_picture_whose_output_was_inverted(session: Session) -> None:
    jobs = [(r["target"], r["repeat"]) for r in rows(session, "ami_output")]
    private = to_float(session.builder.private_pictures(jobs), tiny.CPU).numpy()
    for row, own in zip(rows(session, "ami_output"), private, strict=True):
        stored = np.asarray(Image.open(io.BytesIO(row["picture"])), np.float32) / 255
        # The stored picture is rounded to 8 bits.
        assert row["error"] == pytest.approx(float(((stored - own[0]) ** 2).mean()), abs=2e-3)
        assert row["queries"] == 1
    assert all(np.isnan(r["error"]) for r in rows(session, "ami"))


def test_another_repeat_inverts_another_pictures_output(session: Session) -> None:
    target = session.plan.targets[0]
    first, second = session.builder.private_pictures([(target, 0), (target, 1)])
    assert not torch.equal(first, second)


def test_the_evaluator_of_strangers_was_trained_on_no_private_person(session: Session) -> None:
    splits = session.builder.splits
    training_job = session.plan.spec("evaluator:strangers").training_job(session.builder)
    public = {x.numpy().tobytes() for x in splits.public_NCHW}
    assert all(x.numpy().tobytes() in public for x in training_job.images_NCHW)
    (row,) = [
        r
        for name in session.store.storage.files("evaluators", ".parquet")
        for r in session.store.read("evaluators", Path(name).stem).to_pylist()
        if r["evaluator"] == "strangers"
    ]
    assert row["total"] == len(splits.test)


def test_a_worker_drops_networks_of_single_models(
    session: Session, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("inversionlab.distributed.attack_worker.NETWORKS", 1)
    worker = AttackWorker(gpu=False)
    work = WorkContext(session.spec, session.plan.data_id, None, {})
    learning = [c for c in session.plan.cells if c.network or c.generator.learns_from]
    assert len({t.key for c in learning for t in (c.network, c.generator) if t}) > 2
    for cell in learning:
        worker.run(Shard(work, cell.id, ((session.plan.targets[0], 0),)))
        passing = {t.key for t in session.plan.specs if t.learns_from is not None}
        assert len(passing & set(worker._networks)) == 1
    assert session.plan.spec("victim").key in worker._networks


def test_an_attacker_does_not_learn_from_scores_that_are_not_numbers(
    session: Session, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Broken(ProtectedModel):
        classes = 6

        def log_scores(self, x_NCHW: Tensor) -> Tensor:
            return torch.full((len(x_NCHW), 6), torch.nan)

    monkeypatch.setattr(session.builder, "protected", lambda settings, seed: Broken())
    (spec,) = [s for s in session.plan.specs if isinstance(s, AttackNetworkSpec)]
    with pytest.raises(
        TrainingError, match=r"\(none\) answers public pictures with scores that are not"
    ):
        spec.training_job(session.builder)


def test_a_lost_gallery_is_measured_again(session: Session) -> None:
    work = WorkContext(session.spec, session.plan.data_id, None, {})

    def evaluators() -> list[str]:
        items = missing_measurements(session, [], work, set())
        return [i.name for i in items if isinstance(i, MeasureEvaluator)]

    assert evaluators() == []
    (gallery,) = session.store.storage.files("galleries", ".parquet")
    session.store.storage.set_aside(gallery)
    assert evaluators() == ["strangers"]
    AttackWorker(gpu=False).run(MeasureEvaluator(work, "strangers"))
    assert evaluators() == []
