"""The listing of a set that lies in containers, kept so that a later command does not look into them again.

To list what 200,000 members of tar files are called takes seconds, and what the containers themselves are called
takes none. So a listing is kept under the names, sizes and times of change of all containers.
"""

import json

import pyarrow as pa
import pyarrow.parquet as pq

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
    sink = pa.BufferOutputStream()
    table = pa.table(arrays, schema=_SCHEMA.with_metadata(about))
    pq.write_table(table, sink, compression="zstd")
    content: bytes = sink.getvalue().to_pybytes()
    return content


def unpack_listing(packed: bytes, key: str) -> Listing | None:
    """The listing in these bytes; None if it is of other containers, damaged, or something else."""
    try:
        file = pq.ParquetFile(pa.BufferReader(packed))
        about = file.schema_arrow.metadata or {}
        if not file.schema_arrow.equals(_SCHEMA) or about.get(b"key") != key.encode():
            return None
        skipped = tuple(str(line) for line in json.loads(about[b"skipped"]))
        # Without Arrow's threads, one of which could still hold `packed` when the interpreter ends.
        columns = [column.to_numpy().tolist() for column in file.read(use_threads=False).columns]
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
