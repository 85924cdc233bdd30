"""What a descent keeps for its rows from step to step."""

from __future__ import annotations

import torch
from torch import Tensor

from inversionlab.attacks.descent import Adam, lowest_of_last


def test_adam_is_torchs_for_every_row_still_there() -> None:
    rng = torch.Generator().manual_seed(0)
    start_N2D = torch.randn(3, 2, 4, generator=rng)
    slopes = [torch.randn(3, 2, 4, generator=rng) for _ in range(5)]
    wanted = start_N2D.clone().requires_grad_(True)
    reference = torch.optim.Adam([wanted], lr=0.1)
    mine, rows_N, point = Adam(start_N2D, 0.1), torch.arange(3), start_N2D
    for step, slope in enumerate(slopes):
        wanted.grad = slope.clone()
        reference.step()
        if step == 2:  # Row 1 leaves.
            rows_N, point = torch.tensor([0, 2]), point[[0, 2]]
        point = mine(point, slope[rows_N], rows_N)
    torch.testing.assert_close(point, wanted.detach()[[0, 2]])


def test_lowest_of_the_last_steps_row_by_row() -> None:
    last_NW, both = torch.full((2, 2), -torch.inf), torch.tensor([0, 1])

    def lowest(log_p: list[float], rows_N: Tensor) -> list[float]:
        values: list[float] = lowest_of_last(last_NW, torch.tensor(log_p), rows_N).tolist()
        return values

    assert lowest([-1.0, -5.0], both) == [-torch.inf, -torch.inf]
    assert lowest([-2.0, -3.0], both) == [-2.0, -5.0]
    assert lowest([-4.0], torch.tensor([1])) == [-4.0]
    assert lowest([-0.5, -6.0], both) == [-2.0, -6.0]
