"""Files in a local folder or bucket, through `pyarrow.fs`. A file appears whole or not at all."""

import errno
import json
import os
import shutil
import sys
import threading
import uuid
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path, PurePosixPath
from typing import Any, TypeVar, cast

from pyarrow import fs

from inversionlab.core.settings import ConfigError
from inversionlab.core.yaml_io import cut
from inversionlab.store.address import full_address, is_uri

T = TypeVar("T")

SECONDS = 60.0
"""Time that a storage has to open."""


class StorageError(RuntimeError):
    """A file could not be written or read; the text says which, where, why, and how much room is left."""


def unreadable(place: str, error: OSError) -> StorageError:
    """The error for a file or folder that is there and cannot be read."""
    return StorageError(
        f"{place}: could not be read: {error.strerror or error}. Once it can be, run the same command again"
    )


def _opened(root: str) -> tuple[fs.FileSystem, str]:
    """The file system of a root and the root's path in it, where its folder is made."""
    # A path may hold `?`, `%` or `#`, which mean something in a URI.
    opened, prefix = fs.FileSystem.from_uri(root) if is_uri(root) else (fs.LocalFileSystem(), root)
    if isinstance(opened, fs.LocalFileSystem):
        make_private(Path(prefix))
    else:
        opened.create_dir(prefix, recursive=True)
    return opened, prefix


def make_private(folder: Path) -> None:
    """Make a folder, and those above it that are missing, for the owner alone; one that exists stays as it is.

    Raises:
        OSError: it cannot be made.
    """
    if folder.is_dir():
        return
    make_private(folder.parent)
    try:
        folder.mkdir(0o700)
    except FileExistsError:
        # Another process may have made it.
        if not folder.is_dir():
            raise


def private_file(path: str, flags: int) -> int:
    """An `opener` for `open`: what it creates is readable by its owner alone."""
    return os.open(path, flags, 0o600)


def _within(seconds: float, call: Callable[[], T]) -> T:
    """What `call` returns or raises; OSError if it takes longer than `seconds`, and it goes on in its thread."""
    outcome: Future[T] = Future()

    def run() -> None:
        try:
            outcome.set_result(call())
        except BaseException as error:
            outcome.set_exception(error)

    # Google's client repeats a request for a quarter of an hour, and says nothing.
    threading.Thread(target=run, daemon=True, name="opening a storage").start()
    try:
        return outcome.result(timeout=seconds)
    except TimeoutError as error:
        if outcome.done():
            raise
        raise OSError(
            f"it did not answer within {seconds:g} s; are the address, the network and the credentials right?"
        ) from error


def _no_larger_than_floats(text: str) -> int:
    number = int(text)
    if abs(number) > sys.float_info.max:
        raise ValueError(f"a number of {len(text)} digits")
    return number


