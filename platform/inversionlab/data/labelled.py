"""Pictures with class numbers, and rows of a data set with class numbers."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Self

import torch
from torch import Tensor

from inversionlab.core.rows import Images, select
from inversionlab.data.base import Pictures

NO_ROWS = torch.zeros(0, dtype=torch.int64)


@dataclass(frozen=True)
class Labelled:
    """Pictures with class numbers: uint8 (N, C, H, W) and int64 (N,)."""

    images_NCHW: Images
    class_N: Tensor

    def __len__(self) -> int:
        return len(self.images_NCHW)

    def select(self, index: slice | list[int] | Tensor) -> Self:
        """Some of the pictures."""
        return type(self)(select(self.images_NCHW, index), self.class_N[index])


@dataclass(frozen=True)
class LabelledRows:
    """Rows of a data set with class numbers: both int64 (N,)."""

    row_N: Tensor
    class_N: Tensor

    @classmethod
    def of(cls, parts: Sequence[Tensor]) -> Self:
        """The rows of several classes; part i has the class number i."""
        if not parts:
            return cls(NO_ROWS, NO_ROWS)
        classes = [torch.full((len(p),), i, dtype=torch.int64) for i, p in enumerate(parts)]
        return cls(torch.cat([*parts]), torch.cat(classes))

    def pictures(self, pictures: Pictures) -> Labelled:
        """Their pictures."""
        return Labelled(select(pictures.images_NCHW, self.row_N), self.class_N)
