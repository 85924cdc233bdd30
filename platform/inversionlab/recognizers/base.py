"""What every recognizer network is, whatever its structure."""

from __future__ import annotations

from abc import ABC, abstractmethod

from torch import Tensor, nn

from inversionlab.core.settings import Settings


class NetworkSettings(Settings):
    """Base of the settings of a network's structure; each network's own class adds a literal `name`."""

    name: str


class Backbone(nn.Module, ABC):
    """Pictures to feature vectors. Inputs are (N, C, H, W) in [0, 1]; a backbone rescales inside."""

    feature_size: int
    """D, the length of the feature vector."""

    @abstractmethod
    def forward(self, x_NCHW: Tensor) -> Tensor:
        """Features (N, D) of pictures (N, C, H, W) in [0, 1]."""
