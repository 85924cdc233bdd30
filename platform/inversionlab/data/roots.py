"""Where a set's files lie: a folder on this machine, or a prefix of a bucket (`pyarrow.fs`).

No name leads out of the root: not by `..`, not as an absolute path, and on this machine not by a link.
"""

import os
from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

from pyarrow import fs

from inversionlab.core.settings import ConfigError
from inversionlab.data.base import require_folder
from inversionlab.data.decoding import ENDINGS, kind_of_other
from inversionlab.data.manifest import Listing, PictureFile
from inversionlab.data.threads import in_threads
from inversionlab.data.walk import walk

NEVER = 1 << 62
"""The time of change of a file of which it is not known: one that no manifest trusts."""


@dataclass(frozen=True)
class Stored:
    """A file below a root."""

    name: str
    size: int
    modified: int


class Root(ABC):
    """A place that holds files."""

    @abstractmethod
    def require(self, expected: str) -> None:
        """Check that it is there.

        Raises:
            ConfigError: it is not; the text says that `expected` was.
        """

    @abstractmethod
    def pictures(
        self, folder: str = "", most: int | None = None, *, loose: bool = False
    ) -> Listing:
        """The pictures below a folder, at most `most` of each folder in it, the first by name.

        A picture's person is its folder, and its name and path start at `folder`. With `loose`, those directly in
        it are taken too, and their person is empty.
        """

    @abstractmethod
    def files(self, ending: str) -> list[Stored]:
        """All files below the root whose names have this ending, by name."""

    @abstractmethod
    def has(self, name: str, *, folder: bool = False) -> bool:
        """Whether there is a file, or a folder, of this name."""

    @abstractmethod
    def open(self, name: str) -> Any:
        """A file for reading, with `read`, `seek` and `tell`, as a context.

        Raises:
            OSError: it cannot be opened.
        """

    def read(self, name: str, offset: int = 0, length: int | None = None) -> bytes:
        """A file's content, or `length` bytes of it from `offset` on.

        Raises:
            OSError: it cannot be read, or is shorter.
        """
        with self.open(name) as stream:
            if offset:
                stream.seek(offset)
            content: bytes = stream.read() if length is None else stream.read(length)
        if length is not None and len(content) < length:
            raise OSError(f"ends after {offset + len(content)} bytes, before this picture does")
        return content

    def first(self, names: Sequence[str], *, folder: bool = False) -> str | None:
        """The first of these names that there is."""
        return next((name for name in names if self.has(name, folder=folder)), None)


