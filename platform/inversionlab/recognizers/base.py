"""The base of every recognizer network."""

from torch import Tensor, nn

from inversionlab.core.settings import Settings


class NetworkSettings(Settings):
    """Base of the settings of a network's structure; each network's own class adds a literal `name`."""

    name: str


class Backbone(nn.Module):
    """Maps pictures (N, C, H, W) in [0, 1] to feature vectors (N, D).

    A constructor takes `(settings, *, channels, image_size)`. It raises `ConfigError` where settings contradict
    each other or do not suit pictures of this size. The names of attributes that hold weights are stored with
    every artifact, so they must not change.
    """

    feature_size: int
    """D, the length of the feature vector."""
    layers: nn.Module
    """Pictures in [-1, 1] to features; a network that needs something else overrides `forward`."""

    def forward(self, x_NCHW: Tensor) -> Tensor:
        """Features (N, D) of pictures (N, C, H, W) in [0, 1]."""
        feature_ND: Tensor = self.layers(x_NCHW * 2 - 1)
        return feature_ND


def conv(size_in: int, size_out: int, kernel: int, stride: int) -> nn.Conv2d:
    """A convolution without a bias, padded so that the map keeps its side at stride 1."""
    return nn.Conv2d(size_in, size_out, kernel, stride, kernel // 2, bias=False)
