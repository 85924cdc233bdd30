"""What the rows of a descent carry from step to step, row by row, so that no row knows of another.

`descend` hands every update the numbers of the rows still in the batch; the state of all rows is kept, and
indexed by them. All rows of a descent begin at the same step, so a step count may be shared.
"""

from __future__ import annotations

import torch
from torch import Tensor


class Adam:
    """Adam (Kingma & Ba 2015) as an `Update`: elementwise, with its moments kept for every row."""

    BETAS, EPSILON = (0.9, 0.999), 1e-8

    def __init__(self, start: Tensor, rate: float) -> None:
        """Begin at points `start` (N, ...) with steps of about `rate` in every coordinate."""
        self.rate, self.step = rate, 0
        self.mean, self.square = torch.zeros_like(start), torch.zeros_like(start)

    def __call__(self, point: Tensor, gradient: Tensor, rows_N: Tensor) -> Tensor:
        """The points after one more step; `rows_N` are the rows that they belong to."""
        first, second = self.BETAS
        self.step += 1
        mean = first * self.mean[rows_N] + (1 - first) * gradient
        square = second * self.square[rows_N] + (1 - second) * gradient.square()
        self.mean[rows_N], self.square[rows_N] = mean, square
        deviation = (square / (1 - second**self.step)).sqrt() + self.EPSILON
        moved: Tensor = point - self.rate / (1 - first**self.step) * mean / deviation
        return moved


class Recent:
    """The lowest of each row's last scores: with random pictures at every step, one success may be luck."""

    def __init__(self, rows: int, window: int, device: torch.device) -> None:
        """For `rows` rows, over the last `window` steps."""
        self.last_NW = torch.full((rows, window), -torch.inf, device=device)

    def lowest(self, log_p_N: Tensor, rows_N: Tensor) -> Tensor:
        """Take in this step's log-scores; the lowest of the window, -inf until so many were seen."""
        shifted_NW = torch.cat([self.last_NW[rows_N, 1:], log_p_N[:, None]], dim=1)
        self.last_NW[rows_N] = shifted_NW
        return shifted_NW.amin(dim=1)
