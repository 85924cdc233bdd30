"""Files of arrays in the idx format (LeCun), plain or packed by gzip or xz, and the resizing of 28x28 digits."""

import gzip
import lzma
import math
import zlib
from collections.abc import Callable, Mapping, Sequence
from io import BufferedIOBase
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch.nn import functional

from inversionlab.core.settings import ConfigError

SIDE = 28
"""Height and width of a digit."""
_CHUNK = 4096
_PIECE = 1 << 20  # bytes that are unpacked at once
_LARGEST = 1 << 30  # bytes; the largest file of MNIST and QMNIST holds a third of that
_OPENED: Mapping[str, Callable[[Path], BufferedIOBase]] = {
    "": lambda path: path.open("rb"),
    ".gz": gzip.GzipFile,
    ".xz": lzma.LZMAFile,
}
_KINDS = {8: "bytes", 12: "32-bit numbers"}


def locate(root: Path, name: str, folders: Sequence[str]) -> Path | None:
    """The file of this name in one of these folders below the root, plain or packed; None if there is none."""
    places = (root / folder / f"{name}{end}" for folder in folders for end in _OPENED)
    # What is there and is no file is told when it is read.
    return next((path for path in places if path.exists() and not path.is_dir()), None)


def read_idx(path: Path, kind: int, dimensions: int) -> NDArray[np.generic]:
    """The array in an idx file.

    `kind` is 8 for bytes (uint8) and 12 for big-endian int32.

    Raises:
        ConfigError: see `read_unpacked`.
    """
    content = read_unpacked(path, kind, dimensions)
    start = _start(dimensions)
    kinds = np.dtype(np.uint8 if kind == 8 else ">i4")
    flat: NDArray[np.generic] = np.frombuffer(content, dtype=kinds, offset=start)
    return flat.reshape(_numbers(content[:start])[1:])


def read_unpacked(path: Path, kind: int, dimensions: int) -> bytearray:
    """The unpacked content of an idx file, header and all, after checking its header against its length.

    Raises:
        ConfigError: it cannot be read, or is no such file.
    """
    try:
        if not path.is_file():
            raise OSError("it is a pipe or device, and no regular file")
        with _OPENED.get(path.suffix, _OPENED[""])(path) as stream:
            content = bytearray(stream.read(_start(dimensions)))
            expected = _promised(path, content, kind, dimensions)
            # A small packed file may hold gigabytes of zeros.
            while len(content) <= expected and (piece := stream.read(_PIECE)):
                content += piece
    except (OSError, EOFError, zlib.error, lzma.LZMAError) as error:
        raise ConfigError(f"{path}: cannot be read: {error}") from error
    if len(content) == expected:
        return content
    start = _start(dimensions)
    follow = len(content) - start if len(content) < expected else "more"
    raise ConfigError(f"{_promise(path, content, expected - start)}, but {follow} follow")


def _promised(path: Path, header: bytearray, kind: int, dimensions: int) -> int:
    """The bytes that a file has, header and all, by its header.

    Raises:
        ConfigError: it is no such header, or no such file is as large.
    """
    start = _start(dimensions)
    if len(header) < start:
        raise ConfigError(
            f"{path}: has {len(header)} bytes, which is less than its header ({start})"
        )
    magic, width = 256 * kind + dimensions, 4 if kind == 12 else 1
    found, *shape = _numbers(header)
    if found != magic:
        raise ConfigError(
            f"{path}: begins with 0x{found:08x}, not with 0x{magic:08x} "
            f"(an idx file of {_KINDS[kind]} in {dimensions} dimensions)"
        )
    expected = width * math.prod(shape)
    if expected > _LARGEST:
        raise ConfigError(
            f"{_promise(path, header, expected)}; no file of MNIST or QMNIST holds more than {_LARGEST}"
        )
    return start + expected


def _promise(path: Path, content: bytearray, expected: int) -> str:
    shape = " x ".join(map(str, _numbers(content[: _start(content[3])])[1:]))
    return f"{path}: its header promises {shape} = {expected} bytes"


def _start(dimensions: int) -> int:
    """The length of a header, in bytes."""
    return 4 * (1 + dimensions)


def _numbers(header: bytearray) -> list[int]:
    return [int(number) for number in np.frombuffer(header, dtype=">u4")]


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
