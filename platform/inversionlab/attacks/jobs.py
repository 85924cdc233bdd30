"""What an attack is asked for, and what it returns."""

from dataclasses import dataclass
from typing import Self

import torch
from torch import Tensor


@dataclass(frozen=True)
class AttackJobs:
    """What to reconstruct: row i is repeat `repeat_N[i]` of class `target_N[i]`."""

    target_N: Tensor
    repeat_N: Tensor
    starts: int = 1
    """Consecutive rows that are attempts at one reconstruction; only the best of them is kept."""

    def __len__(self) -> int:
        return len(self.target_N)

    @property
    def rows_N(self) -> Tensor:
        """The numbers of the jobs."""
        return torch.arange(len(self)).to(self.target_N)

    def times(self, starts: int) -> Self:
        """Every job repeated in `starts` consecutive rows."""
        return type(self)(
            self.target_N.repeat_interleave(starts), self.repeat_N.repeat_interleave(starts), starts
        )

    def take(self, rows_L: Tensor) -> Self:
        """Some of the jobs, by their numbers."""
        return type(self)(self.target_N[rows_L], self.repeat_N[rows_L], self.starts)

    def account(self, rows_N: Tensor) -> Tensor:
        """The reconstruction that each row's queries are counted for: its entry in the view's ledger."""
        return rows_N // self.starts


@dataclass(frozen=True)
class AttackResult:
    """What an attack returns, one row per job."""

    images_NCHW: Tensor
    """float pictures in [0, 1]."""
    confidence_N: Tensor
    """The protected model's score of the target as the attacker saw it; NaN where it saw none."""
    converged_N: Tensor
    """Whether the attack's own stop criterion was met."""
    steps_N: Tensor
    """Number of updates."""

    @classmethod
    def of_null(cls, images_NCHW: Tensor) -> Self:
        """The result of a null attack: no score was seen and no update was made."""
        none_N = torch.zeros(len(images_NCHW), dtype=torch.int64)
        return cls(images_NCHW, torch.full((len(none_N),), torch.nan), none_N.bool(), none_N)
