"""GAN-based fake samples: the inversion finds its label, and the training job separates the kinds."""

from __future__ import annotations

import copy
import dataclasses
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from inversionlab.core.contracts import ModelShape
from inversionlab.defenses.base import DefenseContext, VictimBlueprint
from inversionlab.defenses.gan_fake_samples import (
    GanFakeSamples,
    GanFakeSamplesSettings,
    inverted_samples,
)
from inversionlab.defenses.parts.fine_tuning import PRIVATE, PUBLIC, public_labels
from tests import toys

CPU = torch.device("cpu")


class CriticGenerator(toys.ToyGenerator):
    """A toy generator whose critic has another level and contrast."""

    def __init__(self, level: float = 0.0, contrast: float = 1.0) -> None:
        super().__init__()
        self.level, self.contrast = level, contrast

    def critic(self, x_NCHW: Tensor) -> Tensor:
        return self.level + self.contrast * super().critic(x_NCHW)


def inverted(
    labels: tuple[int, ...],
    count: int,
    generator: toys.ToyGenerator | None = None,
    seed: int = 5,
    **changes: Any,
) -> Tensor:
    """Samples for labels of the toy victim."""
    settings = GanFakeSamplesSettings(**{"steps": 60, "rate": 0.1, **changes})
    prior = (generator or CriticGenerator()).requires_grad_(False)
    ctx = dataclasses.replace(context(), generator=prior, seed=seed)
    return inverted_samples(settings, ctx, toys.victim(), labels, count, "some")


def p_of(model: Any, images: Tensor, labels: list[int]) -> Tensor:
    log_p_NK: Tensor = model.log_scores(images.float() / 255)
    return log_p_NK.gather(1, torch.tensor(labels)[:, None])[:, 0].exp()


def test_inverted_samples_show_their_label() -> None:
    victim = toys.victim()
    images = inverted((0, 2, 4), 4)
    assert images.shape == (12, 1, toys.SIZE, toys.SIZE)
    assert images.dtype == torch.uint8
    found_N = p_of(victim, images, [0] * 4 + [2] * 4 + [4] * 4)
    drawn = inverted((0, 2, 4), 4, steps=1)
    assert float(found_N.min()) > 0.9
    assert float(p_of(victim, drawn, [0] * 4 + [2] * 4 + [4] * 4).mean()) < 0.5


def test_the_best_point_of_the_search_is_kept() -> None:
    """Steps are so long that the last point is no better than the first; more steps can only help."""
    victim, labels = toys.victim(), [0] * 8
    p = [p_of(victim, inverted((0,), 8, rate=8.0, steps=n), labels) for n in (1, 4, 16)]
    assert bool((p[1] >= p[0] - 0.02).all())
    assert bool((p[2] >= p[1] - 0.02).all())


def test_samples_do_not_depend_on_what_else_is_searched() -> None:
    together = inverted((0, 2), 40)
    alone = inverted((2,), 3)
    torch.testing.assert_close(together[40:43].int(), alone.int(), rtol=0, atol=1)
    again = inverted((2,), 3)
    assert torch.equal(alone, again)
    other = inverted((2,), 3, seed=6)
    assert not torch.equal(alone, other)


def test_the_critic_counts_but_its_level_does_not() -> None:
    def reality(maker: CriticGenerator) -> float:
        images = inverted((0, 1), 8, maker, lambda_identity=0.05)
        return float(toys.ToyGenerator().critic(images.float() / 255).mean().detach())

    assert reality(CriticGenerator(contrast=30.0)) > reality(CriticGenerator(contrast=0.0)) + 0.005
    assert reality(CriticGenerator(level=-500.0, contrast=30.0)) == pytest.approx(
        reality(CriticGenerator(contrast=30.0)), abs=2e-3
    )


