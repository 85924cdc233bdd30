"""Logit loss and students: by hand, and what they leave alone."""

from __future__ import annotations

import dataclasses
import json

import pytest
import torch
from torch import Tensor, nn

from inversionlab.attacks import ATTACKS
from inversionlab.attacks.context import AttackerContext
from inversionlab.attacks.latent_white_box import LatentWhiteBox, LatentWhiteBoxSettings
from inversionlab.attacks.lomma import LommaSettings, StudentsLearner, logits
from inversionlab.core.contracts import ModelShape
from inversionlab.core.settings import NAMING
from inversionlab.core.views import WhiteBox
from inversionlab.pipeline.generator_specs import AttackNetworkSpec
from inversionlab.pipeline.plan import Plan, make_plan
from tests import tiny, toys

SWITCHED = [name for name, kind in ATTACKS.items() if "lomma" in kind.Settings.model_fields]


class Student(nn.Module):
    """The toy victim with its classes one further on: it takes class k's face for class k + `shift`."""

    classes = toys.CLASSES

    def __init__(self, shift: int) -> None:
        super().__init__()
        self.shift = shift

    def log_scores(self, x_NCHW: Tensor) -> Tensor:
        return toys.victim().log_scores(x_NCHW).roll(self.shift, 1)


def holding(*shifts: int) -> AttackerContext:
    return dataclasses.replace(toys.context(), network=nn.ModuleList(map(Student, shifts)))


def attack(context: AttackerContext, regularizer: float) -> LatentWhiteBox:
    settings = LatentWhiteBoxSettings(lomma=LommaSettings(regularizer=regularizer), pool=64)
    return LatentWhiteBox(settings, context)


def test_logits_are_log_scores_up_to_their_mean() -> None:
    logit_NK = torch.tensor([[3.0, -1.0, -2.0], [1.0, 1.0, 1.0]])
    torch.testing.assert_close(logits(logit_NK.log_softmax(1)), logit_NK - logit_NK.mean(1, True))


def test_the_loss_is_the_mean_over_the_model_and_its_students() -> None:
    made, x = attack(holding(0, 1), 0.0), torch.rand(2, 1, toys.SIZE, toys.SIZE)
    log_y, target = toys.victim().log_scores(x), torch.tensor([3, 0])
    loss, merit = made.judge(x, log_y, target, torch.tensor([0, 5]))
    o, rows = logits(log_y), torch.arange(2)
    # The second student's score of k is the victim's of k - 1.
    torch.testing.assert_close(loss, -(2 * o[rows, target] + o[rows, target - 1]) / 3)
    torch.testing.assert_close(merit, (2 * log_y[rows, target] + log_y[rows, target - 1]) / 3)


def test_the_regularizer_is_the_distance_of_the_other_classes_from_a_draw() -> None:
    plain, weighted = (attack(holding(0), weight) for weight in (0.0, 0.7))
    x, target = torch.rand(1, 1, toys.SIZE, toys.SIZE), torch.tensor([2])
    log_y, step = toys.victim().log_scores(x), torch.tensor([4])
    without, _ = plain.judge(x, log_y, target, step)
    with_it, _ = weighted.judge(x, log_y, target, step)
    context = toys.context()
    o_NK = logits(toys.victim().log_scores(context.public(torch.arange(64))))
    noise_K = torch.randn(toys.CLASSES, generator=context.shared_stream("lomma", "logits", 4))
    drawn_K = o_NK.mean(0) + o_NK.std(0, unbiased=False) * noise_K
    away_K = (logits(log_y)[0] - drawn_K).square()
    torch.testing.assert_close(
        with_it - without, 0.7 * (away_K.sum() - away_K[2])[None] / 4, rtol=1e-4, atol=1e-4
    )


def test_the_confidence_is_the_models_own_score_of_the_result() -> None:
    made, jobs = attack(holding(0, 0), 0.0), toys.jobs([(1, 0), (4, 1)])
    view = WhiteBox(toys.victim(), 2)
    found = made.run(view, jobs)
    own = toys.victim().log_scores(found.images_NCHW).exp()[[0, 1], [1, 4]]
    torch.testing.assert_close(found.confidence_N, own)
    assert torch.equal(view.queries, found.steps_N + 2)


def test_every_student_learns_the_scores() -> None:
    settings = LommaSettings.model_validate_json(
        json.dumps(
            {
                "networks": [
                    {"name": "small_resnet", "width": width, "blocks": [1], "dropout": 0}
                    for width in (4, 6)
                ],
                "loss": {"name": "cross_entropy"},
                "augment": {"flip": 0, "shift": 0, "zoom": 0, "rotation": 0, "erase": 0},
            }
        )
    )
    learner = StudentsLearner(settings, ModelShape(3, 1, 16), seed=1)
    x = torch.rand(6, 1, 16, 16, generator=torch.Generator().manual_seed(0))
    y = torch.eye(3).repeat(2, 1)
    rng = torch.Generator().manual_seed(0)
    first = learner.step(x, y, rng, lambda parameters: None)
    for _ in range(15):
        last = learner.step(x, y, rng, lambda parameters: None)
    assert set(first) == set(last) == {"student_0", "student_1"}
    assert all(float(last[name]) < float(first[name]) for name in first)
    made = learner.product()
    assert isinstance(made, nn.ModuleList)
    assert [student.classes for student in made] == [3, 3]


@pytest.mark.parametrize("name", SWITCHED)
def test_without_the_switch_nothing_is_trained_and_no_name_changes(name: str) -> None:
    kind = ATTACKS[name]
    off = kind.Settings(name=name)
    assert not kind.trains_at(off)
    assert "lomma" not in off.model_dump(mode="json", context=NAMING)
    on = kind.Settings(name=name, lomma=LommaSettings())
    assert kind.trains_at(on)
    assert kind.training_queries(on, 64) == 64
    assert "lomma" in on.model_dump(mode="json", context=NAMING)
    with pytest.raises(ValueError, match="needs its trained network"):
        kind(on, toys.context())


def plan(*attacks: dict[str, object]) -> Plan:
    gan = {"name": "wgan_gp", "latent_size": 6, "width": 4, "discriminator_width": 4}
    changed = {"attacks": list(attacks), "generators": {"wgan": gan}, "sweep": None}
    return make_plan(tiny.experiment(**changed), "data", (0, 2, 3, 5))


def test_attacks_on_one_model_share_its_students_whatever_their_own_settings() -> None:
    made = plan(
        {"name": "latent_white_box"},
        {"name": "latent_white_box", "label": "more", "lomma": {}, "steps": 7},
        {"name": "gmi", "lomma": {"regularizer": 2.0}},
        {
            "name": "gmi",
            "label": "wide",
            "lomma": {"networks": [{"name": "small_resnet", "width": 8}]},
        },
    )
    students = {
        (cell.attack.title, cell.model): cell.network.id if cell.network else None
        for cell in made.cells
        if cell.defense is not None
    }
    models = {model for _, model in students}
    for model in models:
        assert students["latent_white_box", model] is None
        assert students["more", model] == students["gmi", model]
        assert students["wide", model] not in (None, students["gmi", model])
    assert len({students["gmi", model] for model in models}) == len(models) > 1
    assert len([s for s in made.specs if isinstance(s, AttackNetworkSpec)]) == 2 * len(models)
