"""A part of a prepared data set: decoded pictures in one file, which is mapped and not read.

A part is a safetensors file named by its place in the set and by its own SHA-256, so that a damaged one is told
from a whole one, and runs that prepare a set at the same time cannot mix up each other's parts.
"""

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Self

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor

from inversionlab.data.base import content
from inversionlab.data.files import FileSet
from inversionlab.data.manifest import PictureFile

PART_BYTES = 2**26
"""Pixels in a part; what a process needs to prepare one bounds its memory."""


@dataclass(frozen=True)
class PartNote:
    """What is known of a part without its pixels."""

    entry_N: NDArray[np.int64]
    """The place of each of its pictures in the set's listing."""
    content_ND: NDArray[np.uint8]
    """A digest (N, 16) of each picture's pixels."""
    faults: tuple[tuple[int, str], ...] = ()
    """Which entries cannot be used, and why."""
    remarks: tuple[tuple[str, int], ...] = ()
    """What was done to some of its pictures, and to how many."""

    def covers(self, entry_N: NDArray[np.int64]) -> bool:
        """Whether it is of exactly these entries, usable or not."""
        unusable_N = np.array([entry for entry, _ in self.faults], dtype=np.int64)
        own_N = np.concatenate([self.entry_N, unusable_N])
        return np.array_equal(np.sort(own_N), np.sort(entry_N))

    def tensors(self) -> dict[str, Tensor]:
        """Its arrays, by their names in a file."""
        return {
            "entry": torch.from_numpy(self.entry_N.copy()),
            "content": torch.from_numpy(self.content_ND.copy()),
        }

    def said(self) -> dict[str, str]:
        """Its texts, by their names in a file."""
        return {"faults": json.dumps(self.faults), "remarks": json.dumps(self.remarks)}

    @classmethod
    def of(cls, tensors: Mapping[str, Tensor], said: Mapping[str, str]) -> Self:
        """The note of these tensors and texts; KeyError, TypeError or ValueError if they are none."""
        return cls(
            entry_N=tensors["entry"].numpy(),
            content_ND=tensors["content"].numpy(),
            faults=tuple((int(i), str(why)) for i, why in json.loads(said["faults"])),
            remarks=tuple((str(what), int(n)) for what, n in json.loads(said["remarks"])),
        )


def part_size(channels: int, side: int) -> int:
    """Pictures in a part."""
    return max(1, PART_BYTES // (channels * side**2))


def decoded(
    source: FileSet,
    files: Sequence[PictureFile],
    entry_N: NDArray[np.int64],
    threads: int | None = None,
) -> tuple[Tensor, PartNote]:
    """The pictures of these files, which are the entries `entry_N` of the listing."""
    size, channels = source.settings.image_size, source.settings.channels
    images_NCHW = np.empty((len(files), channels, size, size), dtype=np.uint8)
    done = source.decode_into(images_NCHW, files, threads)
    kept = [index for index, one in enumerate(done) if not one.fault]
    if len(kept) < len(files):
        images_NCHW = images_NCHW[kept]
    note = PartNote(
        entry_N=entry_N[kept],
        content_ND=contents(torch.from_numpy(images_NCHW)),
        faults=tuple((int(entry_N[i]), one.fault) for i, one in enumerate(done) if one.fault),
        remarks=tuple(sorted(Counter(one.remark for one in done if one.remark).items())),
    )
    return torch.from_numpy(images_NCHW), note


def contents(images_NCHW: Tensor) -> NDArray[np.uint8]:
    """A digest (N, 16) of each picture's pixels."""
    digests = b"".join(map(content, images_NCHW))
    return np.frombuffer(digests, dtype=np.uint8).reshape(len(images_NCHW), 16)


def pack(images_NCHW: Tensor, note: PartNote) -> bytes:
    """A part's file."""
    return save({"images": images_NCHW.contiguous(), **note.tensors()}, metadata=note.said())


def mapped(path: Path, shape: tuple[int, int, int]) -> tuple[Tensor, PartNote] | None:
    """The pictures in a part's file, memory-mapped, and its note; None if it holds something else."""
    try:
        with safe_open(path, framework="pt") as file:
            tensors = {name: file.get_tensor(name) for name in ("images", "entry", "content")}
            note = PartNote.of(tensors, file.metadata())
    except (SafetensorError, KeyError, TypeError, ValueError, RecursionError):
        return None
    images_NCHW, entry_N = tensors["images"], tensors["entry"]
    sound = (
        images_NCHW.dtype == torch.uint8
        and images_NCHW.shape[1:] == shape
        and entry_N.dtype == torch.int64
        and entry_N.shape == images_NCHW.shape[:1]
        and note.content_ND.shape == (len(entry_N), 16)
    )
    return (images_NCHW, note) if sound else None
