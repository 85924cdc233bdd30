"""Nearly equal pictures of different people: a private picture in another size, cut or compression.

Two looks are taken. Perceptual hashes find candidates: which of the 64 lowest frequencies of a 32x32 gray
picture's cosine transform lie above their median (Zauner 2010, "Implementation and benchmarking of perceptual
image hash functions"). It is the pHash of the library ImageHash, which takes pictures one by one. `near_hashes.py`
finds all pairs of hashes that differ in few bits. Then the 32x32 gray pictures themselves are correlated, because
some faces of different people have nearly equal hashes: on LFW 10 pairs differ in at most 4 bits, of which the 5
true copies correlate at 0.993 or more, and no other pair of people above 0.96.
"""

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import Field
from torch import Tensor
from torch.nn import functional

from inversionlab.core.settings import Settings
from inversionlab.data.near_hashes import near_pairs

_SIDE, _LOW = 32, 8
_BATCH = 2048  # pairs at once
_READ = 256  # pictures at once, which become floats of their full size
FLAT = np.uint64(0)
"""The hash of a picture without contrast; half of the bits of any other are set."""
_LUMA = torch.tensor([0.299, 0.587, 0.114]).view(1, 3, 1, 1)
_COSINES = np.cos(np.pi / _SIDE * np.outer(np.arange(_LOW), np.arange(_SIDE) + 0.5))
"""The lowest rows of the cosine transform (DCT-II), up to their scale."""


class NearDuplicates(Settings):
    """When two pictures are nearly equal."""

    bits: int = Field(default=6, ge=0, le=11)
    """The most of the 64 bits in which their perceptual hashes may differ. A larger number finds more and takes
    longer."""
    correlation: float = Field(default=0.98, ge=0.5, le=1)
    """The minimum correlation of their 32x32 gray pictures."""


@dataclass(frozen=True)
class Pictured:
    """One set's pictures, a row each."""

    kind: str
    """What the set is."""
    count: int
    """Pictures in it."""
    pictures: Callable[[NDArray[np.int64]], Tensor]
    """Returns the pictures in some rows as uint8 (n, C, H, W)."""
    person_N: NDArray[np.int64]
    """Positions in `people`."""
    people: Sequence[str]


@dataclass
class Near:
    """What was found."""

    between: Counter[str] = field(default_factory=Counter)
    """Pictures of the first set that nearly equal one of a set of this kind, of somebody else."""
    people: set[tuple[str, str, str]] = field(default_factory=set)
    """Pairs of nearly equal pictures, by the kind of the second set and both people."""


def find_near(mine: Sequence[Pictured], others: Sequence[Pictured], wanted: NearDuplicates) -> Near:
    """The pictures in `mine` that nearly equal one of another person, in `mine` or in `others`."""
    every = [*mine, *others]
    found = Near()
    hash_M = np.concatenate([hashes(part) for part in every])
    part_M = np.repeat(np.arange(len(every)), [part.count for part in every])
    row_M = np.concatenate([np.arange(part.count) for part in every])
    who_M = _people(every)
    first = sum(part.count for part in mine)
    hit: dict[str, set[int]] = {}
    for left, right in near_pairs(hash_M[:first], hash_M, wanted.bits):
        other = (who_M[left] != who_M[right]) & (left < right) & (hash_M[left] != FLAT)
        left, right = left[other], right[other]
        for start in range(0, len(left), _BATCH):
            a, b = left[start : start + _BATCH], right[start : start + _BATCH]
            same = _correlation(every, part_M, row_M, a, b) >= wanted.correlation
            for one, two in zip(a[same].tolist(), b[same].tolist(), strict=True):
                parts = every[part_M[one]], every[part_M[two]]
                names = [
                    p.people[p.person_N[row_M[i]]] for p, i in zip(parts, (one, two), strict=True)
                ]
                hit.setdefault(parts[1].kind, set()).add(one)
                found.people.add((parts[1].kind, names[0], names[1]))
    found.between.update({kind: len(rows) for kind, rows in hit.items()})
    return found


def _people(parts: Sequence[Pictured]) -> NDArray[np.int64]:
    """A number for each row's person; those of one kind and name are one."""
    number: dict[tuple[str, str], int] = {}
    columns = []
    for part in parts:
        of = [number.setdefault((part.kind, name), len(number)) for name in part.people]
        columns.append(np.array(of, dtype=np.int64)[part.person_N])
    return np.concatenate(columns)


def hashes(part: Pictured) -> NDArray[np.uint64]:
    """The perceptual hashes of a set's pictures, read in batches: (N,)."""
    batches = (
        np.arange(start, min(start + _READ, part.count)) for start in range(0, part.count, _READ)
    )
    found = [perceptual_hashes(thumbnails(part.pictures(rows))) for rows in batches]
    return np.concatenate(found) if found else np.zeros(0, dtype=np.uint64)


def thumbnails(images_NCHW: Tensor) -> NDArray[np.float32]:
    """Gray 32x32 pictures (N, 32, 32) with mean 0 and norm 1; a picture without contrast is 0."""
    x_NCHW = images_NCHW.float()
    if x_NCHW.shape[1] == 3:
        x_NCHW = (x_NCHW * _LUMA).sum(1, keepdim=True)
    small = functional.interpolate(
        x_NCHW, (_SIDE, _SIDE), mode="bilinear", antialias=True, align_corners=False
    )
    small = small[:, 0] - small.mean(dim=(1, 2, 3), keepdim=False)[:, None, None]
    norm = small.square().sum(dim=(1, 2), keepdim=True).sqrt()
    values: NDArray[np.float32] = (small / norm.clamp_min(1.0)).numpy()
    return values


def perceptual_hashes(small_NHW: NDArray[np.float32]) -> NDArray[np.uint64]:
    """64 bits of each thumbnail, (N,): which of the 8x8 lowest frequencies lie above their median."""
    low = (_COSINES @ small_NHW @ _COSINES.T).reshape(len(small_NHW), -1)
    bits = low > np.median(low, axis=1, keepdims=True)
    return np.packbits(bits, axis=1).view(np.uint64).reshape(-1)


def _correlation(
    every: Sequence[Pictured],
    part_M: NDArray[np.int64],
    row_M: NDArray[np.int64],
    left: NDArray[np.int64],
    right: NDArray[np.int64],
) -> NDArray[np.float32]:
    """The correlation of each pair's thumbnails."""
    wanted = np.unique(np.concatenate([left, right]))
    small = np.zeros((len(wanted), _SIDE, _SIDE), dtype=np.float32)
    for index, part in enumerate(every):
        here = np.flatnonzero(part_M[wanted] == index)
        if len(here):
            small[here] = thumbnails(part.pictures(row_M[wanted[here]]))
    a, b = (small[np.searchsorted(wanted, rows)] for rows in (left, right))
    products: NDArray[np.float32] = np.einsum("nij,nij->n", a, b)
    return products
