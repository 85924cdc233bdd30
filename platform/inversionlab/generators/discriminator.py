"""A DCGAN-type discriminator with minibatch discrimination.

Papers: Radford et al. (2016), DCGAN; Salimans et al., "Improved Techniques for Training GANs",
2016, section 3.2: with M_i = T f(x_i) in rows b, the statistic is
o_ib = sum_j exp(-|M_ib - M_jb|_1).
Inputs: pictures (N, C, H, W) around [0, 1], H = W a multiple of 8 from 16 to 256.
Deviations: o is a mean over the other pictures, not a sum, so that a smaller last batch looks the
same to the discriminator; no batch normalisation, which does not go with the gradient penalty.
"""

import torch
from torch import Tensor, nn

from inversionlab.generators.blocks import channels_at, pyramid


class Discriminator(nn.Module):
    """Pictures to one real number each: positive where they look real."""

    def __init__(self, width: int, channels: int, image_size: int, *, kernels: int = 0) -> None:
        """Build for pictures of `channels` x `image_size` x `image_size`.

        `width` is the number of channels at half resolution, `kernels` that of the minibatch statistics. Without
        these, the score of a picture does not depend on the others of its batch.
        """
        super().__init__()
        side, steps = pyramid(image_size)
        layers: list[nn.Module] = []
        size_in = channels
        for level in range(steps):
            size_out = channels_at(level, width)
            convolution = nn.Conv2d(size_in, size_out, 4, 2, 1)
            # Without this the signal fades from layer to layer, and the discriminator falls behind.
            nn.init.kaiming_normal_(convolution.weight, a=0.2)
            layers += [convolution, nn.LeakyReLU(0.2)]
            size_in = size_out
        self.layers = nn.Sequential(*layers, nn.Flatten())
        flat = size_in * side**2
        self.minibatch = MinibatchDiscrimination(flat, kernels)
        self.feature_size = flat + kernels
        self.score = nn.Linear(self.feature_size, 1)

    def forward(self, x_NCHW: Tensor) -> Tensor:
        """Scores (N,) of pictures (N, C, H, W), which may leave [0, 1] a little."""
        score_N1: Tensor = self.score(self.features(x_NCHW))
        return score_N1[:, 0].float()

    def features(self, x_NCHW: Tensor) -> Tensor:
        """Features (N, `feature_size`) of such pictures; the score is a linear function of them."""
        x_NCHW = x_NCHW.contiguous(memory_format=torch.channels_last)
        feature_ND: Tensor = self.minibatch(self.layers(x_NCHW * 2 - 1))
        return feature_ND


class MinibatchDiscrimination(nn.Module):
    """Adds to each picture's features how close the others of its batch are: `kernels` statistics (0: none)."""

    def __init__(self, feature_size: int, kernels: int, kernel_size: int = 8) -> None:
        super().__init__()
        self.kernels, self.kernel_size = kernels, kernel_size
        if kernels > 0:
            self.project = nn.Linear(feature_size, kernels * kernel_size, bias=False)

    def forward(self, feature_ND: Tensor) -> Tensor:
        """The features with the statistics appended: (N, D + kernels)."""
        if self.kernels == 0:
            return feature_ND
        count = len(feature_ND)
        m_NBC = self.project(feature_ND).float().view(count, self.kernels, self.kernel_size)
        distance_NNB = (m_NBC[:, None] - m_NBC[None]).abs().sum(dim=3)
        # Each picture is at distance 0 from itself: subtract that 1, then average over the others.
        near_NB = ((-distance_NNB).exp().sum(dim=1) - 1) / max(count - 1, 1)
        return torch.cat([feature_ND, near_NB.to(feature_ND.dtype)], dim=1)
