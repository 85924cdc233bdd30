"""What a descent keeps for its rows from step to step."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from inversionlab.attacks import AttackJobs
from inversionlab.attacks.descent import descend
from inversionlab.attacks.engine import Widths
from inversionlab.attacks.latent_white_box import LatentWhiteBox, LatentWhiteBoxSettings
from inversionlab.attacks.updates import Adam, AdaptiveStep, LimitedStep, Nesterov
from tests import toys


def test_adam_is_torchs_for_rows_at_different_steps() -> None:
    rng = torch.Generator().manual_seed(0)
    start_N2D = torch.randn(2, 2, 4, generator=rng)
    slopes = [torch.randn(2, 2, 4, generator=rng) for _ in range(5)]
    wanted = [start_N2D[row : row + 1].clone().requires_grad_(True) for row in range(2)]
    for row in range(2):
        reference = torch.optim.Adam([wanted[row]], lr=0.1)
        for slope in slopes[2 * row :]:
            wanted[row].grad = slope[row : row + 1].clone()
            reference.step()
    update = Adam(0.1)
    # Row 1 enters two steps later.
    point, memory = start_N2D[:1], update.memory(start_N2D[:1])
    for step, slope in enumerate(slopes):
        if step == 2:
            late = start_N2D[1:]
            point, memory = torch.cat([point, late]), torch.cat([memory, update.memory(late)])
        step_L = torch.tensor([step, step - 2])[: len(point)]
        point, memory = update(point, slope[: len(point)], memory, step_L)
    torch.testing.assert_close(point, torch.cat(wanted).detach())


def test_nesterovs_step_by_hand() -> None:
    update, start = Nesterov(rate=0.5, momentum=0.5, clip=3.0), torch.tensor([[1.0, 0.0]])
    slope = torch.tensor([[-2.0, 8.0]])
    point, memory = update(start, slope, update.memory(start), torch.tensor([0]))
    assert memory.tolist() == [[1.0, -4.0]]  # v' = 0 - 0.5 g
    assert point.tolist() == [[2.5, -3.0]]  # z + 1.5 v', clipped
    point, memory = update(point, slope, memory, torch.tensor([1]))
    assert memory.tolist() == [[1.5, -6.0]]  # v' = 0.5 v - 0.5 g
    assert point.tolist() == [[3.0, -3.0]]  # 2.5 - 0.5 + 1.5 * 1.5 = 4.25, clipped


def test_a_limited_step_has_its_length_unless_the_gradient_is_tiny() -> None:
    update, start = LimitedStep(length=0.5, max_rate=10.0), torch.zeros(2, 2)
    slope = torch.tensor([[3.0, 4.0], [0.003, 0.004]])
    point, _ = update(start, slope, update.memory(start), torch.tensor([0, 0]))
    torch.testing.assert_close(point, torch.tensor([[-0.3, -0.4], [-0.03, -0.04]]))


@pytest.mark.parametrize("width", [1, 2, 3])
def test_a_row_leaves_by_the_lowest_of_its_last_scores_and_the_next_one_enters(width: int) -> None:
    scores = {0: [-1.0, -5.0, -0.5, -0.4], 1: [-0.1, -0.2], 2: [-9.0, -0.3, -0.2]}
    seen: list[list[int]] = []

    def objective(point: Tensor, row_L: Tensor, step_L: Tensor) -> tuple[Tensor, Tensor]:
        seen.append(row_L.tolist())
        pairs = zip(row_L.tolist(), step_L.tolist(), strict=True)
        return torch.tensor([scores[row][step] for row, step in pairs]), torch.ones_like(point)

    attack = LatentWhiteBox(LatentWhiteBoxSettings(), toys.context())
    attack.context.widths.fixed = width
    end = descend(
        attack,
        toys.jobs([(0, 0), (0, 1), (0, 2)]).rows_N,
        lambda row_L: row_L[:, None].float() * 10,
        objective,
        LimitedStep(length=1.0, max_rate=1.0),
        stop=0.5,  # log p > -0.69
        steps=10,
        calm=2,
    )
    assert end.steps_N.tolist() == [3, 1, 2]
    assert end.converged_N.tolist() == [True, True, True]
    torch.testing.assert_close(end.log_p_N, torch.tensor([-0.5, -0.2, -0.3]))
    torch.testing.assert_close(end.best, torch.tensor([[-3.0], [9.0], [18.0]]))
    wanted = {
        1: [[0]] * 4 + [[1]] * 2 + [[2]] * 3,
        2: [[0, 1], [0, 1], [0, 2], [0, 2], [2]],
        3: [[0, 1, 2], [0, 1, 2], [0, 2], [0]],
    }
    assert seen == wanted[width]


def test_a_descent_without_progress_ends_after_its_patience() -> None:
    attack = LatentWhiteBox(LatentWhiteBoxSettings(), toys.context())

    def objective(point: Tensor, row_L: Tensor, step_L: Tensor) -> tuple[Tensor, Tensor]:
        grows_L = torch.where(row_L == 0, step_L.clamp_max(4).float(), 0.0)
        return grows_L - 9, torch.zeros_like(point)

    jobs: AttackJobs = toys.jobs([(0, 0), (1, 0)])
    end = descend(
        attack,
        jobs.rows_N,
        lambda row_L: row_L[:, None].float(),
        objective,
        LimitedStep(length=1.0, max_rate=1.0),
        stop=0.5,
        steps=50,
        patience=3,
    )
    assert end.steps_N.tolist() == [7, 3]
    assert not end.converged_N.any()


def test_widths_are_kept_by_the_name_of_the_search() -> None:
    widths = Widths()
    assert widths.of("descent", toys.CPU) is widths.of("descent", toys.CPU)
    assert widths.of("descent", toys.CPU) is not widths.of("spheres", toys.CPU)
    assert Widths(7).of("descent", toys.CPU).pictures == 7


def test_an_adaptive_step_grows_while_gradients_agree_and_shrinks_where_they_turn() -> None:
    update, point = AdaptiveStep(length=1.0), torch.zeros(1, 2)
    memory, lengths = update.memory(point), []
    for slope in ([0.0, -2.0], [0.0, -9.0], [0.0, 1.0], [1.0, 0.0]):
        before = point
        point, memory = update(point, torch.tensor([slope]), memory, torch.tensor([0]))
        lengths.append(float((point - before).norm()))
    # The first has none before it; then agreement, a turn, and a right angle.
    torch.testing.assert_close(lengths, [1.0, 1.2, 1.2 * 0.7, 1.2 * 0.7])
    torch.testing.assert_close(point, torch.tensor([[-0.84, 1.0 + 1.2 - 0.84]]))
    for turn in range(40):
        slope_2 = torch.tensor([[(-1.0) ** turn, 0.0]])
        point, memory = update(point, slope_2, memory, torch.tensor([0]))
    assert float(memory[0, 0]) == pytest.approx(1 / 16)
