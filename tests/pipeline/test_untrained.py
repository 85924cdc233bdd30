"""Networks that are built to see whether settings fit."""

from __future__ import annotations

import torch
from torch import nn

from inversionlab.pipeline.untrained import WithoutDraws, untrained


def test_weights_are_zeros_where_they_would_be_drawn_and_what_is_set_stays() -> None:
    torch.manual_seed(0)
    before = torch.get_rng_state()
    with WithoutDraws():
        layers = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.Flatten(), nn.Linear(4, 2))
        drawn = nn.init.trunc_normal_(torch.ones(5))
    assert not drawn.any()
    assert not layers[0].weight.any()
    assert not layers[3].bias.any()
    assert torch.equal(layers[1].weight, torch.ones(4))
    # Nothing was drawn.
    assert torch.equal(torch.get_rng_state(), before)
    assert layers.eval()(torch.zeros(1, 3, 3, 3)).shape == (1, 2)
    assert nn.Linear(4, 2).weight.any(), "it ends with its block"


def test_a_network_is_built_with_its_shapes_and_without_its_numbers() -> None:
    before = torch.get_rng_state()
    built = untrained(lambda: nn.Linear(1000, 3))
    assert isinstance(built, nn.Linear)
    assert built.weight.shape == (3, 1000)
    assert built.weight.requires_grad
    assert torch.equal(torch.get_rng_state(), before)
