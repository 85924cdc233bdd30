from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from random import Random

import pytest
import torch
from torch import Tensor, nn

from inversionlab.core.contracts import ModelShape
from inversionlab.core.learner import TrainingSettings
from inversionlab.core.winner import released, with_winner
from inversionlab.defenses.adversarial_noise import (
    AdversariallyNoisy,
    AdversarialNoise,
    AdversarialNoiseSettings,
)
from inversionlab.defenses.base import DefenseContext, Undefended, VictimBlueprint
from inversionlab.generators.inversion_model import (
    InversionLearner,
    InversionModel,
    InversionModelSettings,
)
from inversionlab.generators.inversion_noise import (
    NoiseSettings,
    bounded_noise,
    find_noise,
    noisy_learner,
)
from inversionlab.pipeline.batch_invariant import batch_invariant
from inversionlab.pipeline.train import alone, train
from tests import toys
from tests.defenses.test_label_modifier import Table, pictures, random_scores

NETWORK = InversionModelSettings(width=2)


def inversion(classes: int = 5, vector: str = "log") -> InversionModel:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(3)
        settings = NETWORK.model_copy(update={"vector": vector})
        model = InversionModel(settings, classes=classes, channels=1, image_size=8)
    return model.eval().requires_grad_(False)


class Classifier(nn.Module):
    """A linear recognizer of 8 x 8 pictures."""

    def __init__(self, classes: int = 5, sharpness: float = 3.0) -> None:
        super().__init__()
        self.classes = classes
        rng = torch.Generator().manual_seed(2)
        self.weight = nn.Parameter(sharpness * torch.randn(classes, 64, generator=rng))

    def log_scores(self, x_NCHW: Tensor) -> Tensor:
        return nn.functional.linear(x_NCHW.flatten(1) - 0.5, self.weight).log_softmax(1)


def faces(count: int = 6, seed: int = 4) -> Tensor:
    return torch.rand(count, 1, 8, 8, generator=torch.Generator().manual_seed(seed))


def error(model: nn.Module, c_NK: Tensor, x_NCHW: Tensor) -> Tensor:
    return (model(c_NK.softmax(1).float()) - x_NCHW).square().flatten(1).mean(1)


def test_algorithm_one_by_hand() -> None:
    """c = (0.4, 0.6, -0.4), l = 0: raised by 0.2 to 0.6; n = (0.6, 0.7, 0.4 - 0), |n|_1 = 1.7."""
    c0_NK = torch.tensor([[0.0, -0.1, -0.8]]).double()
    grad_NK = torch.tensor([[1.0, 2.0, 1e-9]])
    step = NoiseSettings(step=0.4, budget=100, norm=1)
    one = bounded_noise(c0_NK, c0_NK, grad_NK, step)
    torch.testing.assert_close(one, torch.tensor([[0.4, 0.4, 0.4]]).double())
    up = bounded_noise(c0_NK, torch.tensor([[0.0, 0.2, -0.8]]).double(), grad_NK, step)
    torch.testing.assert_close(up, torch.tensor([[0.6, 0.7, 0.4]]).double())
    small = NoiseSettings(step=0.4, budget=0.17, norm=1)
    cut = bounded_noise(c0_NK, torch.tensor([[0.0, 0.2, -0.8]]).double(), grad_NK, small)
    torch.testing.assert_close(cut, torch.tensor([[0.06, 0.07, 0.04]]).double(), atol=1e-5, rtol=0)


def drawn_noises(count: int, seed: str) -> Iterator[NoiseSettings]:
    """Budgets from 0.001 to 1e6 and steps from 1e-6 to 1e4, log-uniform; the smallest and the largest first."""
    rng = Random(seed)
    spans = [(-3.0, -6.0), (6.0, 4.0)]
    spans += [(rng.uniform(-3, 6), rng.uniform(-6, 4)) for _ in range(count - 2)]
    for number, (budget, step) in enumerate(spans):
        norm = (1, 2, "inf")[number % 3]
        yield NoiseSettings(norm=norm, budget=10**budget, step=10**step)  # type: ignore[arg-type]


