"""MNIST: handwritten digits; a "person" is a digit, "0" to "9".

LeCun, Bottou, Bengio, Haffner, "Gradient-based learning applied to document recognition", 1998. Read from the
idx files (`train-images-idx3-ubyte` and its three siblings, plain or `.gz`) in the root, or in torchvision's
`MNIST/raw` below it. For size 32 the 28x28 pixels are padded with black, for others resized by antialiased
bilinear interpolation. With 3 channels the gray value is repeated.
"""

import hashlib
from pathlib import Path
from typing import ClassVar, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import Field

from inversionlab.core.settings import AbsolutePath, ConfigError, fingerprint
from inversionlab.data.base import DataSet, DataSettings, Pictures, require_folder
from inversionlab.data.idx import SIDE, locate, read_idx, read_unpacked, resize
from inversionlab.data.memory import require_memory

_STEMS = {"train": ("train",), "test": ("t10k",), "both": ("train", "t10k")}
_FOLDERS = ("", "MNIST/raw")
_EXPECTED = "the folder with MNIST's four idx files; `download: true` fetches them"


class MnistSettings(DataSettings):
    """Which part of MNIST, from where, and at what size."""

    inference_only: ClassVar[frozenset[str]] = frozenset({"download"})

    name: Literal["mnist"] = "mnist"
    image_size: int = Field(default=32, ge=16, le=512)
    """Height and width that every picture is resized to, in pixels."""
    channels: Literal[1, 3] = 1
    """Colour channels of a picture: 1 for gray, 3 for the gray value three times."""
    root: AbsolutePath
    """The folder with the idx files, or with torchvision's `MNIST/raw` below it."""
    download: bool = False
    """Let torchvision download missing files into the root."""
    part: Literal["train", "test", "both"] = "both"
    """The 60,000 training pictures, the 10,000 test pictures, or both, in this order."""
    max_pictures_per_person: int | None = Field(default=None, ge=1, le=10_000)
    """Take at most this many pictures of each digit, the first in the files; null: all."""


class Mnist(DataSet):
    """The ten digits as ten "people"."""

    Settings = MnistSettings
    photographs = False
    settings: MnistSettings

    def fingerprint(self) -> str:
        """See `DataSet.fingerprint`. It depends on the unpacked content, so `.gz` makes no difference."""
        content = [
            hashlib.sha256(read_unpacked(path, 8, dimensions)).hexdigest()
            for pair in self._files()
            for path, dimensions in zip(pair, (3, 1), strict=True)
        ]
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
        require_memory(self.settings, len(images_NHW), f"the digits of {self.settings.root}")
        images_NCHW = resize(torch.from_numpy(images_NHW)[:, None], self.settings.image_size)
        images_NCHW = images_NCHW.repeat(1, self.settings.channels, 1, 1)
        person_N = torch.from_numpy(label_N.astype(np.int64))
        return Pictures(images_NCHW, person_N, tuple(str(digit) for digit in range(10)))

    def _files(self) -> list[tuple[Path, Path]]:
        """The (pictures, labels) files of the part; with `download`, missing ones are downloaded."""
        root = self.settings.root
        stems = _STEMS[self.settings.part]
        names = [(f"{s}-images-idx3-ubyte", f"{s}-labels-idx1-ubyte") for s in stems]
        if self.settings.download and not all(
            locate(root, n, _FOLDERS) for pair in names for n in pair
        ):
            from torchvision.datasets import MNIST  # Only a download needs it.

            try:
                MNIST(str(root), download=True)
            except (OSError, RuntimeError) as error:
                raise ConfigError(f"{root}: MNIST could not be downloaded: {error}") from error
        require_folder(root, _EXPECTED)
        return [(_require(root, images), _require(root, labels)) for images, labels in names]


def _require(root: Path, name: str) -> Path:
    if path := locate(root, name, _FOLDERS):
        return path
    raise ConfigError(
        f"{root}: neither `{name}` nor `{name}.gz` is in it or in its `MNIST/raw`; expected {_EXPECTED}"
    )


def _read_pair(images: Path, labels: Path) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    """Pictures (N, 28, 28) and labels (N,) of one part."""
    images_NHW = read_idx(images, 8, 3).astype(np.uint8)
    label_N = read_idx(labels, 8, 1).astype(np.uint8)
    if images_NHW.shape[1:] != (SIDE, SIDE):
        size = "x".join(map(str, images_NHW.shape[1:]))
        raise ConfigError(f"{images}: holds pictures of {size} pixels, not {SIDE}x{SIDE}")
    if len(images_NHW) != len(label_N):
        raise ConfigError(
            f"{images}: holds {len(images_NHW)} pictures, but {labels} holds {len(label_N)} labels"
        )
    if label_N.size and label_N.max() > 9:
        raise ConfigError(f"{labels}: holds the label {label_N.max()}; expected 0 to 9")
    return images_NHW, label_N
