"""QMNIST: MNIST's digits made again from NIST's pages, with 50,000 more; a "person" is a digit, "0" to "9".

Yadav, Bottou, "Cold Case: The Lost MNIST Digits", NeurIPS 2019. Read from the idx files
`qmnist-train-images-idx3-ubyte`, `qmnist-train-labels-idx2-int`, their siblings for `test`, and `xnist-...`,
plain or packed by gzip or xz, in the root or in torchvision's `QMNIST/raw` below it. `train` and `test10k` hold
MNIST's own digits, pixel by pixel nearly equal; `test50k` holds the digits that MNIST had lost.
"""

import hashlib
from pathlib import Path
from typing import Literal

import numpy as np
import torch
from pydantic import Field

from inversionlab.core.settings import AbsolutePath, ConfigError, fingerprint
from inversionlab.data.base import DataSet, DataSettings, Pictures, require_folder
from inversionlab.data.idx import SIDE, locate, read_idx, read_unpacked, resize
from inversionlab.data.memory import require_memory

_FOLDERS = ("", "QMNIST/raw")
_STEMS = {"train": "qmnist-train", "test": "qmnist-test", "nist": "xnist"}
_PARTS = {"test10k": slice(0, 10_000), "test50k": slice(10_000, None)}
_EXPECTED = "the folder with QMNIST's idx files"


class QmnistSettings(DataSettings):
    """Which part of QMNIST, from where, and at what size."""

    name: Literal["qmnist"] = "qmnist"
    image_size: int = Field(default=32, ge=16, le=512)
    """Height and width that every picture is resized to, in pixels."""
    channels: Literal[1, 3] = 1
    """Colour channels of a picture: 1 for gray, 3 for the gray value three times."""
    root: AbsolutePath
    """The folder with the idx files, or with torchvision's `QMNIST/raw` below it."""
    part: Literal["train", "test", "test10k", "test50k", "nist"] = "train"
    """train: 60,000 digits, those of MNIST's training set. test: 60,000; its first 10,000 (test10k) are MNIST's
    test set, and the others (test50k) are in no part of MNIST. nist: all 402,953 of NIST."""
    max_pictures_per_person: int | None = Field(default=None, ge=1, le=1_000_000)
    """Take at most this many pictures of each digit, the first in the files; null: all."""


class Qmnist(DataSet):
    """The ten digits as ten "people"."""

    Settings = QmnistSettings
    photographs = False
    settings: QmnistSettings

    def fingerprint(self) -> str:
        """See `DataSet.fingerprint`. It depends on the unpacked content, so packing makes no difference."""
        content = [hashlib.sha256(read_unpacked(path)).hexdigest() for path in self._files()]
        settings = self.settings.model_dump(mode="json", exclude={"root"})
        return fingerprint({"settings": settings, "content": content})

    def load(self) -> Pictures:
        """See `DataSet.load`."""
        images, labels = self._files()
        images_NHW, label_NL = read_idx(images, 8, 3), read_idx(labels, 12, 2)
        if images_NHW.shape[1:] != (SIDE, SIDE) or label_NL.shape[1] < 1:
            raise ConfigError(f"{images}: holds {images_NHW.shape}, and {labels} {label_NL.shape}")
        if len(images_NHW) != len(label_NL):
            raise ConfigError(
                f"{images}: holds {len(images_NHW)} pictures, but {labels} holds {len(label_NL)} labels"
            )
        part = _PARTS.get(self.settings.part, slice(None))
        # The first of the eight labels is the digit; the others say who wrote it, and where it was found.
        digit_N = label_NL[part, 0].astype(np.int64)
        present = set(np.unique(digit_N).tolist())
        if present != set(range(10)):
            raise ConfigError(f"{labels}: holds the digits {sorted(present)}; expected 0 to 9")
        kept = np.arange(len(digit_N))
        if (most := self.settings.max_pictures_per_person) is not None:
            firsts = [np.flatnonzero(digit_N == digit)[:most] for digit in range(10)]
            kept = np.sort(np.concatenate(firsts))
        require_memory(self.settings, len(kept), f"the digits of {self.settings.root}")
        chosen = torch.from_numpy(images_NHW[part][kept].astype(np.uint8))
        images_NCHW = resize(chosen[:, None], self.settings.image_size)
        images_NCHW = images_NCHW.repeat(1, self.settings.channels, 1, 1)
        people = tuple(str(digit) for digit in range(10))
        return Pictures(images_NCHW, torch.from_numpy(digit_N[kept]), people)

    def _files(self) -> tuple[Path, Path]:
        """The files of pictures and of labels."""
        root, part = self.settings.root, self.settings.part
        require_folder(root, _EXPECTED)
        stem = _STEMS["test" if part in _PARTS else part]
        found = []
        for name in (f"{stem}-images-idx3-ubyte", f"{stem}-labels-idx2-int"):
            if (path := locate(root, name, _FOLDERS)) is None:
                raise ConfigError(
                    f"{root}: neither it nor its `QMNIST/raw` has `{name}`, plain, .gz or .xz; expected "
                    f"{_EXPECTED}"
                )
            found.append(path)
        return found[0], found[1]
