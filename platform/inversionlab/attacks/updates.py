"""The rules by which a descent moves its points, each with what it remembers of a row."""

from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class LimitedStep:
    """z - min(max_rate, length / |g|) g of each row (Yoshimura et al. 2021, §V-A.3)."""

    length: float
    max_rate: float

    def memory(self, start: Tensor) -> Tensor:
        """Nothing."""
        return start.new_zeros(len(start), 0)

    def __call__(
        self, point: Tensor, gradient: Tensor, memory: Tensor, step_L: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Points (L, m) after a step."""
        norm_L1 = gradient.norm(dim=1, keepdim=True).clamp_min(1e-12)
        moved = point - (self.length / norm_L1).clamp_max(self.max_rate) * gradient
        return moved, memory


@dataclass(frozen=True)
class AdaptiveStep:
    """Steps against the gradient whose length is longer where successive gradients agree, and shorter where not.

    The first step has `length`. Where a gradient's angle to the one before is above 90 degrees, the descent has
    gone too far, and the length is multiplied by SHRINK, else by GROW. It stays between the bounds below. Points
    are clipped to [-clip, clip].
    """

    length: float
    clip: float = torch.inf

    GROW, SHRINK = 1.2, 0.7
    LEAST, MOST = 1 / 16, 2.5
    """Bounds of the length, as shares of the first one."""

    def memory(self, start: Tensor) -> Tensor:
        """The present length, then the direction of the last gradient."""
        return torch.cat([start.new_full((len(start), 1), self.length), torch.zeros_like(start)], 1)

    def __call__(
        self, point: Tensor, gradient: Tensor, memory: Tensor, step_L: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Points (L, m) after a step."""
        length_L1, before_LD = memory[:, :1], memory[:, 1:]
        direction_LD = gradient / gradient.norm(dim=1, keepdim=True).clamp_min(1e-12)
        agrees_L1 = (direction_LD * before_LD).sum(dim=1, keepdim=True).sign()
        factor_L1 = torch.where(
            agrees_L1 < 0, self.SHRINK, torch.where(agrees_L1 > 0, self.GROW, 1.0)
        )
        length_L1 = (length_L1 * factor_L1).clamp(self.LEAST * self.length, self.MOST * self.length)
        moved = (point - length_L1 * direction_LD).clamp(-self.clip, self.clip)
        return moved, torch.cat([length_L1, direction_LD], dim=1)


@dataclass(frozen=True)
class PlainStep:
    """x - rate g, clipped to [0, 1]: a step of pixels."""

    rate: float

    def memory(self, start: Tensor) -> Tensor:
        """Nothing."""
        return start.new_zeros(len(start), 0)

    def __call__(
        self, point: Tensor, gradient: Tensor, memory: Tensor, step_L: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Pictures (L, C, H, W) after a step."""
        return (point - self.rate * gradient).clamp(0, 1), memory


@dataclass(frozen=True)
class Nesterov:
    """v' = m v - a g,  z - m v + (1 + m) v',  clipped to [-clip, clip] (the code of Zhang et al. 2020)."""

    rate: float
    momentum: float
    clip: float

    def memory(self, start: Tensor) -> Tensor:
        """The velocity v."""
        return torch.zeros_like(start)

    def __call__(
        self, point: Tensor, gradient: Tensor, memory: Tensor, step_L: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Points and velocities after a step."""
        speed = self.momentum * memory - self.rate * gradient
        moved = point - self.momentum * memory + (1 + self.momentum) * speed
        return moved.clamp(-self.clip, self.clip), speed


@dataclass(frozen=True)
class Adam:
    """Adam (Kingma & Ba 2015): steps of about `rate` in every coordinate, then clipping to [-clip, clip]."""

    rate: float
    betas: tuple[float, float] = (0.9, 0.999)
    clip: float = torch.inf
    milestones: tuple[int, ...] = ()
    """Updates after each of which the rate falls to a tenth."""

    EPSILON = 1e-8

    def memory(self, start: Tensor) -> Tensor:
        """The moments of the gradient, (L, 2, ...): its mean and its mean square."""
        return torch.zeros_like(torch.stack([start, start], dim=1))

    def __call__(
        self, point: Tensor, gradient: Tensor, memory: Tensor, step_L: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Points and moments after a step."""
        first, second = self.betas
        mean = first * memory[:, 0] + (1 - first) * gradient
        square = second * memory[:, 1] + (1 - second) * gradient.square()
        # Each row has its own step, so the corrections for the moments' start at 0 are its own as well.
        made_L = (step_L + 1).view(-1, *[1] * (point.ndim - 1)).double()
        deviation = (square / (1 - second**made_L).float()).sqrt() + self.EPSILON
        rate_L = self.rate / (1 - first**made_L).float()
        for milestone in self.milestones:
            rate_L = torch.where(made_L > milestone, 0.1 * rate_L, rate_L)
        moved = point - rate_L * mean / deviation
        return moved.clamp(-self.clip, self.clip), torch.stack([mean, square], dim=1)
