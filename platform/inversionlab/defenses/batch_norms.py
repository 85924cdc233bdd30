"""Batch normalisation, which mixes the rows of a batch: where it is in a network, and what can replace it."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

Norm = nn.BatchNorm1d | nn.BatchNorm2d | nn.BatchNorm3d | nn.SyncBatchNorm


class RowNorm(nn.GroupNorm):
    """Group normalisation that takes a single row too; PyTorch's own refuses one without a map."""

    def forward(self, x_NC: Tensor) -> Tensor:
        """Normalised rows (N, C, ...), each by its own statistics."""
        return torch.group_norm(x_NC, self.num_groups, self.weight, self.bias, self.eps)


def batch_norms(network: nn.Module) -> list[nn.Module]:
    """Every layer of batch normalisation in it."""
    return [module for module in network.modules() if isinstance(module, Norm)]


def without_batch_norm(network: nn.Module) -> None:
    """Put group normalisation in place of each batch normalisation, in place.

    Maps get 32 groups, or as many as divide their channels (as Opacus does); vectors one group: in groups of a
    few numbers, or of one, little of a vector would be left.
    """
    for parent in list(network.modules()):
        for name, child in parent.named_children():
            if isinstance(child, Norm):
                flat = isinstance(child, nn.BatchNorm1d)
                groups = 1 if flat else math.gcd(32, child.num_features)
                setattr(parent, name, RowNorm(groups, child.num_features, affine=child.affine))
