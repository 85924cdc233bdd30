"""The inversion model: its layers, its vector, its training; and the vectors that a class inversion tries."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor, nn

from inversionlab.attacks.inversion_model import candidates, largest
from inversionlab.core.contracts import TrainingJob
from inversionlab.core.images import to_float
from inversionlab.core.learner import TrainingSettings
from inversionlab.core.settings import ConfigError
from inversionlab.generators.inversion_model import (
    InversionLearner,
    InversionModel,
    InversionModelSettings,
    InversionTraining,
    holding_out,
)
from inversionlab.generators.inversion_noise import NoiseSettings, NoisyInversionLearner
from inversionlab.pipeline.train import Trained, alone, train
from tests.pipeline.test_train import Memory
from tests.toys import CPU

TRAINING = TrainingSettings(learning_rate=1e-2, schedule="constant", weight_decay=0.0)


def model(size: int = 16, channels: int = 1, **more: object) -> InversionModel:
    settings = InversionModelSettings(**{"width": 4, **more})
    return InversionModel(settings, classes=5, channels=channels, image_size=size)


def layers(network: InversionModel) -> list[tuple[int, ...]]:
    """(channels in, channels out, kernel, stride) of every transposed convolution."""
    convolutions = [m for m in network.layers if isinstance(m, nn.ConvTranspose2d)]
    return [(m.in_channels, m.out_channels, m.kernel_size[0], m.stride[0]) for m in convolutions]


def learner(seed: int = 0, **more: object) -> InversionLearner:
    settings = InversionModelSettings(**{"width": 4, **more})
    return InversionLearner(settings, TRAINING, classes=5, channels=1, image_size=16, seed=seed)


def batch(count: int = 8) -> tuple[Tensor, Tensor]:
    rng = torch.Generator().manual_seed(3)
    y_NK = torch.randn(count, 5, generator=rng).mul(4).softmax(1)
    return torch.rand(count, 1, 16, 16, generator=rng), y_NK


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("size", [8, 16, 24, 32, 64, 72])
def test_pictures_have_the_size_asked_for_and_are_in_range(size: int, channels: int) -> None:
    x_NCHW = model(size, channels).eval()(torch.eye(5)).detach()
    assert x_NCHW.shape == (5, channels, size, size)
    assert 0 <= float(x_NCHW.min()) <= float(x_NCHW.max()) <= 1


@pytest.mark.parametrize("size", [12, 4, 264])
def test_other_sizes_are_refused(size: int) -> None:
    with pytest.raises(ConfigError, match=f"image_size = {size}"):
        model(size)


def test_the_layers_are_the_papers() -> None:
    faces, digits = model(64, width=128), model(32, width=128)
    assert layers(faces) == [
        (1024, 512, 4, 2),
        (512, 256, 4, 2),
        (256, 128, 4, 2),
        (128, 1, 4, 2),
    ]
    assert layers(digits) == [(512, 256, 4, 2), (256, 128, 4, 2), (128, 1, 4, 2)]
    assert faces.dense.out_features == 1024 * 4 * 4


@pytest.mark.parametrize("size", [32, 64, 128])
def test_two_hidden_layers_fewer(size: int) -> None:
    whole, short = model(size), model(size, layers_fewer=2)
    assert len(layers(short)) == len(layers(whole)) - 2
    assert short.eval()(torch.eye(5)).shape[-1] == size
    assert math.prod(stride for *_, stride in layers(short)) == size // 4


def test_at_least_one_layer_remains() -> None:
    with pytest.raises(ConfigError, match=r"layers_fewer = 4: .* at most 2"):
        model(32, layers_fewer=4)


def test_small_scores_are_stretched_apart() -> None:
    y_NK = torch.tensor([[1.0, math.exp(-3), math.exp(-60), 0.0, 2.0**-11]])
    log = model(vector="log").stretched(y_NK)
    torch.testing.assert_close(log[0, :4], torch.tensor([50.0, 47.0, 0.0, 0.0]))
    power = model(vector="power").stretched(y_NK)
    torch.testing.assert_close(power[0, [0, 3, 4]], torch.tensor([1.0, 0.0, 0.5]))
    assert torch.equal(model(vector="plain").stretched(y_NK), y_NK)


def test_a_defender_can_differentiate_it_where_a_score_is_zero() -> None:
    y_NK = torch.tensor([[0.5, 0.5, 0.0, 0.0, 0.0]], requires_grad=True)
    model().eval()(y_NK).sum().backward()
    assert y_NK.grad is not None
    assert bool(y_NK.grad.isfinite().all())
    assert float(y_NK.grad[0, :2].abs().min()) > 0


def test_a_step_reports_the_squared_error_a_pixel_before_it() -> None:
    x_NCHW, y_NK = batch()
    a = learner()
    with torch.no_grad():
        before = float((learner().model(y_NK) - x_NCHW).square().mean())
    error = a.step(x_NCHW, y_NK, torch.Generator(), lambda p: None)["error"]
    assert error.ndim == 0
    assert float(error) == pytest.approx(before, rel=1e-5)


def test_it_learns_pictures_by_heart() -> None:
    """The pictures are smooth, since a decoder with so few weights cannot draw noise."""
    x_NCHW, y_NK = batch()
    x_NCHW = x_NCHW.mean((2, 3), keepdim=True).expand_as(x_NCHW)
    a = learner(width=16)
    errors = [
        float(a.step(x_NCHW, y_NK, torch.Generator(), lambda p: None)["error"]) for _ in range(60)
    ]
    assert errors[-1] < 0.2 * errors[0]


def test_equal_seeds_train_equally_and_the_global_stream_is_untouched() -> None:
    before, weights = torch.get_rng_state(), []
    for seed in (5, 5, 6):
        a = learner(seed)
        a.step(*batch(), torch.Generator(), lambda p: None)
        weights.append(a.model.dense.weight.detach())
    assert torch.equal(weights[0], weights[1])
    assert not torch.equal(weights[0], weights[2])
    assert torch.equal(torch.get_rng_state(), before)


def test_gradients_are_shared_before_any_weight_moves() -> None:
    a = learner()
    before = [p.detach().clone() for p in a.model.parameters()]
    seen: list[Tensor] = []

    def sync(parameters: object) -> None:
        for p, old in zip(parameters, before, strict=True):  # type: ignore[call-overload]
            assert p.grad is not None
            assert torch.equal(p, old)
            seen.append(p)

    a.step(*batch(), torch.Generator(), sync)
    assert len(seen) == len(before)


def test_a_candidate_keeps_the_proportions_of_all_but_the_target() -> None:
    base_MK = torch.tensor([[0.2, 0.3, 0.5], [1.0, 0.0, 0.0]])
    v_NK = candidates(base_MK, 0, (0.9, 1.0))
    want_NK = torch.tensor([[0.9, 0.0375, 0.0625], [1, 0, 0], [0.9, 0.05, 0.05], [1, 0, 0]])
    torch.testing.assert_close(v_NK, want_NK)


def test_a_candidate_next_to_one_keeps_its_small_entries() -> None:
    v_K = candidates(torch.tensor([[0.5, 0.25, 0.25]]), 0, (1 - 1e-12,))[0]
    torch.testing.assert_close(v_K[1:], torch.tensor([5e-13, 5e-13]), rtol=1e-3, atol=0)


def test_cut_to_the_largest() -> None:
    y_NK = torch.tensor([[0.1, 0.6, 0.3]])
    assert torch.equal(largest(y_NK, 2), torch.tensor([[0.0, 0.6, 0.3]]))
    assert torch.equal(largest(y_NK, None), y_NK)


def kept(
    keep: str, checkpoints: Memory, noise: NoiseSettings | None = None, epochs: int = 8
) -> tuple[TrainingJob, Trained]:
    """A training on noise, whose error on held-out pictures falls and then rises."""
    training = InversionTraining(
        epochs=epochs,
        batch_size=8,
        learning_rate=0.1,
        schedule="constant",
        keep=keep,
        held_out=0.25,
    )
    settings = InversionModelSettings(width=4)
    plain = InversionLearner(settings, training, classes=5, channels=1, image_size=16, seed=0)
    x_NCHW, y_NK = batch(40)
    job = TrainingJob(NoisyInversionLearner(plain, noise), x_NCHW.mul(255).byte(), y_NK, training)
    job = holding_out(job, 1)
    done = train(
        job,
        role="attack",
        seed=2,
        world=alone(CPU),
        checkpoints=checkpoints,
        report=lambda progress: None,
        checkpoint_seconds=0,
    )
    return job, done


def test_the_best_epoch_is_kept_by_pictures_that_were_held_out() -> None:
    job, done = kept("best", Memory())
    _, last = kept("last", Memory())
    errors = done.curve.points["held_out"]
    assert "held_out" not in last.curve.points
    assert len(job.images_NCHW) == 30
    plain = job.learner.plain  # type: ignore[attr-defined]
    held_NCHW, y_NK = plain._held_out
    everything = batch(40)[0].mul(255).byte()
    assert sorted(map(bytes, map(_bytes, everything))) == sorted(
        map(bytes, map(_bytes, torch.cat([job.images_NCHW[:], held_NCHW])))
    )
    least = min(e for e in errors if e is not None)
    assert least < errors[-1]  # Otherwise nothing is seen here.
    for network, error in ((job.learner.product(), least), (plain.model, errors[-1])):
        made_NCHW = network.eval()(y_NK).detach()
        found = (made_NCHW - to_float(held_NCHW, CPU)).square().mean()
        assert float(found) == pytest.approx(error, rel=1e-5)


def _bytes(x_CHW: Tensor) -> list[int]:
    return x_CHW.flatten().tolist()


@pytest.mark.parametrize("noise", [None, NoiseSettings(iterations=1)])
def test_a_training_that_was_killed_keeps_the_same_epoch(noise: NoiseSettings | None) -> None:
    whole, _ = kept("best", Memory(), noise)
    checkpoints = Memory(die_after=3)
    with pytest.raises(KeyboardInterrupt):
        kept("best", checkpoints, noise)
    checkpoints.left = None
    resumed, done = kept("best", checkpoints, noise)
    assert done.metrics["resumed_at"] > 0
    one, two = (job.learner.product().state_dict() for job in (whole, resumed))
    assert all(torch.equal(one[name], two[name]) for name in one)


def test_the_last_epoch_has_the_name_that_it_always_had() -> None:
    assert InversionTraining().model_dump() == TrainingSettings().model_dump()
    assert InversionTraining(keep="best").model_dump()["held_out"] == 0.1


def test_too_few_pictures_to_hold_some_out_are_refused() -> None:
    training = InversionTraining(keep="best")
    job = TrainingJob(
        learner(), torch.zeros(3, 1, 16, 16, dtype=torch.uint8), batch(3)[1], training
    )
    with pytest.raises(ConfigError, match="holds out 0 of 3"):
        holding_out(job, 0)
