"""The black-box latent attack: its loss, its choice of sigma, its queries."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from pydantic import ValidationError
from torch import Tensor

from inversionlab.attacks import AttackResult, latent_black_box
from inversionlab.attacks.latent_black_box import (
    LatentBlackBox,
    LatentBlackBoxSettings,
    perturbation_count,
    target_losses,
)
from inversionlab.attacks.latent_white_box import LatentWhiteBox, LatentWhiteBoxSettings
from inversionlab.core.views import Scores, WhiteBox
from tests import toys

EACH = [(target, 0) for target in range(toys.CLASSES)]
FIRST = torch.zeros(1, dtype=torch.int64)


def run(
    settings: LatentBlackBoxSettings, pairs: list[tuple[int, int]], top: int | None = None
) -> tuple[AttackResult, Scores]:
    view = Scores(toys.victim(), len(pairs), top)
    return LatentBlackBox(settings, toys.context()).run(view, toys.jobs(pairs)), view


def test_loss_is_minus_log_p() -> None:
    y_NK = torch.tensor([[0.2, 0.5, 0.3], [0.2, 0.5, 0.3]])
    loss_N = target_losses(y_NK, torch.tensor([0, 1]))
    torch.testing.assert_close(loss_N, -torch.tensor([0.2, 0.5]).log())


def test_loss_keeps_its_digits_where_p_has_none() -> None:
    # In float32 both p are 1; the true losses are 3e-9 and 6e-9.
    y_NK = torch.tensor([[1.0, 2e-9, 1e-9], [1.0, 4e-9, 2e-9]])
    loss_N = target_losses(y_NK, torch.tensor([0, 0]))
    torch.testing.assert_close(loss_N, torch.tensor([3e-9, 6e-9]), rtol=1e-5, atol=0)


def test_loss_of_a_score_of_zero_is_finite() -> None:
    loss_N = target_losses(torch.tensor([[0.0, 1.0]]), FIRST)
    assert 80 < float(loss_N) < 90


def test_a_hidden_target_scores_what_the_hidden_ones_score_on_average() -> None:
    # Two of five scores are shown, 0.7 and 0.1; the three hidden ones share 0.2.
    y_NK = torch.tensor([[0.0, 0.7, 0.1, 0.0, 0.0]])
    assert float(target_losses(y_NK, FIRST, top=2)) == pytest.approx(-math.log(0.2 / 3), rel=1e-5)
    # A class that is shown keeps its score.
    assert float(target_losses(y_NK, FIRST + 2, top=2)) == pytest.approx(-math.log(0.1), rel=1e-5)


@pytest.mark.parametrize("top", [1, 2, 5])
def test_cut_scores_do_not_stop_the_attack(top: int) -> None:
    result, _ = run(LatentBlackBoxSettings(steps=60, perturbations=16), EACH, top)
    assert bool(result.images_NCHW.isfinite().all())
    assert bool(result.confidence_N.isfinite().all())
    # Even where only the winner's score is shown, three of the starts see their target at some point.
    assert int(result.converged_N.sum()) >= 3


def test_number_of_perturbations() -> None:
    assert perturbation_count(None, 32) == 64
    assert perturbation_count(None, 64) == 128
    assert perturbation_count(40, 32) == 40


def test_a_choice_of_sigma_needs_more_perturbations_than_dimensions() -> None:
    grid = (1e-4, 1e-2)
    LatentBlackBox.check(LatentBlackBoxSettings(perturbations=33, variances=grid), 32)
    LatentBlackBox.check(LatentBlackBoxSettings(perturbations=8), 32)
    LatentBlackBox.check(LatentBlackBoxSettings(as_published=True), 32)
    with pytest.raises(
        ValueError, match="perturbations = 32: a choice among 2 variances needs more than 32"
    ):
        LatentBlackBox.check(LatentBlackBoxSettings(perturbations=32, variances=grid), 32)


@pytest.mark.parametrize("variances", [(), (0.0,), (0.1, -1.0)])
def test_refuses_invalid_variances(variances: tuple[float, ...]) -> None:
    with pytest.raises(ValidationError):
        LatentBlackBoxSettings(variances=variances)


def test_queries_are_one_and_m_an_update_and_m_for_each_further_sigma() -> None:
    settings = LatentBlackBoxSettings(
        perturbations=10, variances=(1e-4, 1e-2, 1.0), grid_every=4, steps=6, stop=0.9999999
    )
    result, view = run(settings, [(0, 0), (3, 1)])
    assert result.steps_N.tolist() == [6, 6]
    # Points at steps 0 to 6; the gradients of steps 0 to 5, of which 0 and 4 try three sigmas.
    assert view.queries.tolist() == [7 + 10 * (4 + 2 * 3)] * 2


def test_a_converged_row_is_not_perturbed() -> None:
    result, view = run(LatentBlackBoxSettings(stop=1e-6), [(0, 0)])
    assert result.steps_N.tolist() == [0]
    assert view.queries.tolist() == [1]


def test_sigma_of_least_criterion_is_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    # A model that rounds its scores to 1e-3: short perturbations see steps, very long ones another region.
    class Rounding(toys.ToyVictim):
        def log_scores(self, x_NCHW: Tensor) -> Tensor:
            return ((super().log_scores(x_NCHW).exp() * 1e3).round() / 1e3).log()

    model = Rounding(toys.ToyGenerator()).eval().requires_grad_(False)
    taken: list[float] = []
    whole = LatentBlackBox(
        LatentBlackBoxSettings(variances=(1e-10, 1e-2), steps=5, perturbations=12), toys.context()
    )
    inner = latent_black_box._EstimatedObjective._gradients

    def spying(self: latent_black_box._EstimatedObjective, *args: Any) -> Tensor:
        result = inner(self, *args)
        *_, rows_N, step = args
        if step == 0:
            taken.extend(self.variance_N[rows_N].tolist())
        return result

    monkeypatch.setattr(latent_black_box._EstimatedObjective, "_gradients", spying)
    whole.run(Scores(model, 5), toys.jobs(EACH))
    assert torch.tensor(taken).allclose(torch.full((5,), 1e-2))


def test_converges_about_as_fast_as_with_true_gradients() -> None:
    result, _ = run(LatentBlackBoxSettings(perturbations=12), EACH)
    twin = LatentWhiteBox(LatentWhiteBoxSettings(), toys.context())
    there = twin.run(WhiteBox(toys.victim(), len(EACH)), toys.jobs(EACH))
    assert bool(result.converged_N.all())
    assert float(result.steps_N.float().mean()) < 1.5 * float(there.steps_N.float().mean())
