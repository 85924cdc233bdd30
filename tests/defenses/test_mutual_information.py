from __future__ import annotations

import copy
import math

import pytest
import torch
from torch import Tensor

from inversionlab.core.contracts import ModelShape
from inversionlab.core.learner import TrainingSettings
from inversionlab.defenses.base import DefenseContext, VictimBlueprint
from inversionlab.defenses.mutual_information import (
    AVERAGED,
    BottleneckLearner,
    MutualInformation,
    MutualInformationSettings,
    information,
)
from inversionlab.recognizers import Recognizer, RecognizerSettings
from inversionlab.recognizers.small_resnet import SmallResnet

CLASSES, SIZE = 3, 16
NETWORK = RecognizerSettings(
    network=SmallResnet.Settings(width=4, blocks=(1,), feature_size=8, dropout=0)
)


def blueprint() -> VictimBlueprint:
    def new() -> Recognizer:
        return Recognizer(NETWORK, classes=CLASSES, channels=1, image_size=SIZE, seed=3)

    return VictimBlueprint(ModelShape(CLASSES, 1, SIZE), new)


class Mirror:
    """An augmentation that counts its pictures."""

    def __init__(self) -> None:
        self.pictures = 0

    def __call__(self, x_NCHW: Tensor, rng: torch.Generator) -> Tensor:
        self.pictures += len(x_NCHW)
        return x_NCHW.flip(3)


def context(augment: Mirror | None = None) -> DefenseContext:
    rng = torch.Generator().manual_seed(1)
    return DefenseContext(
        blueprint=blueprint(),
        private_NCHW=torch.randint(0, 256, (12, 1, SIZE, SIZE), generator=rng, dtype=torch.uint8),
        private_class_N=torch.arange(12) % CLASSES,
        public_NCHW=torch.zeros(4, 1, SIZE, SIZE, dtype=torch.uint8),
        public_class_N=torch.full((4,), -1),
        targets=(0,),
        seed=5,
        device=torch.device("cpu"),
        augment=augment or Mirror(),
        new_recognizer=lambda training: pytest.fail("it builds its own learner"),
    )


def settings(**changed: object) -> MutualInformationSettings:
    given = {"training": TrainingSettings(epochs=1, learning_rate=0.02)} | changed
    return MutualInformationSettings(**given)  # type: ignore[arg-type]


def trained_learner(steps: int, **changed: object) -> BottleneckLearner:
    learner = BottleneckLearner(settings(**changed), context())
    x_NCHW, y_N = context().private_NCHW.float() / 255, context().private_class_N
    for step in range(steps):
        learner.step(x_NCHW, y_N, torch.Generator().manual_seed(step), lambda parameters: None)
    return learner


def test_information_by_hand() -> None:
    mean_ND = torch.tensor([[0.0, 0.0], [1.0, 2.0], [0.0, 0.0]])
    spread_ND = torch.tensor([[1.0, 1.0], [1.0, 1.0], [math.exp(-1), 1.0]])
    # 1/2 (1 + 4) = 2.5;  1/2 (e^-2 - 1) + 1
    expected = torch.tensor([0.0, 2.5, 0.5 * (math.exp(-2) - 1) + 1])
    torch.testing.assert_close(information(mean_ND, spread_ND), expected)


@pytest.mark.parametrize(("gain", "noise"), [(0.8, 0.6), (0.6, 0.3), (2.0, 1.0), (0.1, 1.0)])
def test_bound_of_a_gaussian_channel(gain: float, noise: float) -> None:
    """T = gain X + noise e with X ~ N(0, 1): I(X; T) = 1/2 log(1 + S/N), and the bound exceeds it by
    KL(N(0, S + N) || N(0, 1)), which is 0 if S + N = 1 (the first case)."""
    # X is represented by mid-point quantiles.
    u = (torch.arange(100_000, dtype=torch.float64) + 0.5) / 100_000
    x_N1 = (math.sqrt(2) * torch.erfinv(2 * u - 1))[:, None]
    bound = float(information(gain * x_N1, torch.full_like(x_N1, noise)).mean())
    signal, floor = gain**2, noise**2
    exact = 0.5 * math.log(1 + signal / floor)
    total = signal + floor
    excess = 0.5 * (total - 1 - math.log(total))
    assert bound == pytest.approx(exact + excess, abs=1e-3)
    assert bound >= exact - 1e-3
    if total == pytest.approx(1):
        assert bound == pytest.approx(exact, abs=1e-3)