def noise_norm(c0_NK: Tensor, n_NK: Tensor, norm: int | str) -> Tensor:
    """The norm (N,), in float64, of the whole change of the log-scores before softmax."""
    c0_NK = c0_NK.double()
    whole_NK = with_winner(c0_NK + n_NK, c0_NK.argmax(1)) - c0_NK
    whole_NK = torch.where(c0_NK.isneginf(), 0, whole_NK)
    return torch.linalg.vector_norm(whole_NK, ord=float(norm), dim=1)


@pytest.mark.parametrize("scale", [1e-7, 0.01, 1.0, 30.0, 1e4, 1e30])
@pytest.mark.parametrize("classes", [2, 7, 1000])
def test_label_and_budget_hold_for_any_gradients(classes: int, scale: float) -> None:
    """36 settings x 60 random rows, a third with ties, x 18 shapes: 38,880 noises of four steps each."""
    log_y_NK = random_scores(60, classes, scale, 1)
    log_y_NK[::7, 0] = -torch.inf
    c0_NK, label_N = log_y_NK.double(), log_y_NK.argmax(1)
    rng = torch.Generator().manual_seed(5)
    for noise in drawn_noises(36, f"{classes} {scale}"):
        n_NK = torch.zeros_like(c0_NK)
        for _ in range(4):
            grad_NK = torch.randn(c0_NK.shape, generator=rng)
            n_NK = bounded_noise(c0_NK, c0_NK + n_NK, grad_NK, noise)
        noisy_NK = released(c0_NK + n_NK, label_N)
        assert torch.equal(noisy_NK.argmax(1), label_N)
        assert torch.equal(noisy_NK.exp().argmax(1), label_N)
        assert float(noise_norm(c0_NK, n_NK, noise.norm).max()) <= noise.budget, noise


def test_the_papers_own_steps_lose_labels_to_ties() -> None:
    """Why there is a margin: without it, line 5's tie gives the label to the first of equals."""
    c0_NK = random_scores(500, 10, 0.1, 1).double()
    grad_NK = torch.randn(500, 10, generator=torch.Generator().manual_seed(5))
    n_NK = bounded_noise(c0_NK, c0_NK, grad_NK, NoiseSettings(budget=100, step=0.4))
    kept = ((c0_NK + n_NK).argmax(1) == c0_NK.argmax(1)).float().mean()
    assert float(kept) < 0.9


def least_norm(moved_NK: Tensor, norm: int | str) -> Tensor:
    """The least norm (N,) over constants added to a row, which softmax ignores; NaN: not moved."""
    top_N1 = moved_NK.nan_to_num(nan=-torch.inf).amax(1, keepdim=True)
    bottom_N1 = moved_NK.nan_to_num(nan=torch.inf).amin(1, keepdim=True)
    centre_N1 = {
        1: moved_NK.nanmedian(1, keepdim=True).values,
        2: moved_NK.nanmean(1, keepdim=True),
        "inf": (top_N1 + bottom_N1) / 2,
    }[norm]
    return torch.linalg.vector_norm((moved_NK - centre_N1).nan_to_num(0), ord=float(norm), dim=1)


@pytest.mark.parametrize("budget", [0.3, 3.0])
@pytest.mark.parametrize("vector", ["log", "power", "plain"])
@pytest.mark.parametrize("norm", [1, 2, "inf"])
def test_label_and_budget_hold_behind_a_network(
    norm: int | str, vector: str, budget: float
) -> None:
    """Steps exceed the budget, so it is used up; it bounds the noise and the distance of the scores."""
    log_y_NK = random_scores(200, 5, 20.0, 1)
    log_y_NK[::9, 2] = -torch.inf
    table = Table(log_y_NK.log_softmax(1))
    noise = NoiseSettings(norm=norm, budget=budget, step=budget / 2, iterations=4)  # type: ignore[arg-type]
    model = AdversariallyNoisy(table, inversion(vector=vector), noise)
    x_NCHW = pictures(200).expand(-1, 1, 8, 8)
    c0_NK, found_NK = table.log_scores(x_NCHW), model.log_scores(x_NCHW)
    assert not bool(found_NK.isnan().any())
    assert torch.equal(found_NK.argmax(1), c0_NK.argmax(1))
    torch.testing.assert_close(found_NK.exp().sum(1), torch.ones(200))
    n_NK = find_noise(model.inversion, x_NCHW, c0_NK, noise)
    assert 0.99 * budget < float(noise_norm(c0_NK, n_NK, norm).max()) <= budget
    # Log-scores down to -200 are rounded to float32.
    moved_N = least_norm(found_NK.double() - c0_NK.double(), norm)
    assert 0.5 * budget < float(moved_N.max()) <= budget + 1e-4


