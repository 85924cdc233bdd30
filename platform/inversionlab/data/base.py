"""The base of every data set: a source of pictures of people."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import ClassVar, Literal

import torch
from pydantic import Field

from inversionlab.core.settings import Settings


class DataSettings(Settings):
    """Base of the settings of a data set; each data set's class narrows `name` to a literal."""

    name: str
    image_size: int = Field(default=64, ge=16, le=512)
    """Height and width that every picture is resized to, in pixels."""
    channels: Literal[1, 3] = 3
    """1: gray; 3: RGB."""


@dataclass(frozen=True)
class Pictures:
    """Pictures, and the person on each."""

    images_NCHW: torch.Tensor
    """uint8 (N, C, H, W)."""
    person_N: torch.Tensor
    """int64 (N,): index into `people`."""
    people: tuple[str, ...]
    """The people's identifiers, sorted. A person is a class of the recognizer."""
    skipped: tuple[str, ...] = ()
    """One line for each picture that was left out: which one and why."""


class DataSet(ABC):
    """A source of pictures of people."""

    Settings: ClassVar[type[DataSettings]]

    @abstractmethod
    def fingerprint(self) -> str:
        """A name for the content: equal content has equal names. Much cheaper than `load`.

        Raises:
            ConfigError: the source is missing or empty.
        """

    @abstractmethod
    def load(self) -> Pictures:
        """Read or draw every picture.

        Raises:
            ConfigError: there is nothing usable; says where it looked and what it expected.
        """
