"""Fine-tuning on fake samples: the losses by hand, EWC against a quadratic, and what a step does."""

from __future__ import annotations

import copy
import dataclasses
import math
from typing import Any

import pytest
import torch
from pydantic import ValidationError
from torch import Tensor, nn
from torch.nn import functional

from inversionlab.core.contracts import ModelShape, TrainingJob
from inversionlab.core.learner import TrainingSettings
from inversionlab.defenses.base import DefenseContext, VictimBlueprint
from inversionlab.defenses.gan_fake_samples import GanFakeSamples, GanFakeSamplesSettings
from inversionlab.defenses.parts.fine_tuning import (
    PRIVATE,
    PUBLIC,
    FineTuner,
    consolidation,
    fine_tuning_job,
    fisher_diagonal,
    private_loss,
    public_labels,
    public_loss,
)
from inversionlab.defenses.random_fake_samples import RandomFakeSamples, RandomFakeSamplesSettings
from inversionlab.pipeline.train import alone, train
from inversionlab.recognizers import Recognizer, RecognizerSettings
from inversionlab.recognizers.small_resnet import SmallResnet
from tests import toys

CPU = torch.device("cpu")


def recognizer(classes: int = 5, seed: int = 1) -> Recognizer:
    settings = RecognizerSettings(network=SmallResnet.Settings(width=4, blocks=(1, 1)))
    return Recognizer(settings, classes=classes, channels=3, image_size=16, seed=seed)


def pictures(count: int, seed: int = 0) -> Tensor:
    rng = torch.Generator().manual_seed(seed)
    return torch.randint(0, 256, (count, 3, 16, 16), dtype=torch.uint8, generator=rng)


def context(**changes: Any) -> DefenseContext:
    base = DefenseContext(
        blueprint=VictimBlueprint(ModelShape(5, 3, 16), recognizer),
        private_NCHW=pictures(20),
        private_class_N=torch.arange(20) % 5,
        public_NCHW=pictures(12, seed=1),
        public_class_N=torch.arange(12) // 2 - 1,
        targets=(1, 3),
        seed=5,
        device=CPU,
        augment=lambda x, rng: x,
        new_recognizer=lambda training: pytest.fail("nothing is trained from scratch"),
        victim=recognizer().eval().requires_grad_(False),
    )
    return dataclasses.replace(base, **changes)


def settings(**changes: Any) -> RandomFakeSamplesSettings:
    training = TrainingSettings(epochs=8, batch_size=8, learning_rate=3e-3, weight_decay=0.0)
    return RandomFakeSamplesSettings(**{"samples": 4, "training": training, **changes})


def training_job(options: RandomFakeSamplesSettings, ctx: DefenseContext) -> TrainingJob:
    labels = options.labels(ctx.targets, ctx.classes)
    count = len(labels) * options.samples
    # Dark and light pictures: a network this small can tell them apart.
    dark, light = pictures(count, 2) // 3, 170 + pictures(count, 3) // 3
    return fine_tuning_job(options, ctx, labels, dark, light)


def trained(options: RandomFakeSamplesSettings, ctx: DefenseContext | None = None) -> TrainingJob:
    work = training_job(options, ctx or context())
    train(
        work,
        role="defense",
        seed=1,
        world=alone(CPU),
        checkpoints=toys.NoCheckpoints(),
        report=lambda progress: None,
    )
    return work


@torch.no_grad()
def p_target(model: nn.Module, work: TrainingJob, kind: int) -> float:
    rows = work.class_N[:, 1] == kind
    log_p_NK = model.eval().log_scores(work.images_NCHW[rows].float() / 255)  # type: ignore[operator]
    p_N = log_p_NK.gather(1, work.class_N[rows][:, :1]).exp()
    return float(p_N.mean())


def test_focal_losses_by_hand() -> None:
    log_p_N = torch.tensor([0.5, 0.9]).log()
    private = [0.25 * math.log(2), 0.81 * -math.log(0.9)]
    public = [0.25 * math.log(2), 0.01 * -math.log(0.9)]
    torch.testing.assert_close(private_loss(log_p_N, 2), torch.tensor(private))
    torch.testing.assert_close(public_loss(log_p_N, 2), torch.tensor(public))