def test_a_high_price_removes_information() -> None:
    cheap, dear = trained_learner(40, beta=0.0), trained_learner(40, beta=100.0)
    x_NCHW = context().private_NCHW.float() / 255
    with torch.no_grad():
        nats = [float(information(*m.product().eval().code(x_NCHW)).mean()) for m in (cheap, dear)]
    assert nats[1] < 0.5 * nats[0]


def test_a_step_descends_the_loss_on_the_card() -> None:
    """A step's gradients are those of the loss at b = 0.3 written out."""
    learner = BottleneckLearner(settings(beta=0.3), context())
    twin = copy.deepcopy(learner.recognizer)
    x_NCHW, y_N = context().private_NCHW.float() / 255, context().private_class_N
    learner.step(x_NCHW, y_N, torch.Generator().manual_seed(8), lambda parameters: None)
    mu_ND, s_ND = twin.code(x_NCHW.flip(3))
    e_ND = torch.randn(mu_ND.shape, generator=torch.Generator().manual_seed(8))
    loss = twin.network.head.loss(mu_ND + s_ND * e_ND, y_N)
    nats = 0.5 * (mu_ND**2 + s_ND**2 - 1 - 2 * s_ND.log()).sum() / len(x_NCHW)
    (priced,) = torch.autograd.grad(0.3 * nats, mu_ND, retain_graph=True)
    (learned,) = torch.autograd.grad(loss, mu_ND, retain_graph=True)
    assert 0.02 < float(priced.norm() / learned.norm()) < 50, (
        "one of the two is too small to matter"
    )
    (loss + 0.3 * nats).backward()
    for (name, mine), expected in zip(
        learner.recognizer.named_parameters(), twin.parameters(), strict=True
    ):
        torch.testing.assert_close(mine.grad, expected.grad, rtol=1e-4, atol=1e-5, msg=name)


def test_it_learns_from_noisy_codes_and_scores_their_means() -> None:
    model = trained_learner(3).product().eval()
    x_NCHW = context().private_NCHW.float() / 255
    mean_ND, spread_ND = model.code(x_NCHW)
    assert float(spread_ND.min()) > 0
    expected = model.network.head(mean_ND).log_softmax(1)
    torch.testing.assert_close(model.log_scores(x_NCHW), expected)
    assert torch.equal(model.log_scores(x_NCHW), model.log_scores(x_NCHW))


def test_all_randomness_comes_from_the_stream() -> None:
    torch.manual_seed(1)
    one = trained_learner(2).product().state_dict()
    torch.manual_seed(2)
    two = trained_learner(2).product().state_dict()
    assert all(torch.equal(one[name], two[name]) for name in one)


def test_noise_is_in_the_loss() -> None:
    """The same batch has another loss with another random stream."""
    x_NCHW, y_N = context().private_NCHW.float() / 255, context().private_class_N
    losses = []
    for seed in (1, 2):
        learner = BottleneckLearner(settings(), context())
        rng = torch.Generator().manual_seed(seed)
        losses.append(float(learner.step(x_NCHW, y_N, rng, lambda parameters: None)["loss"]))
    assert losses[0] != losses[1]


def test_augments_as_the_victim_does() -> None:
    mirror = Mirror()
    training_job = MutualInformation(settings()).training_job(context(mirror))
    x_NCHW = training_job.images_NCHW.float() / 255
    training_job.learner.step(
        x_NCHW, training_job.class_N, torch.Generator(), lambda parameters: None
    )
    assert mirror.pictures == 12


def test_reports_the_mean_bound_of_the_last_batches() -> None:
    learner = BottleneckLearner(settings(), context())
    for nats in (1.0, 2.0, 6.0):
        learner._note(torch.tensor(nats))
    model = MutualInformation(settings()).protect(blueprint().new_network(), learner.product())
    assert model.facts()["bound_nats"] == pytest.approx(3.0)
    for _ in range(20 * AVERAGED):
        learner._note(torch.tensor(7.0))
    assert model.facts()["bound_nats"] == pytest.approx(7.0, abs=1e-3)


def test_the_bound_is_saved_with_the_weights() -> None:
    trained = trained_learner(2).product()
    again = MutualInformation(settings()).build(blueprint())
    again.load_state_dict(trained.state_dict())
    assert float(again.bound_nats) == float(trained.bound_nats) > 0


def test_a_shorter_code() -> None:
    learner = trained_learner(1, code_size=3)
    mean_ND, spread_ND = learner.product().code(torch.rand(2, 1, SIZE, SIZE))
    assert mean_ND.shape == spread_ND.shape == (2, 3)
    again = MutualInformation(settings(code_size=3)).build(blueprint())
    again.load_state_dict(learner.product().state_dict())
