"""Files of a storage as local files: those of a local folder themselves, those of a bucket as copies of this node.

A copy is fetched once for all processes of the node, and the copies take a bounded part of its disk.
"""

import fcntl
import hashlib
import os
import tempfile
from contextlib import suppress
from pathlib import Path

from inversionlab.core.environment import COPIES_GB
from inversionlab.store.storage import Storage, make_private, private_file


def local_copy(storage: Storage, file: str, digest: str) -> Path | None:
    """A local path of the file whose content has this SHA-256; None if the content is another.

    Raises:
        FileNotFoundError: there is no such file.
    """
    if storage.local:
        place = Path(storage.path(file))
        return place if _digest(place) == digest else None
    place = _folder() / f"{digest}{Path(file).suffix}"
    with _Lock(place):
        if not (place.is_file() and _digest(place) == digest):
            content = storage.read(file)
            if hashlib.sha256(content).hexdigest() != digest:
                return None
            _make_room(len(content))
            draft = place.with_suffix(".part")
            with open(draft, "wb", opener=private_file) as stream:
                stream.write(content)
            os.replace(draft, place)
        # The copy that was used longest ago is the first to go.
        os.utime(place)
    return place


def _digest(place: Path) -> str:
    with place.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def _folder() -> Path:
    """The copies of this user on this node."""
    folder = Path(tempfile.gettempdir()) / f"inversionlab-copies-{os.getuid()}"
    make_private(folder)
    if folder.stat().st_uid != os.getuid() or folder.is_symlink():
        raise PermissionError(f"{folder}: belongs to another user")
    return folder


class _Lock:
    """Holds the lock of one file, so that several processes fetch it once."""

    def __init__(self, place: Path) -> None:
        self._lock = place.with_suffix(".lock")

    def __enter__(self) -> None:
        self._file = open(self._lock, "ab", opener=private_file)
        fcntl.flock(self._file, fcntl.LOCK_EX)

    def __exit__(self, *_: object) -> None:
        self._file.close()


def _make_room(size: int) -> None:
    """Remove the copies that were used longest ago until `size` more bytes are within the bound."""
    most = COPIES_GB.read() * 2**30
    held = []
    for path in _folder().glob("*.safetensors"):
        # Another process may remove it at the same time.
        with suppress(FileNotFoundError):
            found = path.stat()
            held.append((found.st_mtime, found.st_size, path))
    total = size + sum(bytes_ for _, bytes_, _ in held)
    for _, bytes_, path in sorted(held):
        if total <= most:
            return
        # Who has it mapped keeps it.
        path.unlink(missing_ok=True)
        total -= bytes_