def test_gamma_0_is_cross_entropy() -> None:
    log_p_N = torch.tensor([-40.0, -0.7, -1e-6, 0.0])
    torch.testing.assert_close(private_loss(log_p_N, 0), -log_p_N)
    torch.testing.assert_close(public_loss(log_p_N, 0), -log_p_N)


@pytest.mark.parametrize("p", [0.01, 0.3, 0.61, 0.9])
def test_the_private_slope_always_points_down(p: float) -> None:
    """In the target's logit the slope of -L_pri is p^2 (1 - p): it vanishes at p = 0 and 1 only."""
    logit = torch.tensor([math.log(p / (1 - p)), 0.0], requires_grad=True)
    (-private_loss(logit.log_softmax(0)[:1], 2)).sum().backward()
    assert logit.grad is not None
    assert float(logit.grad[0]) == pytest.approx(p**2 * (1 - p), rel=1e-4)


def test_the_public_slope_points_up_and_fades() -> None:
    p = 0.9
    logit = torch.tensor([math.log(p / (1 - p)), 0.0], requires_grad=True)
    public_loss(logit.log_softmax(0)[:1], 2).sum().backward()
    assert logit.grad is not None
    assert float(logit.grad[0]) == pytest.approx(-((1 - p) ** 3), rel=1e-4)


def test_ewc_moves_a_quadratics_minimum_as_computed_by_hand() -> None:
    """min of a/2 (t - b)^2 + l F/2 (t - t*)^2 lies at (a b + l F t*) / (a + l F)."""
    a, b, strength = 2.0, torch.tensor([3.0, -1.0]), 5.0
    anchor = [(torch.tensor([1.0, 1.0]), torch.tensor([0.4, 0.0]))]
    t = torch.zeros(2, requires_grad=True)
    for _ in range(300):
        loss = a / 2 * (t - b).square().sum() + consolidation([t], anchor, strength)
        (g,) = torch.autograd.grad(loss, t)
        t.data -= 0.2 * g
    torch.testing.assert_close(t.data, torch.tensor([(2 * 3 + 2 * 1) / (2 + 2), -1.0]))


class Linear(nn.Module):
    """Softmax regression, whose gradient is known."""

    classes = 3

    def __init__(self) -> None:
        super().__init__()
        rng = torch.Generator().manual_seed(3)
        self.weight_KD = nn.Parameter(torch.randn(3, 4, generator=rng))
        self.unused = nn.Parameter(torch.ones(2))

    def log_scores(self, x_NCHW: Tensor) -> Tensor:
        return functional.linear(x_NCHW.flatten(1), self.weight_KD).log_softmax(1)


def test_the_fisher_diagonal_is_the_mean_of_squared_single_gradients() -> None:
    """d log p_y / d w_kd = (1[k = y] - p_k) x_d."""
    model, rng = Linear(), torch.Generator().manual_seed(4)
    images = torch.randint(0, 256, (6, 1, 2, 2), dtype=torch.uint8, generator=rng)
    class_N = torch.tensor([0, 1, 2, 2, 1, 0])
    x_ND = images.flatten(1).float() / 255
    p_NK = model.log_scores(x_ND[:, None, None]).exp().detach()
    slope_NK = functional.one_hot(class_N, 3) - p_NK
    expected = (slope_NK[:, :, None] * x_ND[:, None]).square().mean(0)
    weight, unused = fisher_diagonal(model, images, class_N, CPU)
    torch.testing.assert_close(weight, expected)
    assert torch.equal(unused, torch.zeros(2))


def test_private_fakes_are_driven_away_and_public_ones_drawn_near() -> None:
    # Two classes, so that p is not near 0, where nothing is left to drive away.
    victim = recognizer(classes=2).eval().requires_grad_(False)
    ctx = context(victim=victim, blueprint=VictimBlueprint(ModelShape(2, 3, 16), recognizer))
    work = trained(settings(protected=(1,), omega=0.0), ctx)
    for kind, sign in ((PRIVATE, -1), (PUBLIC, 1)):
        moved = p_target(work.learner.product(), work, kind) - p_target(victim, work, kind)
        assert sign * moved > 0.05


