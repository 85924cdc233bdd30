"""DP-SGD: the clipped sum against a plain loop and against Opacus, noise, sampling, the privacy accountant."""

from __future__ import annotations

import dataclasses
import functools
import math
from typing import Any

import pytest
import torch
from opacus import GradSampleModule
from opacus.accountants import RDPAccountant
from opacus.optimizers import DPOptimizer
from torch import Tensor, nn
from torch.nn import functional

from inversionlab.core.contracts import ModelShape
from inversionlab.core.learner import TrainingSettings
from inversionlab.defenses.base import DefenseContext, VictimBlueprint
from inversionlab.defenses.dp_sgd import DpSgd, DpSgdSettings, PrivateLearner
from inversionlab.defenses.parts.differential_privacy import (
    Budget,
    PrivateRecognizer,
    clip_factors,
    clipped_sum,
    noised_mean,
)
from inversionlab.pipeline.plan import make_plan
from inversionlab.pipeline.train import alone, train
from inversionlab.recognizers import Recognizer, RecognizerSettings
from tests import tiny, toys

COUNT = 24
WHOLE = TrainingSettings(epochs=6, batch_size=COUNT, weight_decay=0.0)
NETWORK = RecognizerSettings.model_validate(
    {"network": {"name": "small_resnet", "width": 4, "blocks": (1,), "feature_size": 8}}
)


def recognizer(seed: int = 1) -> Recognizer:
    return Recognizer(NETWORK, classes=toys.CLASSES, channels=3, image_size=16, seed=seed)


@functools.cache
def public() -> Recognizer:
    """A recognizer of strangers; its batch normalisation has statistics of some."""
    network = recognizer(9)
    torch.manual_seed(0)
    network.train()(torch.rand(8, 3, 16, 16, generator=torch.Generator().manual_seed(2)))
    return network.eval().requires_grad_(False)


def context(name: str = "a") -> DefenseContext:
    rng = torch.Generator().manual_seed(3)
    return DefenseContext(
        name=name,
        blueprint=VictimBlueprint(ModelShape(toys.CLASSES, 3, 16), recognizer),
        private_NCHW=torch.randint(256, (COUNT, 3, 16, 16), generator=rng).byte(),
        private_class_N=torch.arange(COUNT) % toys.CLASSES,
        public_NCHW=torch.zeros(0, 3, 16, 16).byte(),
        public_class_N=torch.zeros(0, dtype=torch.int64),
        targets=(0,),
        seed=5,
        device=toys.CPU,
        augment=lambda x_NCHW, rng: x_NCHW + 0.1 * torch.rand(len(x_NCHW), 1, 1, 1, generator=rng),
        new_recognizer=_unused,
        classifier=public(),
    )


def _unused(training: TrainingSettings) -> Any:
    raise AssertionError("DP-SGD has a learner of its own")


def learner(**settings: Any) -> PrivateLearner:
    """Trains on a third of the pictures a step; planned for whole batches, whose budget is quick to compute."""
    given = {"training": WHOLE, **settings}
    made = DpSgd(DpSgdSettings(**given)).training_job(context()).learner
    assert isinstance(made, PrivateLearner)
    made.budget = dataclasses.replace(made.budget, rate=1 / 3, expected=8)
    return made


def take_step(learner: PrivateLearner, seed: int = 1) -> dict[str, Tensor]:
    torch.manual_seed(seed)
    batch = torch.zeros(8, 3, 16, 16), torch.zeros(8, dtype=torch.int64)
    return learner.step(*batch, torch.Generator().manual_seed(seed), lambda parameters: None)


