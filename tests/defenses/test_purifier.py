from __future__ import annotations

import copy

import pytest
import torch
from torch import Tensor
from torch.nn import functional

from inversionlab.core.contracts import ModelShape
from inversionlab.core.learner import TrainingSettings
from inversionlab.defenses.base import DefenseContext, ProtectedModel, VictimBlueprint
from inversionlab.defenses.purifier import (
    Purified,
    Purifier,
    PurifierDefense,
    PurifierLearner,
    PurifierSettings,
)
from inversionlab.generators.inversion_model import InversionModelSettings

CLASSES, SIZE = 4, 8


def settings(**changed: object) -> PurifierSettings:
    fast = TrainingSettings(epochs=1, learning_rate=3e-3, weight_decay=0)
    given = {
        "hidden_size": 16,
        "code_size": 2,
        "inversion": InversionModelSettings(width=2, activation="relu"),
        "training": fast,
    }
    return PurifierSettings(**(given | changed))  # type: ignore[arg-type]


class Model(ProtectedModel):
    """Scores are the softmax of the first pixels."""

    classes = CLASSES

    def log_scores(self, x_NCHW: Tensor) -> Tensor:
        return (9 * x_NCHW[:, 0, 0, :CLASSES]).log_softmax(1)


def context() -> DefenseContext:
    rng = torch.Generator().manual_seed(1)
    pictures = torch.randint(0, 256, (20, 1, SIZE, SIZE), generator=rng, dtype=torch.uint8)
    blueprint = VictimBlueprint(
        ModelShape(CLASSES, 1, SIZE), new_network=lambda: pytest.fail("it trains no recognizer")
    )
    return DefenseContext(
        blueprint=blueprint,
        private_NCHW=torch.zeros(0, 1, SIZE, SIZE, dtype=torch.uint8),
        private_class_N=torch.zeros(0, dtype=torch.int64),
        public_NCHW=pictures,
        public_class_N=torch.full((20,), -1),
        targets=(0,),
        seed=5,
        device=torch.device("cpu"),
        augment=lambda x_NCHW, rng: pytest.fail("scores belong to the unchanged picture"),
        new_recognizer=lambda training: pytest.fail("it trains no recognizer"),
        model=Model(),
    )


def shaded(count: int, seed: int) -> tuple[Tensor, Tensor]:
    """Uniform pictures (N, 1, 8, 8), and log-scores (N, 4) whose last class, never the winner, is the shade."""
    rng = torch.Generator().manual_seed(seed)
    shade_N = torch.rand(count, generator=rng)
    y_N = torch.randint(0, CLASSES - 1, (count,), generator=rng)
    p_NK = 0.01 + functional.one_hot(y_N, CLASSES)
    p_NK[:, -1] = 0.05 + 0.4 * shade_N
    log_y_NK = (p_NK / p_NK.sum(1, keepdim=True)).log()
    return shade_N[:, None, None, None].expand(-1, 1, SIZE, SIZE), log_y_NK


def trained_learner(steps: int, **changed: object) -> PurifierLearner:
    learner = PurifierLearner(settings(**changed), context())
    for step in range(steps):
        x_NCHW, log_y_NK = shaded(64, step)
        learner.step(x_NCHW, log_y_NK, torch.Generator(), lambda parameters: None)
    return learner


def test_training_against_it_keeps_the_inversion_model_from_learning() -> None:
    """Alone, H finds the shade; against G it is no better than the mean picture (the variance is 1/12)."""
    able = InversionModelSettings(width=8, activation="relu")
    fast = TrainingSettings(epochs=1, learning_rate=1e-2, weight_decay=0)
    errors = []
    for weight in (1e-9, 30.0):
        learner = trained_learner(
            250,
            adversarial_weight=weight,
            label_weight=0.1,
            code_size=4,
            inversion=able,
            training=fast,
        )
        x_NCHW, log_y_NK = shaded(500, 99)
        with torch.no_grad():
            guess_NCHW = learner.inversion(learner.purifier(log_y_NK).exp())
        errors.append(float((guess_NCHW - x_NCHW).square().mean()))
    assert errors[0] < 0.05
    assert errors[1] > 0.07


