"""KED-MI: the reparameterisation trick, the noise of each row, the draws."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from inversionlab.attacks.jobs import AttackResult
from inversionlab.attacks.ked_mi import KedMi, KedMiSettings, carried_back, latents, several
from inversionlab.core.views import WhiteBox
from tests import toys

QUICK = KedMiSettings(rate=0.1, log_variance=-2.0, steps=40, stop=0.9)


def run(settings: KedMiSettings, pairs: list[tuple[int, int]]) -> tuple[AttackResult, WhiteBox]:
    view = WhiteBox(toys.victim(), len(pairs))
    return KedMi(settings, toys.context()).run(view, toys.jobs(pairs)), view


def test_latents_are_mean_plus_spread_times_noise() -> None:
    # exp(v / 2) is 2 where v = ln 4, and 1 where v = 0.
    point_N2D = torch.tensor([[[1.0, -1.0], [torch.log(torch.tensor(4.0)), 0.0]]])
    noise_NSD = torch.tensor([[[1.0, 1.0], [-0.5, 3.0]]])
    expected = torch.tensor([[[3.0, 0.0], [0.0, 2.0]]])
    torch.testing.assert_close(latents(point_N2D, noise_NSD), expected)


def test_carried_back_gradient_is_autograds() -> None:
    rng = torch.Generator().manual_seed(0)
    point_N2D = torch.randn(3, 2, 4, generator=rng).requires_grad_(True)
    noise_NSD, weight_NSD = torch.randn(2, 3, 5, 4, generator=rng)
    (wanted,) = torch.autograd.grad((latents(point_N2D, noise_NSD) * weight_NSD).sum(), point_N2D)
    got = carried_back(point_N2D.detach(), noise_NSD, weight_NSD)
    torch.testing.assert_close(got, wanted)


def test_rows_of_several_samples() -> None:
    assert several(torch.tensor([0, 2]), 3).tolist() == [0, 1, 2, 6, 7, 8]
    assert toys.jobs(toys.ALL).times(3).account(several(torch.tensor([0, 2]), 3)).tolist() == (
        [0, 0, 0, 2, 2, 2]
    )


def test_every_sample_and_draw_is_counted() -> None:
    settings = KedMiSettings(samples=3, steps=4, draws=7, stop=0.9999999)
    _, view = run(settings, toys.ALL[:2])
    assert view.queries.tolist() == [3 * 5 + 7] * 2


def test_the_best_draw_is_kept() -> None:
    # Updates are tiny, so all draws come from one distribution, and the first draw is among the fifty.
    wide = KedMiSettings(rate=1e-6, log_variance=0.0, steps=1, calm=1, stop=0.9999999, draws=1)
    one, _ = run(wide, toys.ALL)
    many, _ = run(wide.model_copy(update={"draws": 50}), toys.ALL)
    assert float(many.confidence_N.mean()) > float(one.confidence_N.mean())
    model, target_N = toys.victim(), toys.jobs(toys.ALL).target_N
    seen = model.log_scores(many.images_NCHW).exp().gather(1, target_N[:, None])[:, 0]
    torch.testing.assert_close(seen, many.confidence_N)


def test_recovers_a_mean_and_narrows_the_spread() -> None:
    context = toys.context()
    attack = KedMi(QUICK.model_copy(update={"log_variance": 0.5}), context)
    points: list[Tensor] = []
    inner = attack._best_draws

    def watching(view, jobs, point_N2D, streams):  # type: ignore[no-untyped-def]
        points.append(point_N2D)
        return inner(view, jobs, point_N2D, streams)

    attack._best_draws = watching  # type: ignore[method-assign]
    result = attack.run(WhiteBox(toys.victim(), 5), toys.jobs([(t, 0) for t in range(5)]))
    assert float(points[0][:, 1].mean()) < 0.4
    at_mean = toys.victim().log_scores(toys.ToyGenerator()(points[0][:, 0]))
    assert at_mean.argmax(1).tolist() == list(range(5))
    assert bool((result.confidence_N > 0.9).all())


def test_stop_waits_for_calm() -> None:
    result, view = run(QUICK, toys.ALL)
    assert bool(result.converged_N.any())
    # The first possible stop is after `calm` passes, and then come the draws.
    assert int(result.steps_N.min()) >= QUICK.calm - 1
    assert torch.equal(view.queries, result.steps_N + 1 + QUICK.draws)


def test_fewer_steps_than_calm_still_return_pictures() -> None:
    result, _ = run(QUICK.model_copy(update={"steps": 2, "calm": 50}), toys.ALL[:2])
    assert result.steps_N.tolist() == [2, 2]
    assert bool(result.images_NCHW.isfinite().all())


@pytest.mark.parametrize("samples", [1, 2])
def test_noise_is_a_rows_own(samples: int) -> None:
    settings = QUICK.model_copy(update={"samples": samples, "steps": 12})
    whole, _ = run(settings, toys.ALL)
    for row in (0, 13):
        alone, _ = run(settings, [toys.ALL[row]])
        torch.testing.assert_close(alone.images_NCHW[0], whole.images_NCHW[row], atol=1e-4, rtol=0)
