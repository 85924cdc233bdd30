"""What every data set is: pictures of people, in memory, and where they came from."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import ClassVar, Literal

import torch
from pydantic import Field

from inversionlab.core.settings import Settings


class DataSettings(Settings):
    """Base of a data set's settings; each data set's own class adds a literal `name`."""

    name: str
    image_size: int = Field(default=64, ge=16, le=512)
    """Height and width that every picture is brought to, in pixels."""
    channels: Literal[1, 3] = 3
    """1: gray; 3: RGB."""


@dataclass(frozen=True)
class Pictures:
    """Pictures and whose they are."""

    images_NCHW: torch.Tensor
    """uint8 (N, C, H, W)."""
    person_N: torch.Tensor
    """int64 (N,): index into `people`."""
    people: tuple[str, ...]
    """The people's identifiers, sorted; a person is what the recognizer calls a class."""
    skipped: tuple[str, ...] = ()
    """One line for each picture that was left out: which one, and why."""


class DataSet(ABC):
    """A source of pictures of people."""

    Settings: ClassVar[type[DataSettings]]

    @abstractmethod
    def fingerprint(self) -> str:
        """A name for the content: equal content, equal name. Cheap beside `load`.

        Raises:
            ConfigError: the source is missing or empty.
        """

    @abstractmethod
    def load(self) -> Pictures:
        """Read or render every picture.

        Raises:
            ConfigError: nothing usable is there; says where it looked and what it expected.
        """
