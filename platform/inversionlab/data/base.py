"""The base of every data set: a source of pictures of people."""

import hashlib
from abc import ABC, abstractmethod
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import Field

from inversionlab.core.paths import did_you_mean
from inversionlab.core.rows import Images
from inversionlab.core.settings import ConfigError, Settings, kind_at


class DataSettings(Settings):
    """Base of the settings of a data set; each data set's class narrows `name` to a literal."""

    name: str
    image_size: int = Field(default=64, ge=16, le=512)
    """Height and width that every picture is resized to, in pixels."""
    channels: Literal[1, 3] = 3
    """Colour channels of a picture: 1 for gray, 3 for RGB."""


@dataclass(frozen=True)
class Pictures:
    """Pictures, and the person on each."""

    images_NCHW: Images
    """uint8 (N, C, H, W)."""
    person_N: torch.Tensor
    """int64 (N,): index into `people`."""
    people: tuple[str, ...]
    """The people's identifiers, sorted. A person is a class of the recognizer."""
    skipped: tuple[str, ...] = ()
    """One line for each picture that was left out: which one and why."""
    content_ND: NDArray[np.uint8] | None = None
    """A digest (N, 16) of each picture's pixels; None: not computed yet."""

    def digests(self) -> NDArray[np.uint64]:
        """What each picture is recognized by, 128 bits as (N, 2); equal pictures have equal ones."""
        content_ND = self.content_ND
        if content_ND is None:
            packed = b"".join(map(content, self.images_NCHW))
            content_ND = np.frombuffer(packed, dtype=np.uint8).reshape(-1, 16)
        return content_ND.view(np.uint64)


def content(x_CHW: torch.Tensor) -> bytes:
    """A digest, 16 bytes, of a picture's pixels."""
    pixels: Any = x_CHW.contiguous().numpy()
    return hashlib.blake2b(pixels, digest_size=16).digest()


class DataSet(ABC):
    """A source of pictures of people."""

    Settings: ClassVar[type[DataSettings]]
    photographs: ClassVar[bool] = True
    """Whether a picture may be a copy of another, in another size or compression; digits and drawings are none."""

    naming: ClassVar[str | None] = None
    """Sets of one naming call the same person by the same name; None: names mean nothing in another set."""

    def __init__(self, settings: Any) -> None:
        """Keep the settings; nothing is read or drawn yet."""
        self.settings = settings

    @abstractmethod
    def fingerprint(self) -> str:
        """A name for the content; equal content has equal names. Much cheaper than `load`.

        Raises:
            ConfigError: the source is missing or empty.
        """

    @abstractmethod
    def load(self) -> Pictures:
        """Read or draw every picture.

        Raises:
            ConfigError: there are no usable pictures; the text says where they were expected.
        """


def require_folder(path: Path, what: str) -> None:
    """Check that `path` is a folder.

    Raises:
        ConfigError: it is missing or not a folder; the text names `what` and the nearest folder that exists.
    """
    there = kind_at(path, origin=str(path))
    if there == "folder":
        return
    if there is not None:
        raise ConfigError(f"{path}: is a file; expected {what}")
    parent = next(p for p in path.parents if p.is_dir())
    missing = parent / path.relative_to(parent).parts[0]
    hint = did_you_mean(missing, folders=True) or f"; `{parent}` has no `{missing.name}`"
    raise ConfigError(f"{path}: there is no such folder (expected {what}){hint}")
