"""Networks that are built to see whether settings fit."""

from __future__ import annotations

import torch
from torch import nn

from inversionlab.pipeline.untrained import FEW, WithoutDraws, untrained


def test_of_large_weights_few_numbers_are_drawn_and_small_ones_are_as_ever() -> None:
    torch.manual_seed(0)
    usual = nn.Linear(4, 2).weight
    torch.manual_seed(0)
    with WithoutDraws():
        small, large = nn.Linear(4, 2).weight, nn.Linear(1000, 777).weight
    assert torch.equal(small, usual)
    assert large.isfinite().all()
    assert large.any(dim=1).all()
    assert len(large.unique()) <= FEW
    assert large.abs().max() <= 1000**-0.5 + 1e-6
    assert large.requires_grad


def test_a_network_is_built_with_its_shapes() -> None:
    built = untrained(lambda: nn.Linear(1000, 3))
    assert isinstance(built, nn.Linear)
    assert built.weight.shape == (3, 1000)
