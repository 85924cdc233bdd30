"""The recognizer and its learner."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from inversionlab.core.learner import TrainingSettings
from inversionlab.recognizers import AugmentSettings, RecognizerLearner, RecognizerSettings
from inversionlab.recognizers.losses import CrossEntropy
from inversionlab.recognizers.small_resnet import SmallResnet

TINY = RecognizerSettings(
    network=SmallResnet.Settings(width=8, blocks=(1, 1), feature_size=16, dropout=0.0),
    augment=AugmentSettings(shift=0.0, zoom=0.0, rotation=0.0, erase=0.0),
    training=TrainingSettings(learning_rate=1e-2, schedule="constant"),
)


def _learner(settings: RecognizerSettings = TINY, seed: int = 0) -> RecognizerLearner:
    return RecognizerLearner(settings, classes=4, channels=3, image_size=16, seed=seed)


def _batch(count: int = 32) -> tuple[Tensor, Tensor]:
    """Four classes that differ in the place of a bright stripe."""
    rng = torch.Generator().manual_seed(1)
    y_N = torch.arange(count) % 4
    x_NCHW = torch.rand(count, 3, 16, 16, generator=rng) * 0.4
    for picture, label in zip(x_NCHW, y_N.tolist(), strict=True):
        picture[:, 4 * label : 4 * label + 4] += 0.5
    return x_NCHW, y_N


def test_scores_are_log_probabilities():
    model = _learner().product().eval()
    log_p_NK = model.log_scores(torch.rand(5, 3, 16, 16))
    assert log_p_NK.shape == (5, model.classes) == (5, 4)
    torch.testing.assert_close(log_p_NK.exp().sum(1), torch.ones(5))


def test_scores_are_differentiable_in_the_picture():
    model = _learner().product().eval()
    x_NCHW = torch.rand(2, 3, 16, 16, requires_grad=True)
    model.log_scores(x_NCHW)[:, 1].sum().backward()
    assert x_NCHW.grad is not None
    assert (x_NCHW.grad.flatten(1).norm(dim=1) > 0).all()


def test_weights_depend_on_the_seed_alone():
    def weights(seed: int) -> Tensor:
        return torch.cat([p.flatten() for p in _learner(seed=seed).product().parameters()])

    first = weights(3)
    torch.manual_seed(99)
    before = torch.get_rng_state()
    assert torch.equal(first, weights(3))
    assert torch.equal(torch.get_rng_state(), before), "the global stream must stay untouched"
    assert not torch.equal(first, weights(4))


@pytest.mark.parametrize("loss", ["cosface", "cross_entropy"])
def test_it_learns(loss):
    settings = (
        TINY if loss == "cosface" else TINY.model_copy(update={"loss": CrossEntropy.Settings()})
    )
    learner, (x_NCHW, y_N) = _learner(settings), _batch()
    rng = torch.Generator().manual_seed(0)
    losses = [float(learner.step(x_NCHW, y_N, rng, lambda p: None)["loss"]) for _ in range(15)]
    assert losses[-1] < 0.3 * losses[0]
    model = learner.product().eval()
    assert bool((model.log_scores(x_NCHW).argmax(1) == y_N).all())


def test_in_bfloat16_it_learns_as_well_and_its_head_and_weights_stay_float32():
    x_NCHW, y_N = _batch()
    ends = {}
    for precision in ("fp32", "bf16"):
        learner = _learner()
        learner.precision = precision
        rng = torch.Generator().manual_seed(0)
        for _ in range(15):
            loss = learner.step(x_NCHW, y_N, rng, lambda parameters: None)["loss"]
            assert loss.dtype == torch.float32
        assert all(p.dtype == torch.float32 for p in learner.recognizer.parameters())
        ends[precision] = float(loss)
    assert ends["fp32"] != ends["bf16"] == pytest.approx(ends["fp32"], abs=0.3)


def test_sync_sees_every_gradient_before_the_weights_move():
    learner, (x_NCHW, y_N) = _learner(), _batch(8)
    before = [p.clone() for p in learner.recognizer.parameters()]
    seen: list[bool] = []

    def sync(parameters):
        for parameter, old in zip(parameters, before, strict=True):
            seen.append(parameter.grad is not None and torch.equal(parameter, old))

    learner.step(x_NCHW, y_N, torch.Generator().manual_seed(0), sync)
    assert len(seen) == len(before)
    assert all(seen)
    moved = [
        not torch.equal(p, b) for p, b in zip(learner.recognizer.parameters(), before, strict=True)
    ]
    assert all(moved)


def test_schedule_sets_the_step_size():
    settings = TINY.model_copy(
        update={"training": TrainingSettings(learning_rate=0.1, schedule="cosine")}
    )
    learner = _learner(settings)
    learner.schedule(0.5)
    (group,) = learner.optimizers["recognizer"].param_groups
    assert group["lr"] == pytest.approx(0.05)
