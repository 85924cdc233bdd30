"""MNIST: handwritten digits; a "person" is a digit, "0" to "9".

LeCun, Bottou, Bengio, Haffner, "Gradient-based learning applied to document recognition", 1998.
Read from the idx files (`train-images-idx3-ubyte` and its three siblings, plain or `.gz`) in the
root or in torchvision's `MNIST/raw` below it. 28x28 is padded with black to 32x32, and otherwise
brought to `image_size` by antialiased bilinear interpolation; with 3 channels the gray value is
repeated.
"""

from __future__ import annotations

import gzip
import hashlib
import zlib
from pathlib import Path
from typing import ClassVar, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import Field
from torch.nn import functional

from inversionlab.core.settings import ConfigError, fingerprint
from inversionlab.data.base import DataSet, DataSettings, Pictures
from inversionlab.data.paths import AbsolutePath, require_folder

_STEMS = {"train": "train", "test": "t10k"}
_MAGIC_IMAGES, _MAGIC_LABELS = 0x803, 0x801
_SIDE = 28
_CHUNK = 4096
_EXPECTED = "the folder with MNIST's four idx files; `download: true` fetches them"


class MnistSettings(DataSettings):
    """Which part of MNIST, from where, and what it is brought to."""

    inference_only: ClassVar[frozenset[str]] = frozenset({"download"})

    name: Literal["mnist"] = "mnist"
    image_size: int = Field(default=32, ge=16, le=512)
    """Height and width that every picture is brought to, in pixels."""
    channels: Literal[1, 3] = 1
    """1: gray; 3: the gray value three times."""
    root: AbsolutePath
    """The folder with the idx files, or with torchvision's `MNIST/raw` below it."""
    download: bool = False
    """Let torchvision download the files into the root where they are missing."""
    part: Literal["train", "test", "both"] = "both"
    """The 60,000 training pictures, the 10,000 test pictures, or both, in this order."""
    max_pictures_per_person: int | None = Field(default=None, ge=1, le=10_000)
    """Take only the first so many pictures of each digit, in the files' order; null: all."""


class Mnist(DataSet):
    """The ten digits as ten "people"."""

    Settings = MnistSettings

    def __init__(self, settings: MnistSettings) -> None:
        """Take the settings; nothing is read yet."""
        self.settings = settings

    def fingerprint(self) -> str:
        """See `DataSet.fingerprint`; of the unpacked content, so that `.gz` or not is the same."""
        content = [hashlib.sha256(_read(p)).hexdigest() for pair in self._files() for p in pair]
        settings = self.settings.model_dump(mode="json", exclude={"root", "download"})
        return fingerprint({"settings": settings, "content": content})

    def load(self) -> Pictures:
        """See `DataSet.load`."""
        parts = [_read_pair(images, labels) for images, labels in self._files()]
        images_NHW = np.concatenate([images for images, _ in parts])
        label_N = np.concatenate([labels for _, labels in parts])
        absent = [str(digit) for digit in range(10) if not (label_N == digit).any()]
        if absent:
            raise ConfigError(f"{self.settings.root}: no picture of the digits {', '.join(absent)}")
        most = self.settings.max_pictures_per_person
        if most is not None:
            firsts = [np.flatnonzero(label_N == digit)[:most] for digit in range(10)]
            kept = np.sort(np.concatenate(firsts))
            images_NHW, label_N = images_NHW[kept], label_N[kept]
        images_NCHW = self._resize(torch.from_numpy(images_NHW)[:, None])
        person_N = torch.from_numpy(label_N.astype(np.int64))
        return Pictures(images_NCHW, person_N, tuple(str(digit) for digit in range(10)))

    def _resize(self, images_NCHW: torch.Tensor) -> torch.Tensor:
        size = self.settings.image_size
        if size == 32:
            sized = functional.pad(images_NCHW, (2, 2, 2, 2))
        elif size == _SIDE:
            sized = images_NCHW
        else:
            sized = torch.cat(
                [_interpolate(chunk, size) for chunk in torch.split(images_NCHW, _CHUNK)]
            )
        return sized.repeat(1, self.settings.channels, 1, 1)

    def _files(self) -> list[tuple[Path, Path]]:
        """The (pictures, labels) files of the part, downloaded where asked for and missing."""
        root = self.settings.root
        names = ["train", "test"] if self.settings.part == "both" else [self.settings.part]
        stems = [
            (f"{_STEMS[n]}-images-idx3-ubyte", f"{_STEMS[n]}-labels-idx1-ubyte") for n in names
        ]
        if self.settings.download and not all(_locate(root, s) for pair in stems for s in pair):
            _download(root)
        require_folder(root, _EXPECTED)
        return [(_require(root, images), _require(root, labels)) for images, labels in stems]


