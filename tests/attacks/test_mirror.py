"""Mirror: its space, its start, its disturbances, and its search by scores only."""

from __future__ import annotations

import dataclasses
import functools

import pytest
import torch
from torch import Tensor

from inversionlab.attacks.engine import Width
from inversionlab.attacks.jobs import AttackResult
from inversionlab.attacks.mirror import Mirror, MirrorSettings, Space
from inversionlab.attacks.mirror_genetic import GeneticSettings, evolve
from inversionlab.attacks.pool import candidates
from inversionlab.core.views import Scores, View, WhiteBox
from inversionlab.generators.style_gan import StyleGan
from tests import toys

WIDE = MirrorSettings(as_published=True, clip=3.0, stop=0.9, steps=60, candidates=8, mapped=512)
BLIND = WIDE.model_copy(
    update={"gradients": False, "genetic": GeneticSettings(population=16, generations=15)}
)


def run(
    settings: MirrorSettings, pairs: list[tuple[int, int]], view: View | None = None
) -> tuple[AttackResult, View]:
    attack = Mirror(settings, toys.context())
    view = view or attack.open(toys.victim(), len(pairs))
    return attack.run(view, toys.jobs(pairs)), view


def targets(images_NCHW: Tensor, pairs: list[tuple[int, int]]) -> Tensor:
    target_N1 = torch.tensor([t for t, _ in pairs])[:, None]
    return toys.victim().log_scores(images_NCHW).exp().gather(1, target_N1)[:, 0]


def test_space_holds_the_inputs_of_the_last_leaky_relu() -> None:
    # The toy's w is leaky_relu(z, 0.2), so p is z itself.
    space = Space.measure(toys.context(), 4096, clip=2.0)
    torch.testing.assert_close(space.mean_W, torch.zeros(toys.LATENT), atol=0.06, rtol=0)
    torch.testing.assert_close(space.std_W, torch.ones(toys.LATENT), atol=0.06, rtol=0)
    z_ND = torch.tensor([[0.5, -1.0, 0.0, 1.5, -9.0, 9.0]])
    q_NW = space.points(z_ND)
    assert q_NW[0, 4:].tolist() == [-2.0, 2.0]
    inside_ND = space.mean_W + space.std_W * q_NW
    torch.testing.assert_close(inside_ND[:, :4], z_ND[:, :4])
    torch.testing.assert_close(space.pictures(q_NW), toys.ToyGenerator()(inside_ND))


def test_points_of_latents_show_the_style_gans_own_pictures() -> None:
    settings = StyleGan.Settings(latent_size=6, style_size=8, width=4, discriminator_width=4)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        generator = StyleGan(settings, channels=1, image_size=16).eval().requires_grad_(False)
    space = Space.measure(dataclasses.replace(toys.context(), generator=generator), 256, clip=100.0)
    z_ND = torch.randn(4, 6, generator=torch.Generator().manual_seed(1))
    torch.testing.assert_close(space.pictures(space.points(z_ND)), generator(z_ND))


def test_a_still_dimension_stays_finite() -> None:
    context = toys.context()

    class Still(toys.ToyGenerator):
        def style(self, z_ND: Tensor) -> Tensor:
            return super().style(z_ND) * torch.tensor([1.0, 1, 1, 1, 1, 0])

    space = Space.measure(dataclasses.replace(context, generator=Still()), 64, clip=1.0)
    q_NW = space.points(torch.randn(5, toys.LATENT, generator=torch.Generator().manual_seed(0)))
    assert bool(q_NW.isfinite().all())
    assert bool(space.pictures(q_NW).isfinite().all())


def test_every_row_starts_from_its_own_best_candidate() -> None:
    context, jobs = toys.context(), toys.jobs(toys.ALL)
    space = Space.measure(context, WIDE.mapped, WIDE.clip)
    streams = [context.stream("mirror", t, r) for t, r in toys.ALL]
    q_NCW = space.candidates(8, streams, context.device)
    view = Scores(toys.victim(), len(toys.ALL))
    p_NC = Mirror(WIDE, context).point_scores(view, jobs, q_NCW, torch.arange(len(toys.ALL)))
    assert view.queries.tolist() == [8] * len(toys.ALL)
    torch.testing.assert_close(p_NC[3], targets(space.pictures(q_NCW[3]), [(1, 0)] * 8))

    # A tiny rate leaves the start where it is.
    still, view = run(WIDE.model_copy(update={"rate": 1e-7, "steps": 3}), toys.ALL)
    torch.testing.assert_close(still.confidence_N, p_NC.amax(1), atol=1e-4, rtol=0)
    assert int(view.queries.max()) == 8 + 4 + 1