def test_it_raises_the_error_of_the_inversion_model() -> None:
    victim, model, x_NCHW = Classifier(sharpness=1.0), inversion(), faces(32)
    c0_NK = victim.log_scores(x_NCHW).detach()
    before = error(model, c0_NK, x_NCHW).mean()
    rises = []
    for budget in (0.5, 2.0, 4.0):
        n_NK = find_noise(model, x_NCHW, c0_NK, NoiseSettings(budget=budget))
        rises.append(float(error(model, c0_NK + n_NK, x_NCHW).mean() - before))
    assert 0 < rises[0] < rises[1] < rises[2]
    random = find_noise(model, 1 - x_NCHW, c0_NK, NoiseSettings())
    assert float(error(model, c0_NK + random, x_NCHW).mean() - before) < rises[2]


def test_the_first_step_is_the_sign_of_the_true_slope() -> None:
    """Compared with finite differences of the error, entry by entry."""
    x_NCHW, model = faces(1), inversion()
    c0_NK = torch.tensor([[0.0, -1.0, -2.0, -1.5, -0.5]]).log_softmax(1)
    noise = NoiseSettings(iterations=1, step=1e-3, budget=1)
    n_NK = find_noise(model, x_NCHW, c0_NK, noise)
    for k in range(1, 5):
        h = torch.zeros(1, 5)
        h[0, k] = 0.05
        slope = error(model, c0_NK + h, x_NCHW) - error(model, c0_NK - h, x_NCHW)
        assert float(n_NK[0, k].sign()) == float(slope.sign())


def test_rows_do_not_depend_on_each_other_to_the_last_bit() -> None:
    model = AdversariallyNoisy(Classifier(), inversion(), NoiseSettings()).requires_grad_(False)
    x_NCHW = faces(9)
    whole = batch_invariant(model.log_scores, x_NCHW)
    for rows in ([0], [3, 4], [8, 1, 5]):
        assert torch.equal(batch_invariant(model.log_scores, x_NCHW[rows]), whole[rows])


def test_scores_are_the_same_with_and_without_gradients() -> None:
    model = AdversariallyNoisy(Classifier(), inversion(), NoiseSettings()).requires_grad_(False)
    with torch.no_grad():
        still = model.log_scores(faces())
    assert not still.requires_grad
    x_NCHW = faces().requires_grad_(True)
    found = model.log_scores(x_NCHW)
    assert torch.equal(found.detach(), still)
    (g,) = torch.autograd.grad(found[:, 1].sum(), x_NCHW)
    assert bool((g.flatten(1).norm(dim=1) > 0).all())


@pytest.mark.parametrize("off", ["budget", "step", "iterations"])
def test_idle_is_the_model_itself(off: str) -> None:
    settings = AdversarialNoiseSettings(noise=NoiseSettings(**{off: 0}))  # type: ignore[arg-type]
    defense = AdversarialNoise(settings)
    assert defense.idle()
    victim = Classifier()
    model = defense.protect(victim, inversion())
    assert torch.equal(model.log_scores(faces()), victim.log_scores(faces()))


def test_a_budget_that_rounding_would_swallow_is_refused() -> None:
    for wrong in (
        AdversarialNoiseSettings(noise=NoiseSettings(budget=1e-5)),
        AdversarialNoiseSettings(adversarial_training=NoiseSettings(budget=0.0)),
    ):
        with pytest.raises(ValueError, match=r"0\.001|without noise"):
            AdversarialNoise.check(wrong)


