"""Files of arrays in the idx format (LeCun), plain or packed by gzip or xz, and the resizing of 28x28 digits."""

import gzip
import lzma
import zlib
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch.nn import functional

from inversionlab.core.settings import ConfigError

SIDE = 28
"""Height and width of a digit."""
_CHUNK = 4096
_PACKED = {"": lambda raw: raw, ".gz": gzip.decompress, ".xz": lzma.decompress}
_KINDS = {8: "bytes", 12: "32-bit numbers"}


def locate(root: Path, name: str, folders: Sequence[str]) -> Path | None:
    """The file of this name in one of these folders below the root, plain or packed; None if there is none."""
    places = (root / folder / f"{name}{end}" for folder in folders for end in _PACKED)
    return next((path for path in places if path.is_file()), None)


def read_idx(path: Path, kind: int, dimensions: int) -> NDArray[np.generic]:
    """The array in an idx file, after checking its header against its length.

    `kind` is 8 for bytes (uint8) and 12 for big-endian int32.

    Raises:
        ConfigError: it cannot be read, or is no such file.
    """
    content = read_unpacked(path)
    start = 4 * (1 + dimensions)
    if len(content) < start:
        raise ConfigError(
            f"{path}: has {len(content)} bytes, which is less than its header ({start})"
        )
    magic, width = 256 * kind + dimensions, 4 if kind == 12 else 1
    header = [int(number) for number in np.frombuffer(content[:start], dtype=">u4")]
    if header[0] != magic:
        raise ConfigError(
            f"{path}: begins with 0x{header[0]:08x}, not with 0x{magic:08x} "
            f"(an idx file of {_KINDS[kind]} in {dimensions} dimensions)"
        )
    shape = tuple(header[1:])
    expected = width * int(np.prod(shape, dtype=object))
    if len(content) - start != expected:
        raise ConfigError(
            f"{path}: its header promises {' x '.join(map(str, header[1:]))} = {expected} bytes, "
            f"but {len(content) - start} follow"
        )
    kinds = np.dtype(np.uint8 if kind == 8 else ">i4")
    array: NDArray[np.generic] = np.frombuffer(content, dtype=kinds, offset=start).reshape(shape)
    return array


def read_unpacked(path: Path) -> bytes:
    """The unpacked content of an idx file.

    Raises:
        ConfigError: it cannot be read.
    """
    try:
        unpacked: bytes = _PACKED.get(path.suffix, _PACKED[""])(path.read_bytes())
        return unpacked
    except (OSError, EOFError, zlib.error, lzma.LZMAError) as error:
        raise ConfigError(f"{path}: cannot be read: {error}") from error


def resize(images_NCHW: torch.Tensor, size: int) -> torch.Tensor:
    """Digits (N, 1, 28, 28) at another size: padded with black for 32, else antialiased bilinear interpolation."""
    if size == 32:
        return functional.pad(images_NCHW, (2, 2, 2, 2))
    if size == SIDE:
        return images_NCHW
    parts = []
    for chunk in torch.split(images_NCHW, _CHUNK):
        resized = functional.interpolate(
            chunk.float(), (size, size), mode="bilinear", antialias=True, align_corners=False
        )
        parts.append(resized.round().clamp(0, 255).to(torch.uint8))
    return torch.cat(parts)
