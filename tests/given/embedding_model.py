"""An embedding of a user's own that needs no training: coarse pixels around their mean."""

from __future__ import annotations

from torch import Tensor, nn
from torch.nn import functional


class PixelEmbedding(nn.Module):
    def __init__(self, side: int = 8) -> None:
        super().__init__()
        self.side = side

    def forward(self, x: Tensor) -> Tensor:
        """Embeddings (N, D) of pictures (N, C, H, W) in [0, 1]."""
        small = functional.adaptive_avg_pool2d(x, self.side).flatten(1)
        return small - small.mean(1, keepdim=True)


class Blind(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        """The same embedding of every picture."""
        return x.flatten(1)[:, :8] * 0 + 1