class Linear(nn.Module):
    """Softmax regression, which is easy to invert with a linear generator."""

    def __init__(self, classes: int, seed: int) -> None:
        super().__init__()
        self.classes = classes
        self.dense = nn.Linear(toys.SIZE**2, classes)
        rng = torch.Generator().manual_seed(seed)
        nn.init.normal_(self.dense.weight, generator=rng)
        self.eval().requires_grad_(False)

    def log_scores(self, x_NCHW: Tensor) -> Tensor:
        log_p_NK: Tensor = self.dense(x_NCHW.flatten(1)).log_softmax(1)
        return log_p_NK


def context() -> DefenseContext:
    rng = torch.Generator().manual_seed(2)
    return DefenseContext(
        blueprint=VictimBlueprint(ModelShape(4, 1, toys.SIZE), lambda: Linear(4, 9)),
        private_NCHW=torch.randint(0, 256, (8, 1, 8, 8), dtype=torch.uint8, generator=rng),
        private_class_N=torch.arange(8) % 4,
        public_NCHW=torch.zeros(2, 1, 8, 8, dtype=torch.uint8),
        public_class_N=torch.zeros(2, dtype=torch.int64),
        targets=(1, 3),
        seed=5,
        device=CPU,
        augment=lambda x, rng: x,
        new_recognizer=lambda training: pytest.fail("nothing is trained from scratch"),
        victim=Linear(4, 1),
        classifier=Linear(7, 2),
        generator=CriticGenerator().requires_grad_(False),
    )


def defense(**options: Any) -> GanFakeSamples:
    return GanFakeSamples(GanFakeSamplesSettings(**{"samples": 3, "steps": 15, **options}))


@pytest.mark.parametrize("protected", ["targets", "all", (2,)])
def test_the_training_job_inverts_the_victim_and_the_classifier(protected: Any) -> None:
    ctx = context()
    training_job = defense(protected=protected, steps=40, rate=0.2).training_job(ctx)
    labels = {"targets": [1, 3], "all": [0, 1, 2, 3]}.get(str(protected), [2])
    strangers = public_labels(labels, 7, seed=5)
    for model, kind, aims in (
        (ctx.victim, PRIVATE, labels),
        (ctx.classifier, PUBLIC, strangers),
    ):
        rows = training_job.class_N[:, 1] == kind
        assert training_job.class_N[rows, 0].tolist() == [
            label for label in labels for _ in range(3)
        ]
        assert model is not None
        own = [aim for aim in aims for _ in range(3)]
        found = p_of(model, training_job.images_NCHW[rows], own).mean()
        other = p_of(model, training_job.images_NCHW[~rows], own).mean()
        assert float(found) > 0.8 > 0.7 > float(other)