def test_stays_inside_the_clipping() -> None:
    context = toys.context()
    space = Space.measure(context, 512, clip=0.5)
    tight = WIDE.model_copy(update={"clip": 0.5, "rate": 0.5})
    for settings in (tight, tight.model_copy(update={"gradients": False})):
        result, _ = run(settings, toys.ALL)
        with torch.no_grad():
            z_ND = toys.ToyGenerator().encode(result.images_NCHW)
        assert z_ND is not None
        q_NW = (z_ND - space.mean_W) / space.std_W
        assert float(q_NW.abs().max()) < 0.5 + 1e-2


def test_the_model_sees_dropped_and_mirrored_pictures_that_rows_at_a_step_share() -> None:
    attack = Mirror(WIDE.model_copy(update={"drop": 0.25}), toys.context())
    x_NCHW = torch.linspace(0, 0.4, 2 * 3 * 40 * 40).view(2, 3, 40, 40)
    mirrored = 0
    for step in range(20):
        seen_NCHW = attack._disturbed(x_NCHW, torch.tensor([step, step]))
        other_NCHW = attack._disturbed(x_NCHW, torch.tensor([step + 1, step]))
        assert torch.equal(other_NCHW[1], seen_NCHW[1])
        assert not torch.equal(other_NCHW[0], seen_NCHW[0])
        grey_HW = (seen_NCHW == 0.5).all(dim=(0, 1))
        assert 0.2 < float(grey_HW.float().mean()) < 0.3
        flipped = bool(torch.equal(seen_NCHW[..., ~grey_HW], x_NCHW.flip(3)[..., ~grey_HW]))
        assert flipped or torch.equal(seen_NCHW[..., ~grey_HW], x_NCHW[..., ~grey_HW])
        mirrored += flipped
    assert 0 < mirrored < 20
    plain = Mirror(WIDE.model_copy(update={"drop": 0.0, "flip": False}), toys.context())
    assert torch.equal(plain._disturbed(x_NCHW, torch.tensor([0, 1])), x_NCHW)


def test_white_box_search_finds_the_targets_and_waits_for_calm() -> None:
    result, view = run(WIDE.model_copy(update={"flip": False}), toys.ALL)
    assert float(targets(result.images_NCHW, toys.ALL).mean()) > 0.95
    torch.testing.assert_close(targets(result.images_NCHW, toys.ALL), result.confidence_N)
    assert int(result.steps_N.min()) >= WIDE.calm - 1
    # The candidates, one pass more than updates, and one for the final picture.
    assert torch.equal(view.queries, 8 + result.steps_N + 1 + 1)


def test_searches_start_from_the_pool_which_is_asked_about_once() -> None:
    context, pairs = toys.context(), [(1, 0), (1, 1), (2, 0)]
    settings = WIDE.model_copy(update={"pool": 40, "steps": 1, "rate": 1e-7, "flip": False})
    attack, view = Mirror(settings, context), WhiteBox(toys.victim(), len(pairs))
    result = attack.run(view, toys.jobs(pairs))
    space = Space.measure(context, settings.mapped, settings.clip)
    picture_PCHW = space.pictures(space.points(candidates("mirror", context, 40)))
    for row, (target, repeat) in enumerate(pairs):
        best = targets(picture_PCHW, [(target, 0)] * 40).argsort(descending=True)[repeat]
        torch.testing.assert_close(result.images_NCHW[row], picture_PCHW[best])
    # The picture before the update, after it, and the final one.
    assert (view.shared_queries, view.queries.tolist()) == (40, [3, 3, 3])


def test_by_scores_the_best_of_the_pool_are_the_first_population() -> None:
    settings = BLIND.model_copy(update={"pool": 64})
    result, view = run(settings, toys.ALL)
    assert view.shared_queries == 64
    assert torch.equal(view.queries, 16 + 15 * result.steps_N)
    assert float(targets(result.images_NCHW, toys.ALL).mean()) > 0.9


