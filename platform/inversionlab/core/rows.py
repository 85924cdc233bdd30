"""Pictures by row.

A small set of pictures is a tensor. A large one lies in files that are mapped into memory: a row is read when it
is asked for, and choosing rows copies nothing. Code that takes `Images` indexes, splits or loops, and never asks
for all of them at once.
"""

from __future__ import annotations

import tempfile
from bisect import bisect_right
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import accumulate
from typing import TypeAlias

import torch
from torch import Tensor

_CHUNK = 256
"""Pictures that are read at once by whoever looks at one after another."""
_IN_MEMORY = 2**28
"""Bytes of a table that are kept in memory; a larger one lies in a file of its own."""


class Parts:
    """Pictures in several parts one after another, each of which is opened when it is first needed."""

    def __init__(
        self,
        counts: Sequence[int],
        shape: tuple[int, int, int],
        open_part: Callable[[int], Images],
        place_N: Tensor | None = None,
    ) -> None:
        """Open nothing yet.

        Args:
            counts: the number of pictures in each part.
            shape: channels, height and width of every picture.
            open_part: returns a part by its number; it is called once for each.
            place_N: where among the parts' pictures that of each row is, int64; None: they lie in order.
        """
        self.shape = shape
        self._ends = list(accumulate(counts))
        self._open, self._opened = open_part, dict[int, Images]()
        self._place_N = place_N

    def __len__(self) -> int:
        return self._ends[-1] if self._ends else 0

    def read(self, row_N: Tensor) -> Tensor:
        """The pictures (N, C, H, W), uint8, in these rows."""
        if not len(row_N):
            return torch.empty(0, *self.shape, dtype=torch.uint8)
        if self._place_N is not None:
            row_N = self._place_N[row_N]
        first = bisect_right(self._ends, int(row_N.min()))
        if int(row_N.max()) < self._ends[first]:
            return self._part(first)[row_N - self._start(first)]
        x_NCHW = torch.empty(len(row_N), *self.shape, dtype=torch.uint8)
        part_N = torch.bucketize(row_N, torch.tensor(self._ends), right=True)
        for part in part_N.unique().tolist():
            place_M = (part_N == part).nonzero().squeeze(1)
            x_NCHW[place_M] = self._part(part)[row_N[place_M] - self._start(part)]
        return x_NCHW

    def open_all(self) -> None:
        """Open every part now."""
        for part in range(len(self._ends)):
            self._part(part)

    def _start(self, part: int) -> int:
        return self._ends[part - 1] if part else 0

    def _part(self, part: int) -> Images:
        if part not in self._opened:
            self._opened[part] = self._open(part)
        return self._opened[part]


class PictureRows:
    """Some pictures (N, C, H, W), uint8, of a larger set: only their row numbers are held."""

    def __init__(self, parts: Parts, row_N: Tensor | None = None, *, name: str = "") -> None:
        """Pictures of `parts`; without `row_N`, int64 (N,), all of them.

        `name` is what the set is stored under, so that another process can open it.
        """
        self.parts, self.name = parts, name
        self.row_N = torch.arange(len(parts)) if row_N is None else row_N

    @property
    def shape(self) -> torch.Size:
        """N, channels, height and width."""
        return torch.Size((len(self.row_N), *self.parts.shape))

    def __len__(self) -> int:
        return len(self.row_N)

    def __getitem__(self, index: int | slice | list[int] | Tensor) -> Tensor:
        """Read pictures as a tensor indexes its rows: one (C, H, W), or several (n, C, H, W)."""
        if isinstance(index, int):
            return self.parts.read(self.row_N[index].view(1))[0]
        return self.parts.read(self.row_N[index])

    def __iter__(self) -> Iterator[Tensor]:
        for x_NCHW in self.split(_CHUNK):
            yield from x_NCHW

    def split(self, size: int) -> Iterator[Tensor]:
        """Read all pictures, `size` at a time; of no pictures, one empty tensor."""
        for row_B in self.row_N.split(size):
            yield self.parts.read(row_B)

    def select(self, index: slice | list[int] | Tensor) -> PictureRows:
        """Some of the pictures, none of which is read."""
        return PictureRows(self.parts, self.row_N[index], name=self.name)


Images: TypeAlias = Tensor | PictureRows
"""uint8 pictures (N, C, H, W)."""


def select(images: Images, index: slice | list[int] | Tensor) -> Images:
    """Some of the pictures; those of a large set are not read."""
    return images[index] if isinstance(images, Tensor) else images.select(index)


def join(images: Sequence[Images]) -> Images:
    """All pictures one after another; those of large sets are not read."""
    tensors = [part for part in images if isinstance(part, Tensor)]
    if len(tensors) == len(images):
        return torch.cat(tensors)
    (_, *shape), filled = images[0].shape, [part for part in images if len(part)]
    channels, height, width = shape
    parts = Parts([len(p) for p in filled], (channels, height, width), filled.__getitem__)
    return PictureRows(parts)


def ahead(images: Images, batches: Iterable[Tensor]) -> Iterator[tuple[Tensor, Tensor]]:
    """Each batch of row numbers (B,) and its pictures (B, C, H, W).

    Of a set on disk, the next batch is read while the caller works on this one.
    """
    if isinstance(images, Tensor):
        yield from ((row_B, images[row_B]) for row_B in batches)
        return
    with ThreadPoolExecutor(1, thread_name_prefix="next batch") as reader:
        coming: tuple[Tensor, Future[Tensor]] | None = None
        for row_B in batches:
            now, coming = coming, (row_B, reader.submit(images.__getitem__, row_B))
            if now is not None:
                yield now[0], now[1].result()
        if coming is not None:
            yield coming[0], coming[1].result()


def table(rows: int, columns: int) -> Tensor:
    """An unset float32 tensor (rows, columns); a large one lies in a file that vanishes with it.

    A model's scores of a million pictures, for ten thousand people, take 40 GB.
    """
    size = rows * columns
    if 4 * size <= _IN_MEMORY:
        return torch.empty(rows, columns)
    with tempfile.NamedTemporaryFile(prefix="inversionlab-table-") as file:
        file.truncate(4 * size)
        return torch.from_file(file.name, shared=True, size=size).view(rows, columns)


def gathered(parts: Iterable[Tensor], rows: int) -> Tensor:
    """Tensors (n, ...) one after another, `rows` of them in all, on the CPU.

    They are copied into one that is made with the first of them. A list would keep them all, each in a gap that
    something large has left: the next large thing finds no gap of its size, and the heap grows with every part.

    Raises:
        ValueError: there are no parts.
    """
    whole: Tensor | None = None
    first = 0
    for part in parts:
        if whole is None:
            whole = torch.empty(rows, *part.shape[1:], dtype=part.dtype)
        whole[first : first + len(part)] = part
        first += len(part)
    if whole is None:
        raise ValueError("there are no parts")
    return whole


def rows_of(owner_N: Tensor, owners: int) -> list[Tensor]:
    """The rows of each of `owners` numbers, ascending: int64 tensors, found in one pass."""
    order_N = owner_N.argsort(stable=True)
    counts = torch.bincount(owner_N, minlength=owners)
    return list(order_N.split(counts.tolist()))