def test_keeps_the_label() -> None:
    purifier = trained_learner(150).product().eval()
    _, log_y_NK = shaded(1000, 99)
    assert float((purifier(log_y_NK).argmax(1) == log_y_NK.argmax(1)).float().mean()) > 0.98


def test_scores_of_one_class_come_together() -> None:
    purifier = trained_learner(150, adversarial_weight=0).product().eval()
    _, log_y_NK = shaded(1000, 99)
    own = log_y_NK.argmax(1) == 0
    with torch.no_grad():
        before, after = log_y_NK.exp()[own], purifier(log_y_NK).exp()[own]
    assert float(after.var(0).sum()) < 0.8 * float(before.var(0).sum())


def test_a_step_descends_the_loss_on_the_card() -> None:
    """A step's gradients are those of the loss written out, after the step of H."""
    learner = PurifierLearner(settings(label_weight=2.0, adversarial_weight=3.0), context())
    twin = copy.deepcopy(learner.purifier)
    x_NCHW, log_y_NK = shaded(16, 0)
    losses = learner.step(x_NCHW, log_y_NK, torch.Generator(), lambda parameters: None)
    out_NK = twin(log_y_NK)
    label_N = -out_NK[torch.arange(16), log_y_NK.argmax(1)]
    per_row_N = (out_NK.exp() - log_y_NK.exp()).square().sum(1) + 2 * label_N
    error_N = (learner.inversion(out_NK.exp()) - x_NCHW).square().flatten(1).mean(1)
    (per_row_N - 3 * error_N).mean().backward()
    label = float(label_N.detach().mean())
    for mine, expected in zip(learner.purifier.parameters(), twin.parameters(), strict=True):
        torch.testing.assert_close(mine.grad, expected.grad, rtol=1e-4, atol=1e-6)
    assert float(losses["label"]) == pytest.approx(label, rel=1e-5)


def test_without_an_adversary_none_is_trained() -> None:
    learner = PurifierLearner(settings(adversarial_weight=0), context())
    before = copy.deepcopy(learner.inversion.state_dict())
    losses = learner.step(*shaded(16, 0), torch.Generator(), lambda parameters: None)
    assert set(losses) == {"distortion", "label"}
    after = learner.inversion.state_dict()
    assert all(torch.equal(before[name], after[name]) for name in before)


def test_it_learns_from_scores_of_public_pictures() -> None:
    training_job = PurifierDefense(settings()).training_job(context())
    assert torch.equal(training_job.images_NCHW, context().public_NCHW)
    expected = Model().log_scores(context().public_NCHW.float() / 255)
    torch.testing.assert_close(training_job.class_N, expected)
    assert training_job.queries == 20


def test_trained_weights_load_into_what_build_returns() -> None:
    defense = PurifierDefense(settings())
    trained = defense.training_job(context()).learner.product()
    defense.build(context().blueprint).load_state_dict(trained.state_dict())


def test_scores_far_below_float_stay_finite() -> None:
    purifier = Purifier(CLASSES, settings(), seed=1).eval()
    log_y_NK = torch.tensor([[0.0, -300.0, -9e9, -60.0], [0.0, -50.0, -50.0, -50.0]])
    out_NK = purifier(log_y_NK)
    assert bool(out_NK.isfinite().all())
    torch.testing.assert_close(out_NK.exp().sum(1), torch.ones(2))
    torch.testing.assert_close(out_NK[0], out_NK[1])


def test_it_purifies_the_scores_of_the_model() -> None:
    purifier = Purifier(CLASSES, settings(), seed=1).eval()
    x_NCHW = torch.rand(3, 1, SIZE, SIZE).requires_grad_(True)
    released = Purified(Model(), purifier)
    torch.testing.assert_close(
        released.log_scores(x_NCHW), purifier(Model().log_scores(x_NCHW)), rtol=0, atol=0
    )
    (slope,) = torch.autograd.grad(released.log_scores(x_NCHW)[:, 0].sum(), x_NCHW)
    assert float(slope.abs().sum()) > 0