class TinyNetwork(nn.Module):
    """A convolution, an in-place activation and a head of unit vectors, which break naive hooks."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.conv = nn.Conv2d(2, 3, 3)
        self.head = recognizer().head.__class__(
            RecognizerSettings().loss, feature_size=12, classes=4
        )
        self.inplace = True

    def forward(self, x_NCHW: Tensor) -> Tensor:
        map_NCHW = functional.relu(self.conv(x_NCHW), inplace=self.inplace)
        logit_NK: Tensor = self.head(map_NCHW.flatten(1))
        return logit_NK


def tiny_batch() -> tuple[Tensor, Tensor]:
    rng = torch.Generator().manual_seed(1)
    x_NCHW = torch.rand(6, 2, 4, 4, generator=rng, dtype=torch.float64)
    return x_NCHW, torch.tensor([0, 1, 2, 3, 0, 1])


def one_by_one(network: nn.Module, x_N: Tensor, y_N: Tensor) -> list[dict[str, Tensor]]:
    """Each sample's gradient, computed alone."""
    gradients = []
    for x, y in zip(x_N, y_N, strict=True):
        network.zero_grad()
        functional.cross_entropy(network(x[None]), y[None]).backward()
        gradients.append({n: p.grad.clone() for n, p in network.named_parameters()})  # type: ignore[union-attr]
    return gradients


def whole_norm(gradient: dict[str, Tensor]) -> float:
    return math.sqrt(sum(float(g.square().sum()) for g in gradient.values()))


def test_the_clipped_sum_is_that_of_a_loop_over_single_samples() -> None:
    network = TinyNetwork().double()
    x_N, y_N = tiny_batch()
    gradients = one_by_one(network, x_N, y_N)
    norms = sorted(whole_norm(g) for g in gradients)
    clip = (norms[2] + norms[3]) / 2  # three samples below, three above
    weights = {n: p.detach() for n, p in network.named_parameters()}
    sums, loss = clipped_sum(network, weights, x_N, y_N, clip)
    for name, total in sums.items():
        expected = sum(g[name] * min(1.0, clip / (whole_norm(g) + 1e-6)) for g in gradients)
        torch.testing.assert_close(total, expected, rtol=0, atol=1e-10)
    torch.testing.assert_close(loss, functional.cross_entropy(network(x_N), y_N, reduction="sum"))


def test_the_clipped_sum_is_opacus_own() -> None:
    network = TinyNetwork().double()
    network.inplace = False  # Opacus' hooks refuse it
    x_N, y_N = tiny_batch()
    clip = 1.5
    weights = {n: p.detach().clone() for n, p in network.named_parameters()}
    sums, _ = clipped_sum(network, weights, x_N, y_N, clip)
    hooked = GradSampleModule(network, loss_reduction="sum")
    optimizer = DPOptimizer(
        torch.optim.SGD(hooked.parameters(), lr=1.0),
        noise_multiplier=0.0,
        max_grad_norm=clip,
        expected_batch_size=3,
        loss_reduction="sum",
    )
    functional.cross_entropy(hooked(x_N), y_N, reduction="sum").backward()
    optimizer.clip_and_accumulate()
    for name, parameter in network.named_parameters():
        torch.testing.assert_close(sums[name], parameter.summed_grad, rtol=0, atol=1e-10)


def test_a_short_gradient_is_left_and_a_long_one_gets_norm_c() -> None:
    gradients = {"a": torch.tensor([[3.0], [0.3]]), "b": torch.tensor([[4.0], [0.4]])}
    torch.testing.assert_close(clip_factors(gradients, 1.0), torch.tensor([0.2, 1.0]))


def test_one_picture_more_moves_the_sum_by_no_more_than_c() -> None:
    network = TinyNetwork().double()
    x_N, y_N = tiny_batch()
    weights = {n: p.detach() for n, p in network.named_parameters()}
    for clip in (0.01, 1.0, 5.0):
        with_it, _ = clipped_sum(network, weights, x_N, y_N, clip)
        without, _ = clipped_sum(network, weights, x_N[:-1], y_N[:-1], clip)
        assert whole_norm({n: with_it[n] - without[n] for n in with_it}) <= clip * (1 + 1e-9)


def test_the_noise_has_the_requested_deviation() -> None:
    sums = {"w": torch.full((200, 200), 12.0)}
    mean = noised_mean(sums, 3.0, 4, torch.Generator().manual_seed(0))["w"]
    # 40,000 draws: the standard error of the deviation is 0.75 / sqrt(80,000) = 0.0027.
    assert abs(float(mean.std()) - 0.75) < 0.011
    assert abs(float(mean.mean()) - 3.0) < 0.015