class LocalRoot(Root):
    """A folder on this machine."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._real = Path(os.path.realpath(path))
        self._checked: set[Path] = set()

    def require(self, expected: str) -> None:
        """See `Root.require`."""
        require_folder(self._path, expected)

    def pictures(
        self, folder: str = "", most: int | None = None, *, loose: bool = False
    ) -> Listing:
        """See `Root.pictures`."""
        return walk(self._inside(folder), most, loose=loose)

    def files(self, ending: str) -> list[Stored]:
        """See `Root.files`. Links are not followed, and hidden folders are left out."""
        found = []
        for here, folders, names in os.walk(self._path):
            folders[:] = [name for name in folders if not name.startswith(".")]
            for name in names:
                path = Path(here, name)
                hidden = name.startswith(".") or path.is_symlink()
                if name.endswith(ending) and not hidden:
                    status = path.stat()
                    changed = max(status.st_mtime_ns, status.st_ctime_ns)
                    inner = path.relative_to(self._path).as_posix()
                    found.append(Stored(inner, status.st_size, changed))
        return sorted(found, key=lambda stored: stored.name)

    def has(self, name: str, *, folder: bool = False) -> bool:
        """See `Root.has`."""
        path = self._inside(name)
        return path.is_dir() if folder else path.is_file()

    def open(self, name: str) -> Any:
        """See `Root.open`."""
        return self._inside(name).open("rb")

    def _inside(self, name: str) -> Path:
        path = self._path / inner(name)
        # To follow every picture's path would cost more than to open it.
        links = [path.parent] if path.parent not in self._checked else []
        links += [path] if path.is_symlink() else []
        for link in links:
            if name and not Path(os.path.realpath(link)).is_relative_to(self._real):
                raise ConfigError(f"{link}: is a link that leaves {self._path}")
        self._checked.add(path.parent)
        return path


class BucketRoot(Root):
    """A prefix of a bucket."""

    def __init__(self, uri: str) -> None:
        """Open the bucket; nothing is asked of it yet.

        Raises:
            ConfigError: the URI is not understood.
        """
        self._uri = uri
        try:
            self._fs, self._prefix = fs.FileSystem.from_uri(uri)
        except (OSError, ValueError) as error:
            raise ConfigError(f"{uri}: cannot be opened: {error}") from error

    def require(self, expected: str) -> None:
        """See `Root.require`."""
        try:
            there = self._fs.get_file_info(self._prefix).type == fs.FileType.Directory
        except OSError as error:
            raise ConfigError(f"{self._uri}: cannot be reached: {error}") from error
        if not there:
            raise ConfigError(f"{self._uri}: there is no such folder (expected {expected})")

    def pictures(
        self, folder: str = "", most: int | None = None, *, loose: bool = False
    ) -> Listing:
        """See `Root.pictures`."""
        found = self._stored(folder)
        others: Counter[str] = Counter()
        skipped: list[str] = []
        taken: Counter[str] = Counter()
        unclear = [s for s in found if PurePosixPath(s.name).suffix.lower() not in ENDINGS]
        heads = dict(
            zip(unclear, in_threads(lambda s: self._head(folder, s.name), unclear), strict=True)
        )
        files = []
        for stored in found:
            person, _, last = stored.name.rpartition("/")
            if "/." in f"/{person}":
                others["in hidden folders"] += 1
            elif last.startswith("."):
                others["with hidden names"] += 1
            elif stored in heads and (kind := kind_of_other(last, heads[stored])):
                others[kind] += 1
            elif not person and not loose:
                skipped.append(f"{last}: lies directly in the root, in no person's folder")
            elif most is None or taken[person] < most:
                taken[person] += 1
                files.append(
                    PictureFile(person, stored.name, stored.name, stored.size, stored.modified)
                )
        skipped += [f"files {kind}: {n} not read" for kind, n in sorted(others.items())]
        return Listing(tuple(files), tuple(skipped))

    def _head(self, folder: str, name: str) -> bytes:
        try:
            return self.read(f"{folder}/{name}" if folder else name, 0, 12)
        except OSError:
            return b""

    def _stored(self, folder: str) -> list[Stored]:
        """All files below a folder, by folder and name, which start at the folder."""
        top = f"{self._prefix}/{inner(folder)}" if folder else self._prefix
        try:
            infos = self._fs.get_file_info(fs.FileSelector(top, recursive=True))
        except OSError as error:
            raise ConfigError(f"{self._uri}/{folder}: cannot be listed: {error}") from error
        start = len(top) + 1
        found = [
            Stored(i.path[start:], i.size, NEVER if i.mtime is None else i.mtime_ns)
            for i in infos
            # A key may hold anything; what is no plain path is nobody's picture.
            if i.type == fs.FileType.File and is_inner(i.path[start:])
        ]
        return sorted(found, key=lambda s: s.name.rpartition("/")[::2])

    def files(self, ending: str) -> list[Stored]:
        """See `Root.files`."""
        found = [
            stored
            for stored in self._stored("")
            if stored.name.endswith(ending) and "/." not in f"/{stored.name}"
        ]
        return sorted(found, key=lambda stored: stored.name)

    def has(self, name: str, *, folder: bool = False) -> bool:
        """See `Root.has`."""
        kind = fs.FileType.Directory if folder else fs.FileType.File
        found: bool = self._fs.get_file_info(f"{self._prefix}/{inner(name)}").type == kind
        return found

    def open(self, name: str) -> Any:
        """See `Root.open`."""
        return self._fs.open_input_file(f"{self._prefix}/{inner(name)}")


def open_root(address: Path | str) -> Root:
    """The root at an address that a data set's settings name."""
    return LocalRoot(address) if isinstance(address, Path) else BucketRoot(address)


def is_inner(name: str) -> bool:
    """Whether a name is a plain relative path that stays where it starts."""
    parts = name.split("/")
    return not name.startswith("/") and "\0" not in name and not {"..", ".", ""} & set(parts)


def inner(name: str) -> str:
    """The name itself.

    Raises:
        ConfigError: it leads out of its root.
    """
    if name and not is_inner(name):
        raise ConfigError(f"{name!a}: leads out of the set's root")
    return name