def test_alpha_or_beta_alone_leaves_the_other_out() -> None:
    x_NCHW, y_N = pictures(4).float() / 255, torch.tensor([[1, PRIVATE], [1, PUBLIC]] * 2)
    gradients = []
    for weights in ({"alpha": 1, "beta": 0}, {"alpha": 0, "beta": 1}, {"alpha": 1, "beta": 1}):
        learner = FineTuner(settings(omega=0.0, **weights), context())
        learner.step(x_NCHW, y_N, torch.Generator(), lambda parameters: None)
        parts = [p.grad.flatten() for p in learner.recognizer.parameters() if p.grad is not None]
        gradients.append(torch.cat(parts))
    assert float(gradients[0].norm()) > 0
    assert float(gradients[1].norm()) > 0
    torch.testing.assert_close(gradients[2], gradients[0] + gradients[1], rtol=1e-3, atol=1e-5)


def test_a_step_descends_the_loss_on_the_card() -> None:
    """Away from theta*, a step's gradients are those of eq. 1 and 7-10 written out."""
    rng = torch.Generator().manual_seed(6)
    images = torch.randint(0, 256, (14, 1, 2, 2), dtype=torch.uint8, generator=rng)
    ctx = context(victim=Linear(), private_NCHW=images[:6], private_class_N=torch.arange(6) % 3)
    weights = {"alpha": 2.0, "beta": 3.0, "omega": 0.5, "ewc_lambda": 7.0, "gamma": 2.0}
    learner = FineTuner(settings(**weights), ctx)
    for p in learner.recognizer.parameters():
        p.data += 0.5 * torch.randn(p.shape, generator=rng)
    twin = copy.deepcopy(learner.recognizer)
    x_NCHW, label_N = images[6:].float() / 255, torch.tensor([1, 0, 2, 1, 2, 0, 0, 2])
    kind_N = torch.tensor([PRIVATE] * 3 + [PUBLIC] * 5)
    y_N2 = torch.stack([label_N, kind_N], dim=1)
    losses = learner.step(x_NCHW, y_N2, torch.Generator(), lambda parameters: None)

    log_p_N = twin.log_scores(x_NCHW)[torch.arange(8), label_N]
    p_N = log_p_N.detach().exp()
    private = (-(p_N**2) * log_p_N)[:3].mean()
    public = (-((1 - p_N) ** 2) * log_p_N)[3:].mean()
    held = penalty_by_hand(twin, ctx, 7.0)
    parts = {"private": -2 * private, "public": 3 * public, "consolidation": 0.5 * held}
    slopes = {name: slope(twin, part) for name, part in parts.items()}
    whole = sum(slopes.values())
    assert isinstance(whole, Tensor)
    mine = [
        torch.zeros_like(p) if p.grad is None else p.grad for p in learner.recognizer.parameters()
    ]
    torch.testing.assert_close(flat(mine), whole, rtol=1e-4, atol=1e-5)
    for name, part in slopes.items():
        assert float(part.norm()) > 0.05 * float(whole.norm()), f"{name}: too small to be seen"
    for name, loss in {"private": private, "public": public, "consolidation": held}.items():
        assert float(losses[name]) == pytest.approx(float(loss.detach()), rel=1e-4)


def penalty_by_hand(model: nn.Module, ctx: DefenseContext, strength: float) -> Tensor:
    """Eq. 9, with F by a loop over the private pictures and their own labels."""
    victim = copy.deepcopy(ctx.victim).requires_grad_(True)  # type: ignore[union-attr]
    count = len(ctx.private_NCHW)
    fisher = 0.0
    for image_CHW, label in zip(ctx.private_NCHW, ctx.private_class_N, strict=True):
        log_p = victim.log_scores(image_CHW[None].float() / 255)[0, label]  # type: ignore[operator]
        fisher = fisher + slope(victim, log_p) ** 2 / count
    away = flat(list(model.parameters())) - flat(list(victim.parameters())).detach()
    return strength / 2 * (fisher * away**2).sum()


def slope(model: nn.Module, value: Tensor) -> Tensor:
    """The gradient at all weights, in one row."""
    weights = list(model.parameters())
    found = torch.autograd.grad(value, weights, retain_graph=True, allow_unused=True)
    return flat(
        [torch.zeros_like(w) if g is None else g for w, g in zip(weights, found, strict=True)]
    )