def test_the_default_steps_find_the_targets_in_fewer_updates() -> None:
    slow, _ = run(WIDE, toys.ALL)
    fast, _ = run(MirrorSettings(clip=3.0, stop=0.9, steps=60, mapped=512, pool=64), toys.ALL)
    assert int(fast.converged_N.sum()) >= int(slow.converged_N.sum())
    assert float(fast.steps_N.float().mean()) < float(slow.steps_N.float().mean())


def test_scores_only_finds_the_targets() -> None:
    result, view = run(BLIND, toys.ALL)
    assert type(view) is Scores
    assert float(targets(result.images_NCHW, toys.ALL).mean()) > 0.9
    torch.testing.assert_close(targets(result.images_NCHW, toys.ALL), result.confidence_N)
    # The 8 candidates are the first population; then 15 children a generation, never the elite again.
    assert torch.equal(view.queries, 8 + 15 * result.steps_N)


def test_elite_never_gets_worse() -> None:
    context = toys.context()
    space = Space.measure(context, 512, clip=3.0)
    jobs, attack = toys.jobs(toys.ALL), Mirror(WIDE, context)
    view = Scores(toys.victim(), len(toys.ALL))

    def best(generations: int) -> Tensor:
        streams = [context.stream("mirror", t, r) for t, r in toys.ALL]
        path = evolve(
            jobs.rows_N,
            functools.partial(attack.point_scores, view, jobs),
            lambda row_L: space.candidates(8, [streams[row] for row in row_L], context.device),
            space.clipped,
            GeneticSettings(population=8, generations=generations, mutation=1.0),
            0.999999,
            streams,
            Width((64,)),
        )
        return path.log_p_N

    first, second, third = best(1), best(2), best(6)
    assert bool((second >= first).all())
    assert bool((third >= second).all())
    assert bool((third > first).any())


def test_children_without_mutation_are_made_of_their_parents() -> None:
    still = GeneticSettings(population=12, generations=1, mutated=0.0)
    pure = BLIND.model_copy(update={"genetic": still, "candidates": 12, "stop": 0.9999999})
    asked: list[Tensor] = []

    class Watched(toys.ToyGenerator):
        def synthesize(self, w_NW: Tensor) -> Tensor:
            asked.append(w_NW.clone())
            return super().synthesize(w_NW)

    context = dataclasses.replace(toys.context(), generator=Watched().requires_grad_(False))
    Mirror(pure, context).run(Scores(toys.victim(), 1), toys.jobs([(0, 0)]))
    parents_PW, children_PW = asked[0], asked[1]
    assert len(children_PW) == 11
    inherited_CPW = (children_PW[:, None] - parents_PW[None]).abs() < 1e-6
    assert bool(inherited_CPW.any(dim=1).all())


def test_works_where_only_the_largest_scores_are_shown() -> None:
    view = Scores(toys.victim(), 3, top=1)
    result, _ = run(BLIND, [(0, 0), (1, 0), (2, 0)], view)
    assert bool(result.images_NCHW.isfinite().all())
    assert int((result.confidence_N > 0).sum()) >= 2


@pytest.mark.parametrize("settings", [WIDE, BLIND])
def test_rows_do_not_depend_on_the_others(settings: MirrorSettings) -> None:
    whole, _ = run(settings, toys.ALL)
    for row in (0, 11):
        alone, _ = run(settings, [toys.ALL[row]])
        torch.testing.assert_close(alone.images_NCHW[0], whole.images_NCHW[row], atol=1e-4, rtol=0)
        assert int(alone.steps_N[0]) == int(whole.steps_N[row])


def test_needs_the_view_that_its_settings_name() -> None:
    assert Mirror.view_at(WIDE) is WhiteBox
    assert Mirror.view_at(BLIND) is Scores
    with pytest.raises(TypeError, match="WhiteBox"):
        run(WIDE, [(0, 0)], Scores(toys.victim(), 1))
    with pytest.raises(TypeError, match="Scores"):
        run(BLIND, [(0, 0)], WhiteBox(toys.victim(), 1))


def test_space_is_shared_by_all_and_the_same_again() -> None:
    first: Space = Space.measure(toys.context(), 300, clip=1.0)
    again = Space.measure(toys.context(), 300, clip=1.0)
    assert torch.equal(first.mean_W, again.mean_W)
    assert torch.equal(first.std_W, again.std_W)
