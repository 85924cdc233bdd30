"""Generative model inversion: its loss, its step, its starts."""

from __future__ import annotations

import functools

import pytest
import torch
from torch import Tensor

from inversionlab.attacks.context import AttackerContext
from inversionlab.attacks.gmi import Gmi, GmiSettings
from inversionlab.attacks.jobs import AttackResult
from inversionlab.core.views import WhiteBox
from tests import toys

published = functools.partial(GmiSettings, as_published=True)


def run(settings: GmiSettings, pairs: list[tuple[int, int]]) -> tuple[AttackResult, WhiteBox]:
    view = WhiteBox(toys.victim(), len(pairs))
    return Gmi(settings, toys.context()).run(view, toys.jobs(pairs)), view


class Watched(toys.ToyGenerator):
    """Remembers the latents that were differentiated."""

    asked: list[Tensor]

    def forward(self, z_ND: Tensor) -> Tensor:
        if z_ND.requires_grad:
            self.asked.append(z_ND.detach().clone())
        return super().forward(z_ND)


def watched() -> tuple[AttackerContext, Watched]:
    generator = Watched().requires_grad_(False)
    generator.asked = []
    old = toys.context()
    return AttackerContext(generator, old.public_NCHW, old.seed, old.device), generator


def test_steps_are_nesterovs_down_prior_plus_weighted_identity() -> None:
    context, generator = watched()
    settings = published(rate=1e-3, identity_weight=7.0, steps=3, starts=1, clip=50.0)
    victim = toys.victim()
    Gmi(settings, context).run(WhiteBox(victim, 1), toys.jobs([(2, 0)]))

    z = generator.draw(1, context.stream("gmi", 2, 0))
    speed = torch.zeros_like(z)
    for seen in generator.asked:
        torch.testing.assert_close(seen, z)
        z = z.requires_grad_(True)
        x = (z @ generator.basis).sigmoid().view(-1, 1, toys.SIZE, toys.SIZE)
        loss = -generator.critic(x).sum() - 7.0 * victim.log_scores(x)[0, 2]
        (slope,) = torch.autograd.grad(loss, z)
        before, speed = speed, 0.9 * speed - 1e-3 * slope
        z = (z - 0.9 * before + 1.9 * speed).detach()
    assert len(generator.asked) == 4


def test_the_critic_pulls_where_the_target_does_not() -> None:
    def realness(weight: float) -> Tensor:
        settings = published(
            identity_weight=weight, rate=0.01 / weight, stop=0.9999999, starts=1, steps=50
        )
        result, _ = run(settings, toys.ALL[:3])
        with torch.no_grad():
            return toys.ToyGenerator().critic(result.images_NCHW).mean()

    assert realness(0.1) > realness(1000.0) + 0.001


def test_latents_are_clipped_after_every_update() -> None:
    context, generator = watched()
    settings = published(rate=1.0, clip=0.25, steps=3, starts=1)
    Gmi(settings, context).run(WhiteBox(toys.victim(), 2), toys.jobs([(0, 0), (1, 0)]))
    first_ND, *others = generator.asked
    assert float(first_ND.abs().max()) > 0.25
    assert all(float(z_ND.abs().max()) == 0.25 for z_ND in others)


def test_a_converged_row_makes_no_further_start() -> None:
    result, view = run(published(clip=3.0, rate=2e-3, stop=0.9, starts=5), toys.ALL)
    once_N = result.converged_N & (result.steps_N <= 300)
    assert bool(once_N.any())
    # One start: one evaluation more than updates.
    assert torch.equal(view.queries[once_N], result.steps_N[once_N] + 1)


def test_more_starts_never_hurt_and_all_are_counted() -> None:
    few = published(steps=5, starts=1, stop=0.9999999)
    one, _ = run(few, toys.ALL)
    five, view = run(few.model_copy(update={"starts": 5}), toys.ALL)
    assert bool((five.confidence_N >= one.confidence_N).all())
    assert bool((five.confidence_N > one.confidence_N).any())
    assert view.queries.tolist() == [5 * 6] * len(toys.ALL)
    assert five.steps_N.tolist() == [5 * 5] * len(toys.ALL)


def test_restarts_of_some_rows_do_not_depend_on_the_others() -> None:
    settings = published(clip=3.0, rate=2e-3, stop=0.9995, steps=30, starts=2)
    whole, _ = run(settings, toys.ALL)
    assert 0 < int(whole.converged_N.sum()) < len(toys.ALL)
    for row in (0, 14):
        alone, _ = run(settings, [toys.ALL[row]])
        torch.testing.assert_close(alone.images_NCHW[0], whole.images_NCHW[row], atol=1e-4, rtol=0)
        assert int(alone.steps_N[0]) == int(whole.steps_N[row])


def test_a_start_takes_the_next_best_of_the_pool_and_repeats_take_those_after() -> None:
    context, generator = watched()
    settings = GmiSettings(pool=30, steps=1, starts=2, stop=0.9999999, step_length=1e-9, clip=99.0)
    attack, view = Gmi(settings, context), WhiteBox(toys.victim(), 2)
    attack.run(view, toys.jobs([(3, 0), (3, 1)]))
    best_SD = attack.pool(view).several(toys.jobs([(3, 0)]), 4)[0]
    # Each start is seen twice: before its update, and after it.
    first, _, second, _ = generator.asked
    torch.testing.assert_close(torch.stack([first, second], dim=1).flatten(0, 1), best_SD)
    assert view.shared_queries == 30
    assert view.queries.tolist() == [4, 4]


def test_the_default_steps_find_the_targets_in_fewer_updates() -> None:
    slow, _ = run(published(clip=3.0, starts=1, stop=0.99), toys.ALL)
    fast, _ = run(GmiSettings(clip=3.0, starts=1, stop=0.99), toys.ALL)
    assert int(fast.converged_N.sum()) >= int(slow.converged_N.sum())
    assert float(fast.steps_N.float().mean()) < 0.5 * float(slow.steps_N.float().mean())


def test_wants_a_critic() -> None:
    assert Gmi.wants == {"critic"}
    with pytest.raises(TypeError, match="WhiteBox"):
        Gmi(GmiSettings(), toys.context()).run(None, toys.jobs([(0, 0)]))