def flat(tensors: list[Tensor]) -> Tensor:
    return torch.cat([t.flatten() for t in tensors])


def test_the_victim_and_the_statistics_of_normalisation_stay() -> None:
    ctx = context()
    assert ctx.victim is not None
    before = {k: v.clone() for k, v in ctx.victim.state_dict().items()}
    learned = trained(settings(), ctx).learner.product().state_dict()
    assert all(torch.equal(v, before[k]) for k, v in ctx.victim.state_dict().items())
    statistics = [k for k in before if "running" in k or "num_batches" in k]
    assert statistics
    assert all(torch.equal(learned[k], before[k]) for k in statistics)
    assert not torch.equal(learned["head.weight_KD"], before["head.weight_KD"])


def test_stronger_ewc_holds_the_weights_more() -> None:
    def way(**changes: Any) -> float:
        learner = trained(settings(**changes)).learner
        assert isinstance(learner, FineTuner)
        pairs = zip(learner.recognizer.parameters(), recognizer().parameters(), strict=True)
        return sum(float((p - q).detach().square().sum()) for p, q in pairs)

    free, held = way(omega=0.0), way(ewc_lambda=1e6)
    assert held < 0.5 * free
    assert way(ewc_lambda=0.0) == free


def test_private_weight_learns_the_private_pictures() -> None:
    ctx = context()
    x_NCHW, y_N = ctx.private_NCHW.float() / 255, ctx.private_class_N

    def loss(**changes: Any) -> float:
        model = trained(settings(**changes), ctx).learner.product().eval()
        return float(functional.nll_loss(model.log_scores(x_NCHW), y_N).detach())  # type: ignore[operator]

    assert loss(private_weight=3.0, omega=0.0) < 0.8 * loss(omega=0.0)


def test_which_labels_are_protected() -> None:
    assert settings().labels((1, 3), 5) == (1, 3)
    assert settings(protected="all").labels((1, 3), 5) == (0, 1, 2, 3, 4)
    assert settings(protected=(4, 0)).labels((1, 3), 5) == (0, 4)
    with pytest.raises(ValueError, match="5 is not a label; the victim knows 0 to 4"):
        settings(protected=(5,)).labels((1, 3), 5)


def test_a_protected_label_that_the_victim_does_not_know_is_refused_before_training() -> None:
    for kind, options in (
        (GanFakeSamples, GanFakeSamplesSettings),
        (RandomFakeSamples, RandomFakeSamplesSettings),
    ):
        kind(options()).fits(context().blueprint, 20)
        kind(options(protected=(4,))).fits(context().blueprint, 20)
        with pytest.raises(ValueError, match="5 is not a label; the victim knows 0 to 4"):
            kind(options(protected=(5,))).fits(context().blueprint, 20)


@pytest.mark.parametrize("wrong", [(), (1, 1), (-1,), "some"])
def test_other_labels_are_refused(wrong: object) -> None:
    with pytest.raises(ValidationError):
        settings(protected=wrong)


def test_each_label_has_its_own_public_label() -> None:
    chosen = public_labels(range(20), 30, seed=1)
    assert len(set(chosen)) == 20
    assert max(chosen) < 30
    assert public_labels((7,), 30, seed=1) == (chosen[7],)
    assert public_labels(range(20), 30, seed=2) != chosen
    assert set(public_labels(range(20), 3, seed=1)) == {0, 1, 2}


@pytest.mark.parametrize(("labels", "epochs"), [((1,), 40), ((1, 3), 20), ((0, 1, 2, 3, 4), 8)])
def test_the_number_of_steps_does_not_depend_on_the_number_of_labels(
    labels: tuple[int, ...], epochs: int
) -> None:
    """Two kinds of 4 samples a label in batches of 8: a step a label in each pass."""
    job = training_job(settings(fine_tuning_steps=40), context(targets=labels))
    assert job.training.epochs == epochs
    assert epochs * (len(job.images_NCHW) // 8) == 40
    assert training_job(settings(), context(targets=labels)).training.epochs == 8


def test_settings_without_a_number_of_steps_are_stored_as_they_were() -> None:
    assert "fine_tuning_steps" not in settings().model_dump()
    assert settings(fine_tuning_steps=3).trained_part()["fine_tuning_steps"] == 3