def test_the_search_descends_equation_6(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its gradient is linear in lambda, with the gradient of the cross-entropy as the slope."""
    victim, labels = toys.victim(), torch.tensor([0, 0, 0, 2, 2, 2])
    seen: list[tuple[Tensor, Tensor]] = []

    def step(self: torch.optim.Adam) -> None:
        (z_ND,) = self.param_groups[0]["params"]
        seen.append((z_ND.detach().clone(), z_ND.grad.clone()))

    monkeypatch.setattr(torch.optim.Adam, "step", step)
    for weight in (3.0, 7.0):
        inverted((0, 2), 3, CriticGenerator(contrast=30.0), lambda_identity=weight, steps=1)
    (z_ND, three_ND), (same_ND, seven_ND) = seen
    assert torch.equal(z_ND, same_ND)
    z_ND.requires_grad_(True)
    loss_N = -victim.log_scores(CriticGenerator().requires_grad_(False)(z_ND))[
        torch.arange(6), labels
    ]
    (identity_ND,) = torch.autograd.grad(loss_N.sum(), z_ND)
    torch.testing.assert_close(seven_ND - three_ND, 4 * identity_ND, rtol=1e-4, atol=1e-4)
    reality_ND = three_ND - 3 * identity_ND
    assert bool((reality_ND.norm(dim=1) > 0.01 * three_ND.norm(dim=1)).all())


def test_a_larger_lambda_identity_finds_samples_of_less_label_loss() -> None:
    """Near 0 only the critic counts, at large values only the label."""
    ctx = dataclasses.replace(
        context(), generator=CriticGenerator(contrast=300.0).requires_grad_(False)
    )
    options = {"protected": "all", "samples": 6, "steps": 30, "rate": 0.2}
    found = [
        defense(lambda_identity=weight, **options).training_job(ctx) for weight in (1e-6, 0.01, 1e6)
    ]
    strangers = torch.tensor(public_labels(range(4), 7, seed=5))
    for model, kind in ((ctx.victim, PRIVATE), (ctx.classifier, PUBLIC)):
        losses = []
        for training_job in found:
            rows = training_job.class_N[:, 1] == kind
            label_N = training_job.class_N[rows, 0]
            aim_N = label_N if kind == PRIVATE else strangers[label_N]
            p_N = p_of(model, training_job.images_NCHW[rows], aim_N.tolist())
            losses.append(float(-p_N.log().mean()))
        assert losses[0] > losses[1] + 0.5
        assert losses[1] > losses[2] + 0.5


def test_private_samples_are_inverted_again_from_the_model_as_it_is() -> None:
    ctx = dataclasses.replace(context(), private_NCHW=context().private_NCHW[:4])
    job = defense(invert_again=2, omega=0.0).training_job(ctx)
    learner, first_NCHW = job.learner, job.images_NCHW[:6].clone()
    renewal = learner.modules["renewal"]
    x_NCHW, y_N = job.images_NCHW[:].float() / 255, job.class_N
    for step in range(2):
        learner.step(x_NCHW, y_N, torch.Generator(), lambda parameters: None)
        assert torch.equal(renewal.samples_NCHW, first_NCHW), step
    as_it_is = copy.deepcopy(learner.recognizer)
    with torch.no_grad():
        learner.recognizer.dense.weight.neg_()
        as_it_is.dense.weight.neg_()
    losses = learner.step(x_NCHW, y_N, torch.Generator(), lambda parameters: None)
    fresh_NCHW = inverted_samples(
        defense(invert_again=2).settings, ctx, as_it_is, (1, 3), 3, "inverted private"
    )
    assert torch.equal(renewal.samples_NCHW, fresh_NCHW)
    assert not torch.equal(fresh_NCHW, first_NCHW)
    # The step has learned from these, not from those in the batch.
    p_N = p_of(as_it_is, fresh_NCHW, [1] * 3 + [3] * 3)
    loss = (-(p_N**2) * p_N.log()).mean()
    assert float(losses["private"]) == pytest.approx(float(loss), rel=1e-4)


def test_settings_that_came_later_name_no_other_network_where_they_are_not_used() -> None:
    plain = GanFakeSamplesSettings().trained_part()
    assert not {"invert_again", "shared_generator"} & plain.keys()
    assert GanFakeSamplesSettings(invert_again=5).trained_part()["invert_again"] == 5


def test_the_released_model_is_the_fine_tuned_one() -> None:
    victim, trained = Linear(4, 1), Linear(4, 2)
    x_NCHW = torch.rand(3, 1, 8, 8, generator=torch.Generator().manual_seed(1))
    released = defense().protect(victim, trained)
    assert torch.equal(released.log_scores(x_NCHW), trained.log_scores(x_NCHW))
    assert released.classes == 4


def test_decoys_are_the_first_inverted_public_samples() -> None:
    ctx = context()
    assert defense().decoys(ctx) is None
    every = defense(protected="all")
    training_job, decoys = every.training_job(ctx), every.decoys(ctx)
    public = training_job.images_NCHW[training_job.class_N[:, 1] == PUBLIC]
    assert decoys is not None
    assert decoys.shape == (4, 1, 8, 8)
    torch.testing.assert_close(255 * decoys, public[::3].float(), rtol=0, atol=1)


def test_settings_that_learn_nothing_are_refused() -> None:
    with pytest.raises(ValueError, match="alpha = beta = 0"):
        GanFakeSamples.check(GanFakeSamplesSettings(alpha=0, beta=0))
    GanFakeSamples.check(GanFakeSamplesSettings(alpha=0))
