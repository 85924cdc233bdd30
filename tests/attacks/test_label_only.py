"""The label-only attack, on classes that are balls in latent space."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from inversionlab.attacks import AttackerContext, AttackError, AttackResult
from inversionlab.attacks.label_only import LabelOnly, LabelOnlySettings
from inversionlab.core.views import Labels
from tests import toys

CENTRE = torch.tensor([1.0, -1.0, 0.5, 0.0])


class Identity:
    """A generator whose pictures (1, 2, 2) are the latents (4,) themselves."""

    latent_size = 4

    def __init__(self, spread: float) -> None:
        self.spread = spread

    def __call__(self, z_ND: Tensor) -> Tensor:
        return z_ND.view(-1, 1, 2, 2)

    def encode(self, x_NCHW: Tensor) -> None:
        return None

    def draw(self, count: int, rng: torch.Generator) -> Tensor:
        return self.spread * torch.randn(count, 4, generator=rng)


class Ball:
    """Class 1 is a ball around CENTRE, class 0 is the rest; no picture is of class 2."""

    classes = 3

    def __init__(self, size: float) -> None:
        self.size = size

    def log_scores(self, x_NCHW: Tensor) -> Tensor:
        inside_N = self.size - (x_NCHW.flatten(1) - CENTRE).norm(dim=1)
        logits = [torch.zeros_like(inside_N), inside_N, torch.full_like(inside_N, -99)]
        return torch.stack(logits, 1).log_softmax(1)


def run(
    settings: LabelOnlySettings, size: float, targets: list[int], spread: float = 1.0
) -> tuple[AttackResult, Labels]:
    public = torch.zeros(4, 1, 2, 2, dtype=torch.uint8)
    context = AttackerContext(Identity(spread), public, 0, toys.CPU)  # type: ignore[arg-type]
    view = Labels(Ball(size), len(targets))
    jobs = toys.jobs([(target, repeat) for repeat, target in enumerate(targets)])
    return LabelOnly(settings, context).run(view, jobs), view


def test_finds_the_middle_of_the_class() -> None:
    # R goes 1, 1.3, 1.69, 2.197: a sphere of the last within a ball of 3 is at most 0.803 from its middle
    # (32 points see a little less). The draws that start are 2.1 away on average.
    settings = LabelOnlySettings(radius=1.0, growth=1.3, stop_radius=2.0, steps=300)
    result, _ = run(settings, 3.0, [1] * 8)
    away_N = (result.images_NCHW.flatten(1) - CENTRE).norm(dim=1)
    assert bool(result.converged_N.all())
    assert float(away_N.max()) < 1.1
    assert float(away_N.mean()) < 0.803
    assert bool(result.confidence_N.isnan().all())


def test_sphere_shrinks_where_it_misses_a_small_class() -> None:
    settings = LabelOnlySettings(radius=4.0, stop_radius=0.4, steps=300)
    result, _ = run(settings, 0.7, [1] * 4)
    assert bool(result.converged_N.all())
    assert float((result.images_NCHW.flatten(1) - CENTRE).norm(dim=1).max()) < 0.6


def test_a_centre_never_leaves_its_class() -> None:
    # Moves of up to ten times |M| R overshoot a ball of 1.
    settings = LabelOnlySettings(radius=1.0, stop_radius=50.0, steps=40, step_share=10.0)
    result, _ = run(settings, 1.0, [1] * 6)
    assert not bool(result.converged_N.any())
    assert result.steps_N.tolist() == [40] * 6
    assert float((result.images_NCHW.flatten(1) - CENTRE).norm(dim=1).max()) < 1.0


def test_a_class_without_pictures_costs_the_budget_and_no_more() -> None:
    result, view = run(LabelOnlySettings(start_queries=100), 5.0, [2, 1])
    assert view.queries[0] == 128  # whole rounds of 32
    assert result.converged_N.tolist() == [False, True]
    assert result.steps_N[0] == 0
    assert bool(result.images_NCHW.isfinite().all())
    nobody, _ = run(LabelOnlySettings(start_queries=32), 5.0, [2])
    assert nobody.converged_N.tolist() == [False]


def test_move_by_hand() -> None:
    # Of e1, e2, -e1, -e2 only -e1 is outside: M = (e1 + e2 + e1 - e2) / 4 = e1 / 2.
    u_KD = torch.tensor([[1.0, 0.0], [0.0, 1.0], [-1.0, 0.0], [0.0, -1.0]])
    inside_NK = torch.tensor([[True, True, False, True]] * 2)
    z_ND, r_N = torch.zeros(2, 2), torch.tensor([3.0, 30.0])
    attack = LabelOnly(LabelOnlySettings(), toys.context())
    wanted = torch.tensor([[1.5, 0.0], [4.5, 0.0]])  # factors 3 and, of 30, 9
    torch.testing.assert_close(attack._moved(z_ND, r_N, u_KD, inside_NK), wanted)


def test_directions_are_unit_pairs_of_their_own_step() -> None:
    attack = LabelOnly(LabelOnlySettings(directions=10), toys.context())
    u_KD = attack._sphere(3, 6)
    assert u_KD.shape == (10, 6)
    torch.testing.assert_close(u_KD.norm(dim=1), torch.ones(10))
    assert torch.equal(u_KD[:5], -u_KD[5:])
    assert torch.equal(u_KD, attack._sphere(3, 6))
    assert not torch.equal(u_KD, attack._sphere(4, 6))


def test_queries_of_a_sphere_are_its_points_and_the_new_centre() -> None:
    # The ball is so large that it holds every draw, and the first sphere (radius 2) is wide enough already.
    settings = LabelOnlySettings(stop_radius=1.0, directions=12, pool=0)
    result, view = run(settings, 1e3, [1])
    assert result.steps_N.tolist() == [1]
    assert view.queries.tolist() == [32 + 12]
    # A start from the pool costs the row nothing.
    pooled, view = run(settings.model_copy(update={"pool": 50}), 1e3, [1])
    assert pooled.steps_N.tolist() == [1]
    assert (view.queries.tolist(), view.shared_queries) == ([12], 50)


def test_a_negative_label_names_the_target() -> None:
    class Broken(Labels):
        def labels(self, x_NCHW: Tensor, account_N: Tensor | None = None) -> Tensor:
            return super().labels(x_NCHW, account_N) * 0 - 1

    attack = LabelOnly(LabelOnlySettings(), toys.context())
    with pytest.raises(AttackError, match=r"label_only.*target 3"):
        attack.run(Broken(toys.victim(), 1), toys.jobs([(3, 0)]))
