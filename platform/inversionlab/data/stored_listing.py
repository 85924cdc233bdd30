"""The listing of a set that lies in containers, kept so that a later command does not look into them again.

To list what 200,000 members of tar files are called takes seconds, and what the containers themselves are called
takes none. So a listing is kept under the names, sizes and times of change of all containers.
"""

import json

import pyarrow as pa

from inversionlab.core.parquet import pack_table, unpack_table
from inversionlab.data.manifest import Listing, PictureFile

_SCHEMA = pa.schema(
    [
        ("person", pa.binary()),
        ("name", pa.binary()),
        ("path", pa.binary()),
        ("size", pa.int64()),
        ("modified", pa.int64()),
        ("offset", pa.int64()),
        ("row", pa.int64()),
    ]
)
_NONE = -1


def pack_listing(listing: Listing, key: str) -> bytes:
    """A listing as bytes; `key` says of which containers it is. Its pictures have no boxes and no points."""
    files = listing.files
    columns = [
        [_raw(file.person) for file in files],
        [_raw(file.name) for file in files],
        [_raw(file.path) for file in files],
        [file.size for file in files],
        [file.modified for file in files],
        [_NONE if file.offset is None else file.offset for file in files],
        [_NONE if file.row is None else file.row for file in files],
    ]
    arrays = [pa.array(c, field.type) for c, field in zip(columns, _SCHEMA, strict=True)]
    about = {"key": key, "skipped": json.dumps(listing.skipped)}
    return pack_table(pa.table(arrays, schema=_SCHEMA.with_metadata(about)))


def unpack_listing(packed: bytes, key: str) -> Listing | None:
    """The listing in these bytes; None if it is of other containers, damaged, or something else."""
    try:
        table = unpack_table(packed)
        about = table.schema.metadata or {}
        if not table.schema.equals(_SCHEMA) or about.get(b"key") != key.encode():
            return None
        skipped = tuple(str(line) for line in json.loads(about[b"skipped"]))
        columns = [column.to_numpy().tolist() for column in table.columns]
    except (pa.ArrowException, OSError, ValueError, TypeError, KeyError, RecursionError):
        return None
    # One text for each person and container, however many pictures they have.
    texts: dict[bytes, str] = {}

    def once(raw: bytes) -> str:
        found = texts.get(raw)
        return texts.setdefault(raw, _text(raw)) if found is None else found

    files = tuple(
        PictureFile(
            once(person),
            _text(name),
            once(path),
            size,
            modified,
            None if offset == _NONE else offset,
            None if row == _NONE else row,
        )
        for person, name, path, size, modified, offset, row in zip(*columns, strict=True)
    )
    return Listing(files, skipped)


def _raw(text: str) -> bytes:
    return text.encode("utf-8", "surrogateescape")


def _text(raw: bytes) -> str:
    return raw.decode("utf-8", "surrogateescape")