class Storage:
    """A root folder or bucket prefix; every name is relative to it and may not leave it.

    In a local folder, what is written is readable by its owner alone: pictures of private people are in it.
    """

    def __init__(self, root: str) -> None:
        """Open `root`: a local path (made absolute) or a URI such as `s3://bucket/prefix`.

        Raises:
            ConfigError: the root cannot be opened or made.
        """
        self.root = full_address(root)
        try:
            self._fs, self._prefix = _within(SECONDS, partial(_opened, self.root))
        except (OSError, ValueError) as error:
            raise ConfigError(
                f"--storage {cut(root)}: cannot be opened or made: {error}"
            ) from error
        self.local = isinstance(self._fs, fs.LocalFileSystem)

    def path(self, name: str) -> str:
        """The full path of `name` inside the file system.

        Raises:
            ValueError: the name would leave the root.
        """
        parts = PurePosixPath(name).parts
        if name.startswith("/") or ".." in parts:
            raise ValueError(f"{name}: leads out of the storage root")
        return f"{self._prefix}/{name}"

    def uri(self, name: str) -> str:
        """The full address of `name`, for use outside this class; a URI's options stay at its end."""
        root, mark, options = self.root.partition("?") if is_uri(self.root) else (self.root, "", "")
        return f"{root}/{name}{mark}{options}"

    def exists(self, name: str) -> bool:
        """Whether there is a file of this name."""
        return bool(self._fs.get_file_info(self.path(name)).type == fs.FileType.File)

    def size(self, name: str) -> int:
        """The bytes of a file; 0 where there is none."""
        return int(self._fs.get_file_info(self.path(name)).size or 0)

    def read(self, name: str) -> bytes:
        """The whole file.

        Raises:
            FileNotFoundError: there is none.
        """
        with self._fs.open_input_file(self.path(name)) as stream:
            return cast(bytes, stream.read())

    def write(self, name: str, content: bytes) -> None:
        """Write a whole file: a reader sees the old one or the new one, never a part.

        A bucket's put is atomic; a local file is written to a draft, synced, and moved into place.

        Raises:
            StorageError: it cannot be written, for instance because the disk is full; the old file stays.
        """
        with self._writing(name, len(content)) as target:
            if not self.local:
                self._put(target, content)
                return
            folder, _, last = target.rpartition("/")
            draft = f"{folder}/.{last}.{uuid.uuid4().hex}.part"
            try:
                with open(draft, "wb", opener=private_file) as file:
                    file.write(content)
                    file.flush()
                    os.fsync(file.fileno())
                os.replace(draft, target)
            finally:
                Path(draft).unlink(missing_ok=True)

    def create_new(self, name: str, content: bytes) -> bool:
        """Write a file unless there is one; returns whether it was written.

        In a local folder exactly one of many callers wins. In a bucket two callers at once may both get True,
        and the last one's content stays, so wait a moment and read it back.

        Raises:
            StorageError: it cannot be written.
        """
        with self._writing(name, len(content)) as target:
            if not self.local:
                if self.exists(name):
                    return False
                self._put(target, content)
                return True
            try:
                file = open(target, "xb", opener=private_file)  # noqa: SIM115 (closed below)
            except FileExistsError:
                return False
            try:
                with file:
                    file.write(content)
            except OSError:
                Path(target).unlink(missing_ok=True)
                raise
            return True

    def _put(self, target: str, content: bytes) -> None:
        with self._fs.open_output_stream(target) as stream:
            stream.write(content)

    @contextmanager
    def _writing(self, name: str, size: int) -> Iterator[str]:
        """Make the folder of `name`, yield its full path, and explain a failure to write `size` bytes."""
        target = self.path(name)
        try:
            self._make(target.rpartition("/")[0])
            yield target
        except OSError as error:
            room, once = "", "it can be"
            if error.errno not in (errno.EROFS, errno.EACCES, errno.EPERM):
                once = "there is room"
                if self.local:
                    room = f"; {shutil.disk_usage(self._prefix).free / 1e6:,.1f} MB are free there"
            raise StorageError(
                f"{self.uri(name)}: {size / 1e6:,.1f} MB could not be written: {error.strerror or error}{room}. "
                f"Stored work stays; once {once}, the same command continues from there"
            ) from error

    def make_folder(self, name: str) -> None:
        """Make a folder, in a local storage for the owner alone, so that others' files in it are too.

        Raises:
            OSError: it cannot be made.
        """
        self._make(self.path(name))

    def _make(self, folder: str) -> None:
        if self.local:
            make_private(Path(folder))
        else:
            self._fs.create_dir(folder, recursive=True)

    def delete(self, name: str) -> None:
        """Delete a file if there is one."""
        # Another process may delete it at the same time.
        with suppress(FileNotFoundError):
            if self.exists(name):
                self._fs.delete_file(self.path(name))

    def set_aside(self, name: str) -> None:
        """Rename a file to `NAME.damaged`, replacing an older one.

        Raises:
            OSError: it is gone, or may not be renamed.
        """
        self._fs.move(self.path(name), self.path(f"{name}.damaged"))

    def files(self, folder: str, suffix: str = "") -> list[str]:
        """Names of the files directly in `folder` that end in `suffix`, sorted; drafts are left out.

        Raises:
            StorageError: the folder cannot be read.
        """
        return sorted(
            f"{folder}/{info.base_name}"
            for info in self._entries(folder)
            if info.type == fs.FileType.File
            and info.base_name.endswith(suffix)
            and not info.base_name.startswith(".")
        )

    def folders(self, folder: str) -> list[str]:
        """Names of the folders directly in `folder`, sorted; raises as `files` does."""
        infos = self._entries(folder)
        return sorted(i.base_name for i in infos if i.type == fs.FileType.Directory)

    def _entries(self, folder: str) -> list[fs.FileInfo]:
        selector = fs.FileSelector(self.path(folder), allow_not_found=True)
        try:
            return list(self._fs.get_file_info(selector))
        except OSError as error:
            raise unreadable(self.uri(folder), error) from error

    def read_json(self, name: str) -> Any:
        """A JSON file's value.

        Raises:
            ValueError: it is no JSON, or holds a number that is too large for a float.
        """
        return json.loads(self.read(name), parse_int=_no_larger_than_floats)

    def write_json(self, name: str, value: Any) -> None:
        """Write a value as a whole JSON file."""
        self.write(name, json.dumps(value, indent=2, sort_keys=True).encode())