def test_an_empty_batch_is_noise_of_sigma_c_over_b() -> None:
    made = learner(train="all", start="scratch", clip=0.5)
    made.budget = dataclasses.replace(made.budget, rate=0.0)
    loss = take_step(made)["loss"]
    assert float(loss) == 0
    noise = torch.cat([w.grad.flatten() for w in made.weights.values()])  # type: ignore[union-attr]
    expected = made.budget.noise_multiplier * 0.5 / 8
    assert abs(float(noise.std()) / expected - 1) < 5 / math.sqrt(2 * len(noise))


@pytest.mark.parametrize("train", ["head", "all"])
def test_a_step_gives_the_optimizer_the_mean_of_the_drawn_pictures(train: str) -> None:
    made = learner(train=train, clip=0.7)
    made.budget = dataclasses.replace(made.budget, noise_multiplier=0.0)
    for module in made.part.modules():
        if isinstance(module, nn.Dropout):
            module.p = 0.0
    stream = made.own_stream(torch.Generator().manual_seed(1))
    drawn = torch.rand(COUNT, generator=stream) < 1 / 3
    assert 0 < int(drawn.sum()) < COUNT
    before = {n: w.detach().clone() for n, w in made.weights.items()}
    take_step(made)
    data, network = context(), made.model.victim
    with torch.no_grad():
        for name, weight in made.weights.items():
            weight.copy_(before[name])
    network.eval()
    total = {n: torch.zeros_like(w) for n, w in made.weights.items()}
    for x, y in zip(data.private_NCHW[drawn], data.private_class_N[drawn], strict=True):
        loss = -network.log_scores(x[None].float() / 255)[0, y]
        gradients = dict(
            zip(total, torch.autograd.grad(loss, list(made.weights.values())), strict=True)
        )
        for name, gradient in gradients.items():
            total[name] += gradient * min(1.0, 0.7 / (whole_norm(gradients) + 1e-6))
    for name, weight in made.weights.items():
        torch.testing.assert_close(weight.grad, total[name] / 8, rtol=1e-4, atol=1e-6)


def test_pictures_are_drawn_with_probability_b_over_n() -> None:
    made = learner()
    made.budget = dataclasses.replace(made.budget, noise_multiplier=0.0)
    shape = []
    made._sums = lambda rows, rng, device: (
        shape.append(len(rows))
        or (  # type: ignore
            {n: torch.zeros_like(w) for n, w in made.weights.items()},
            torch.zeros(()),
        )
    )
    for seed in range(300):
        take_step(made, seed)
    # Binomial(24, 1/3): mean 8, variance 16/3; the mean of 300 has a standard error of 0.133.
    assert abs(sum(shape) / 300 - 8) < 0.55
    assert len(set(shape)) > 5


def test_the_accountant_is_opacus_own() -> None:
    budget = Budget(1.1, expected=100, rate=0.1, delta=1e-5, accountant="rdp")
    ledger = RDPAccountant()
    for _ in range(30):
        ledger.step(noise_multiplier=1.1, sample_rate=0.1)
    assert budget.spent(30) == pytest.approx(ledger.get_epsilon(delta=1e-5), rel=1e-12)


def test_one_whole_batch_step_costs_what_the_gaussian_mechanism_does() -> None:
    """Renyi: eps(sigma) = min over a of a / (2 sigma^2) + log(1 / delta) / (a - 1), or Opacus' tighter form."""
    budget = Budget.plan(
        epsilon=2.0, delta=1e-5, batch_size=50, count=50, epochs=1, accountant="rdp"
    )
    a = 1 + math.sqrt(2 * budget.noise_multiplier**2 * math.log(1e5))
    classic = a / (2 * budget.noise_multiplier**2) + math.log(1e5) / (a - 1)
    assert 0.75 * classic < budget.spent(1) < classic


def test_a_larger_budget_needs_less_noise_and_steps_only_add_cost() -> None:
    size: dict[str, Any] = {
        "delta": 1e-5,
        "batch_size": 8,
        "count": 8,
        "epochs": 6,
        "accountant": "rdp",
    }
    noise = [Budget.plan(epsilon=e, **size).noise_multiplier for e in (0.5, 2.0, 8.0, 50.0)]
    assert noise == sorted(noise, reverse=True)
    assert len(set(noise)) == 4
    budget = Budget.plan(epsilon=8.0, **size)
    spent = [budget.spent(n) for n in (0, 1, 3, 6, 12)]
    assert spent[0] == 0
    assert spent == sorted(spent)
    assert len(set(spent)) == 5