def _interpolate(images_NCHW: torch.Tensor, size: int) -> torch.Tensor:
    sized = functional.interpolate(
        images_NCHW.float(), (size, size), mode="bilinear", antialias=True, align_corners=False
    )
    return sized.round().clamp(0, 255).to(torch.uint8)


def _places(root: Path, stem: str) -> list[Path]:
    folders = (root, root / "MNIST" / "raw")
    return [folder / f"{stem}{end}" for folder in folders for end in ("", ".gz")]


def _locate(root: Path, stem: str) -> Path | None:
    return next((path for path in _places(root, stem) if path.is_file()), None)


def _require(root: Path, stem: str) -> Path:
    path = _locate(root, stem)
    if path is None:
        raise ConfigError(
            f"{root}: neither `{stem}` nor `{stem}.gz` is in it or in its `MNIST/raw`; "
            f"expected {_EXPECTED}"
        )
    return path


def _download(root: Path) -> None:
    from torchvision.datasets import MNIST  # only a download needs it

    try:
        MNIST(str(root), download=True)
    except (OSError, RuntimeError) as error:
        raise ConfigError(f"{root}: MNIST could not be downloaded: {error}") from error


def _read(path: Path) -> bytes:
    """The unpacked content of an idx file."""
    try:
        if path.suffix == ".gz":
            with gzip.open(path) as stream:
                return stream.read()
        return path.read_bytes()
    except (OSError, EOFError, zlib.error) as error:
        raise ConfigError(f"{path}: cannot be read: {error}") from error


def _read_idx(path: Path, magic: int, dimensions: int) -> NDArray[np.uint8]:
    """The array of an idx file of bytes, with its header checked against the length."""
    content = _read(path)
    start = 4 * (1 + dimensions)
    if len(content) < start:
        raise ConfigError(
            f"{path}: has {len(content)} bytes, which is less than its header ({start})"
        )
    header = [int(number) for number in np.frombuffer(content[:start], dtype=">u4")]
    if header[0] != magic:
        raise ConfigError(
            f"{path}: begins with 0x{header[0]:08x}, not with 0x{magic:08x} "
            f"(an idx file of bytes in {dimensions} dimensions)"
        )
    shape = tuple(header[1:])
    expected = int(np.prod(shape, dtype=object))
    if len(content) - start != expected:
        raise ConfigError(
            f"{path}: its header promises {' x '.join(map(str, shape))} = {expected} bytes, "
            f"but {len(content) - start} follow"
        )
    return np.frombuffer(content, dtype=np.uint8, offset=start).reshape(shape)


def _read_pair(images: Path, labels: Path) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    """Pictures (N, 28, 28) and labels (N,) of one part."""
    images_NHW = _read_idx(images, _MAGIC_IMAGES, 3)
    label_N = _read_idx(labels, _MAGIC_LABELS, 1)
    if images_NHW.shape[1:] != (_SIDE, _SIDE):
        found = "x".join(map(str, images_NHW.shape[1:]))
        raise ConfigError(f"{images}: holds pictures of {found} pixels, not {_SIDE}x{_SIDE}")
    if len(images_NHW) != len(label_N):
        raise ConfigError(
            f"{images}: holds {len(images_NHW)} pictures, but {labels} holds {len(label_N)} labels"
        )
    if label_N.size and label_N.max() > 9:
        raise ConfigError(f"{labels}: holds the label {label_N.max()}; expected 0 to 9")
    return images_NHW, label_N
