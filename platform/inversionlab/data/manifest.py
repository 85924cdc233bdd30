"""What is known of files' contents, so that a later command reads no picture file again.

A manifest maps a file's name, size and time of change to the SHA-256 of its content. A file that has changed in
one of them is read again. A file that changed shortly before it was read is not taken in: it could change once
more within the clock's resolution (git calls such entries racy).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import pyarrow as pa

from inversionlab.core.parquet import pack_table, unpack_table

RACY_NS = 2_000_000_000
"""A file that changed so recently, in nanoseconds, may change again without a new time; FAT keeps 2 seconds."""
_DIGEST = 32
_SCHEMA = pa.schema(
    [
        ("name", pa.binary()),
        ("size", pa.int64()),
        ("modified", pa.int64()),
        ("sha256", pa.binary(_DIGEST)),
        ("transparent", pa.bool_()),
    ]
)


class PictureFile(NamedTuple):  # which is made in a third of a frozen dataclass's time
    """One picture of a set, as it is listed without being opened."""

    person: str
    name: str
    """What a user knows it by, unique below the root: `p00/a.jpg`, `shard-0.tar!p00/a.jpg`."""
    path: str
    """The file that is opened, relative to the root."""
    size: int
    """Bytes of the picture, or of the file at `path` where the picture's own are not known."""
    modified: int
    """When the file at `path` was last changed, in nanoseconds."""
    offset: int | None = None
    """Where the picture begins in the file at `path`, if that is a container of bytes; it is `size` long."""
    row: int | None = None
    """The picture's row, if the file at `path` is a table."""
    box: tuple[float, float, float, float] | None = None
    """The face by the set's own list: left, top, right, bottom, in pixels."""
    points: tuple[float, ...] | None = None
    """x and y of both eyes, nose and both corners of the mouth by the set's own list, in pixels."""


@dataclass(frozen=True, slots=True)
class Listing:
    """The pictures of a set, none of which was opened."""

    files: tuple[PictureFile, ...]
    """Sorted by person and name."""
    skipped: tuple[str, ...] = ()
    """One line for each picture, or kind of file, that was left out: which and why."""


class Content(NamedTuple):
    """What names a picture's content."""

    sha256: str
    """64 hex digits, or why it could not be read."""
    transparent: bool = False
    """Whether parts of it are transparent, so that what lies behind counts."""


class Manifest:
    """What is known of files' contents."""

    def __init__(
        self,
        names: Sequence[str] = (),
        sizes: Sequence[int] = (),
        times: Sequence[int] = (),
        digests: Sequence[bytes] = (),
        transparent: Sequence[bool] = (),
    ) -> None:
        """The columns, one entry a file: name, size, time of change, SHA-256, and whether it is transparent."""
        rows = zip(sizes, times, digests, transparent, strict=True)
        self._known = dict(zip(names, rows, strict=True))

    def __len__(self) -> int:
        return len(self._known)

    def content(self, file: PictureFile) -> Content | None:
        """What names the file's content; None if the file is new or has changed."""
        found = self._known.get(file.name)
        if found is None:
            return None
        size, modified, digest, transparent = found
        if size != file.size or modified != file.modified:
            return None
        return Content(digest.hex(), transparent)


def pack(files: Sequence[PictureFile], contents: Sequence[Content], began_ns: int) -> bytes:
    """A manifest as bytes. `began_ns` is the time, in nanoseconds, before the first file was listed."""
    sound = [
        (file, content)
        for file, content in zip(files, contents, strict=True)
        # A file from the future would stay racy for ever, so it is read every time.
        if file.modified <= began_ns - RACY_NS and len(content.sha256) == 2 * _DIGEST
    ]
    columns = [
        [file.name.encode("utf-8", "surrogateescape") for file, _ in sound],
        [file.size for file, _ in sound],
        [file.modified for file, _ in sound],
        [bytes.fromhex(content.sha256) for _, content in sound],
        [content.transparent for _, content in sound],
    ]
    arrays = [pa.array(c, field.type) for c, field in zip(columns, _SCHEMA, strict=True)]
    return pack_table(pa.table(arrays, schema=_SCHEMA))


def unpack(packed: bytes) -> Manifest | None:
    """The manifest in these bytes; None if they are damaged or hold something else."""
    try:
        table = unpack_table(packed)
        if not table.schema.equals(_SCHEMA):
            return None
        names, *others = (column.to_numpy().tolist() for column in table.columns)
        return Manifest([name.decode("utf-8", "surrogateescape") for name in names], *others)
    except (pa.ArrowException, OSError, ValueError, TypeError, AttributeError):
        return None