def test_the_tighter_accountant_asks_for_less_noise() -> None:
    size: dict[str, Any] = {"delta": 1e-5, "batch_size": 8, "count": 8, "epochs": 6}
    prv = Budget.plan(epsilon=8.0, accountant="prv", **size)
    rdp = Budget.plan(epsilon=8.0, accountant="rdp", **size)
    assert 0.8 * rdp.noise_multiplier < prv.noise_multiplier < rdp.noise_multiplier
    assert 7.9 < prv.spent(6) <= 8.0


def test_an_account_that_would_take_minutes_is_refused_at_once() -> None:
    size: dict[str, Any] = {"delta": None, "batch_size": 4096, "count": 3463, "epochs": 20}
    with pytest.raises(ValueError, match=r"prv: .* minutes for epsilon = 1000 over 20 steps; set"):
        Budget.plan(epsilon=1000.0, accountant="prv", **size)
    Budget.plan(epsilon=1000.0, accountant="rdp", **size)


def test_the_training_loop_reports_what_was_spent() -> None:
    defense = DpSgd(DpSgdSettings(epsilon=4.0, training=WHOLE))
    training_job = defense.training_job(context())
    train(
        training_job,
        role="defense",
        seed=1,
        world=alone(toys.CPU),
        checkpoints=toys.NoCheckpoints(),
        report=lambda progress: None,
    )
    assert training_job.learner.counters == {"steps": 6.0}
    made = training_job.learner.product()
    assert isinstance(made, PrivateRecognizer)
    facts = made.facts()
    assert set(facts) == {"epsilon", "delta", "noise_multiplier"}
    assert 3.9 < facts["epsilon"] <= 4.0
    assert facts["delta"] == 1e-5
    stored = defense.build(context().blueprint)
    stored.load_state_dict(made.state_dict())
    released = defense.protect(nn.Identity(), stored)
    assert released.facts() == facts
    x_NCHW = torch.rand(3, 3, 16, 16)
    assert torch.equal(released.eval().log_scores(x_NCHW), made.eval().log_scores(x_NCHW))


def test_half_the_steps_cost_less() -> None:
    made = learner()
    made.budget = dataclasses.replace(made.budget, rate=1.0)
    for seed in range(3):
        take_step(made, seed)
    assert 0 < made.product().facts()["epsilon"] < 8.0 - 0.5


@pytest.mark.parametrize("train", ["head", "all"])
def test_public_weights_stay_unchanged(train: str) -> None:
    """Batch normalisation with its statistics, and with train = head the whole backbone."""
    made = learner(train=train)
    take_step(made)
    old, new = public().backbone.state_dict(), made.product().victim.backbone.state_dict()
    trained = {n.removeprefix("0.") for n in made.weights} if train == "all" else set()
    for name, value in new.items():
        assert torch.equal(value, old[name]) == (name not in trained), name
    assert any("running_mean" in name for name in old)
    assert not any("running" in name for name in trained)


def test_from_scratch_there_is_no_batch_normalisation_and_nothing_public() -> None:
    made = learner(start="scratch", train="all")
    layers = list(made.product().modules())
    assert any(isinstance(m, nn.GroupNorm) for m in layers)
    assert not any(isinstance(m, nn.BatchNorm1d | nn.BatchNorm2d) for m in layers)
    fresh = recognizer().backbone.state_dict()["layers.0.weight"]
    assert torch.equal(made.product().victim.backbone.state_dict()["layers.0.weight"], fresh)
    assert len(made.weights) == len(list(made.product().parameters()))


@pytest.mark.parametrize("settings", [{}, {"augment": True}, {"train": "all", "start": "scratch"}])
def test_the_same_generator_gives_the_same_bits(settings: dict[str, Any]) -> None:
    first, second, other = (learner(**settings) for _ in range(3))
    take_step(first), take_step(second), take_step(other, 2)
    for name, weight in first.weights.items():
        assert torch.equal(weight, second.weights[name])
    assert any(not torch.equal(w, other.weights[n]) for n, w in first.weights.items())


