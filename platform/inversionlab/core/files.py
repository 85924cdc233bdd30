"""Files that the user names: whether they can be read to their end, their bytes and their digests."""

import contextlib
import hashlib
from collections.abc import Iterator
from io import BufferedReader
from pathlib import Path

from inversionlab.core.paths import found
from inversionlab.core.settings import ConfigError

NO_FILE = "there is no such file"


def fault_of_file(path: Path) -> str:
    """Why a path names no file that can be read to its end; "" if it names one."""
    try:
        there = found(path)
    except ValueError as error:
        return str(error)
    if there is None:
        return NO_FILE
    if there == "folder":
        return "is a folder; name a file"
    return "" if there == "file" else "is a pipe or a device; name a file"


@contextlib.contextmanager
def _opened(path: Path, key: str) -> Iterator[BufferedReader]:
    """A file to read; ConfigError if that cannot be done."""
    if fault := fault_of_file(path):
        raise ConfigError(f"{key} = {path}: {fault}")
    try:
        with path.open("rb") as stream:
            yield stream
    except OSError as error:
        raise ConfigError(f"{key} = {path}: cannot be read: {error.strerror}") from error


def read_file(path: Path, key: str, most: int | None = None) -> bytes:
    """The bytes of a file.

    Raises:
        ConfigError: it cannot be read, or has more than `most` bytes; the text names `key` and the path.
    """
    with _opened(path, key) as stream:
        raw = stream.read(-1 if most is None else most + 1)
    if most is not None and len(raw) > most:
        large = f"has more than {most / 1e6:,.0f} MB; is it another file?"
        raise ConfigError(f"{key} = {path}: {large}")
    return raw


def file_digest(path: Path, key: str) -> str:
    """SHA-256 of a file in hex digits; raises as `read_file` does, and holds a block of the file at a time."""
    with _opened(path, key) as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()