def test_the_facts_count_passes_through_the_inversion_model() -> None:
    model = AdversariallyNoisy(Undefended(Classifier()), inversion(), NoiseSettings(iterations=3))
    assert model.facts() == {"inversion_passes": 3.0}


def context() -> DefenseContext:
    blueprint = VictimBlueprint(ModelShape(5, 1, 8), nn.Identity)
    images = toys.context().public_NCHW
    return DefenseContext(
        blueprint=blueprint,
        private_NCHW=images[:0],
        private_class_N=torch.zeros(0, dtype=torch.int64),
        public_NCHW=images,
        public_class_N=torch.full((64,), -1),
        targets=(0,),
        seed=5,
        device=toys.CPU,
        augment=lambda x_NCHW, rng: x_NCHW,
        new_recognizer=lambda training: pytest.fail("it needs no recognizer"),
        model=Undefended(Classifier(sharpness=1.0)).requires_grad_(False),
    )


def trained(adversarial: NoiseSettings | None) -> InversionModel:
    settings = AdversarialNoiseSettings(
        network=NETWORK,
        adversarial_training=adversarial,
        training=TrainingSettings(epochs=1, batch_size=16),
    )
    defense = AdversarialNoise(settings)
    training_job = defense.training_job(context())
    assert training_job.queries == 64
    train(
        training_job,
        role="defense",
        seed=1,
        world=alone(toys.CPU),
        checkpoints=toys.NoCheckpoints(),
        report=lambda progress: None,
    )
    product = defense.build(dataclasses.replace(context().blueprint))
    product.load_state_dict(training_job.learner.product().state_dict())
    return product.eval().requires_grad_(False)


def test_adversarial_training_learns_from_the_noise_of_its_current_weights(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A step learns from the scores with the noise that its own weights find."""
    seen = []

    def step(self: InversionLearner, x: Tensor, y: Tensor, *rest: object) -> dict[str, Tensor]:
        assert self.model.training
        seen.append(y)
        return {}

    monkeypatch.setattr(InversionLearner, "step", step)
    noise = NoiseSettings(iterations=3)
    x_NCHW = faces(8)
    y_NK = Classifier().log_scores(x_NCHW).detach().exp()
    for training_noise in (noise, None):
        settings = AdversarialNoiseSettings(network=NETWORK, adversarial_training=training_noise)
        learner = noisy_learner(
            settings.network,
            settings.training,
            settings.adversarial_training,
            seed=1,
            **context().blueprint.shape.sizes,
        )
        learner.model.train()
        learner.step(x_NCHW, y_NK, torch.Generator(), lambda parameters: None)
    n_NK = find_noise(learner.model.eval(), x_NCHW, y_NK.log(), noise)
    wanted = released(y_NK.log().double() + n_NK, y_NK.argmax(1)).exp()
    torch.testing.assert_close(seen[0], wanted, atol=0, rtol=0)
    assert torch.equal(seen[1], y_NK)
    assert float((seen[0] - y_NK).abs().max()) > 0.01


def test_trained_weights_load_into_what_build_returns() -> None:
    """With or without noise in training; the weights differ."""
    one, two = trained(None), trained(NoiseSettings(iterations=2))
    y_NK = random_scores(4, 5, 2.0, 1).exp()
    assert one(y_NK).shape == (4, 1, 8, 8)
    assert not torch.equal(one(y_NK), two(y_NK))


def test_the_trained_network_depends_on_the_training_noise_alone() -> None:
    one = AdversarialNoiseSettings(noise=NoiseSettings(budget=1.0))
    two = AdversarialNoiseSettings(noise=NoiseSettings(budget=2.0))
    assert one.trained_part() == two.trained_part()
    three = AdversarialNoiseSettings(adversarial_training=NoiseSettings(iterations=3))
    assert one.trained_part() != three.trained_part()
    assert one.released_part() != two.released_part()