def test_models_of_different_names_share_no_noise() -> None:
    """From two models with the same noise at two strengths, both noiseless models could be computed."""
    training_jobs = [
        DpSgd(DpSgdSettings(training=WHOLE)).training_job(context(name)) for name in "ab"
    ]
    streams = [
        training_job.learner.own_stream(torch.Generator().manual_seed(1))  # type: ignore[attr-defined]
        for training_job in training_jobs
    ]
    first, second = (torch.randn(100, generator=s) for s in streams)
    assert abs(float(torch.corrcoef(torch.stack([first, second]))[0, 1])) < 0.5
    with pytest.raises(ValueError, match="without a name"):
        DpSgd(DpSgdSettings(training=WHOLE)).training_job(context(""))


@pytest.mark.parametrize(
    "changed",
    [
        {"defense.epsilon": 4.0},
        {"victim.loss": {"name": "cross_entropy"}},
        {"victim.training.epochs": 4},
        {"data.people": 31},
        {"seed": 3},
    ],
)
def test_whatever_goes_into_the_network_changes_its_name(changed: dict[str, Any]) -> None:
    """Other data or other initial weights mean another name, and so other noise."""

    def name(**changed: Any) -> str:
        whole = tiny.experiment(defense={"name": "dp_sgd"}, sweep=None, **changed)
        data_id = str(whole.data.model_dump())
        (found,) = [s.id for s in make_plan(whole, data_id, (0, 1)).specs if s.role == "defense"]
        return found

    assert name(**changed) != name()


class Reading(nn.Module):
    """Reads a number out of its pictures, which vmap forbids."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(3))

    def forward(self, x_NCHW: Tensor) -> Tensor:
        return x_NCHW.mean((2, 3)) * self.weight * float(x_NCHW.max())


class Unfit(nn.Module):
    classes = toys.CLASSES

    def __init__(self) -> None:
        super().__init__()
        self.backbone, self.head = Reading(), nn.Linear(3, toys.CLASSES)

    def features(self, x_NCHW: Tensor) -> Tensor:
        feature_ND: Tensor = self.backbone(x_NCHW)
        return feature_ND


def test_a_budget_that_does_not_fit_the_data_is_refused_before_training() -> None:
    blueprint = context().blueprint
    tight = DpSgd(DpSgdSettings(training=WHOLE, delta=0.009))
    with pytest.raises(
        ValueError, match=r"one of 120 pictures is not a guarantee; give less than 0\.0083"
    ):
        tight.fits(blueprint, 120)
    tight.fits(blueprint, 100)
    with pytest.raises(ValueError, match="no noise keeps epsilon"):
        DpSgd(DpSgdSettings(training=WHOLE, epsilon=0.5, delta=1e-300)).fits(blueprint, COUNT)


@pytest.mark.parametrize("options", [{}, {"train": "all"}, {"train": "all", "start": "scratch"}])
def test_our_networks_have_per_sample_gradients(options: dict[str, Any]) -> None:
    DpSgd(DpSgdSettings(training=WHOLE, **options)).fits(context().blueprint, COUNT)


def test_a_network_without_per_sample_gradients_is_refused_early() -> None:
    blueprint = VictimBlueprint(ModelShape(toys.CLASSES, 3, 16), Unfit)
    with pytest.raises(ValueError, match="set train = head"):
        DpSgd(DpSgdSettings(training=WHOLE, train="all")).fits(blueprint, COUNT)
    DpSgd(DpSgdSettings(training=WHOLE)).fits(blueprint, COUNT)


def test_what_would_void_the_promise_is_refused() -> None:
    made = learner()
    made.workers = 2
    with pytest.raises(ValueError, match=r"runtime\.train_workers = 2"):
        take_step(made)
    with pytest.raises(ValueError, match="set train = all"):
        DpSgd.check(DpSgdSettings(start="scratch"))
    with pytest.raises(ValueError, match=r"no noise keeps epsilon = 0\.1"):
        Budget.plan(epsilon=0.1, delta=1e-5, batch_size=8, count=8, epochs=1, accountant="rdp")
    with pytest.raises(ValueError, match="not been trained"):
        DpSgd(DpSgdSettings()).protect(nn.Identity(), None)
    with pytest.raises(ValueError, match="public people"):
        DpSgd(DpSgdSettings()).training_job(dataclasses.replace(context(), classifier=None))
