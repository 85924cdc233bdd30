"""What rows carry from step to step."""

from __future__ import annotations

import torch

from inversionlab.attacks.row_state import Adam, Recent

CPU = torch.device("cpu")


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
    recent, both = Recent(2, 2, CPU), torch.tensor([0, 1])
    assert recent.lowest(torch.tensor([-1.0, -5.0]), both).tolist() == [-torch.inf, -torch.inf]
    assert recent.lowest(torch.tensor([-2.0, -3.0]), both).tolist() == [-2.0, -5.0]
    assert recent.lowest(torch.tensor([-4.0]), torch.tensor([1])).tolist() == [-4.0]
    assert recent.lowest(torch.tensor([-0.5, -6.0]), both).tolist() == [-2.0, -6.0]
