"""What is tracked, and what everything that is told about it has in common."""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import ClassVar, Protocol

from inversionlab.core.settings import fingerprint

Plain = bool | int | float | str


@dataclass(frozen=True)
class Subject:
    """A network in training, or a trial of a search."""

    project: str
    """The recipe's or the search's name."""
    name: str
    """Its name for users."""
    key: str
    """Names it alone, and is the same after an interruption."""
    settings: Mapping[str, Plain]
    compared: bool = False
    """Whether its settings are compared with those of others, as a trial's are."""

    @property
    def id(self) -> str:
        """A hash of what names it."""
        return fingerprint([self.project, self.key])


class Tracker(Protocol):
    """One place that is told about one subject. Any method may raise anything."""

    def log(self, step: int, values: Mapping[str, float]) -> None:
        """Take the values of a step, which rises from call to call."""

    def picture(self, step: int, name: str, png: bytes) -> None:
        """Take a picture of a step."""

    def close(self, *, failed: bool = False) -> None:
        """Note that nothing more comes."""


class Service(Tracker, Protocol):
    """A tracker elsewhere, which `--log-to NAME:ADDRESS` names."""

    library: ClassVar[str]
    """The module that it needs; the extra of the same name installs it."""

    def __init__(self, address: str, subject: Subject) -> None: ...

    @staticmethod
    def fault(address: str) -> str:
        """What is wrong with an address, and what would be right, without a secret; "" where nothing is."""


def plain(settings: object, path: str = "") -> dict[str, Plain]:
    """Nested settings as one level of dotted paths and plain values; what has no value is `null`."""
    return dict(_flat(settings, path))


def _flat(value: object, path: str) -> Iterator[tuple[str, Plain]]:
    inner: Iterator[tuple[object, object]] | None = None
    if isinstance(value, Mapping):
        inner = iter(value.items())
    elif isinstance(value, list | tuple) and any(isinstance(v, Mapping | list) for v in value):
        inner = iter(enumerate(value))
    if inner is not None:
        for key, each in inner:
            yield from _flat(each, f"{path}.{key}" if path else str(key))
    elif isinstance(value, bool | int | float | str):
        yield path, value
    else:
        yield path, "null" if value is None else str(value)


def safe(name: str) -> str:
    """A name of the letters that every service takes."""
    return re.sub(r"[^\w\-. :/]", "-", name)
