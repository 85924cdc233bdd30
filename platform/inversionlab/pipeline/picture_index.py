"""The index of a prepared data set: what is known of it without its pixels."""

import json
import math
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import torch

from inversionlab.core.parquet import pack_table, unpack_table
from inversionlab.core.rows import Parts, PictureRows
from inversionlab.data.base import Pictures

INDEX = pa.schema([("person", pa.int32()), ("name", pa.binary()), ("content", pa.binary(16))])
"""For every row the person's number, the file's name, and the digest of the pixels."""
PLACE = pa.field("place", pa.int64())
"""Where among the pictures of all parts a row's lies; without this column they lie in order."""


@dataclass(frozen=True)
class SetIndex:
    """What is known of a prepared set without its pixels."""

    name: str
    shape: tuple[int, int, int]
    """Channels, height and width."""
    parts: tuple[tuple[str, int], ...]
    """The files of the parts, and the number of pictures in each."""
    people: tuple[str, ...]
    skipped: tuple[str, ...]
    rows: pa.Table
    """See `INDEX` and `PLACE`."""

    @property
    def place_N(self) -> torch.Tensor | None:
        """Where among the pictures of all parts that of each row lies, int64; None: they lie in order."""
        if PLACE.name not in self.rows.schema.names:
            return None
        return torch.tensor(self.rows[PLACE.name].to_numpy())

    @property
    def size(self) -> int:
        """Bytes of pixels."""
        return int(self.rows.num_rows) * math.prod(self.shape)

    def pictures(self, parts: Parts) -> Pictures:
        """The set."""
        digests = self.rows["content"].combine_chunks()
        content_ND = np.frombuffer(b"".join(digests.to_pylist()), np.uint8).reshape(-1, 16)
        return Pictures(
            images_NCHW=PictureRows(parts, name=self.name),
            person_N=torch.tensor(self.rows["person"].to_numpy(), dtype=torch.int64),
            people=self.people,
            skipped=self.skipped,
            content_ND=content_ND,
        )

    def pack(self) -> bytes:
        """The index as a Parquet file."""
        note = {"shape": self.shape, "parts": self.parts, "people": self.people}
        said = {"set": json.dumps(note), "skipped": json.dumps(self.skipped)}
        return pack_table(self.rows.replace_schema_metadata(said))


def unpack_index(name: str, packed: bytes) -> SetIndex | None:
    """The index in these bytes; None if they are damaged or hold something else."""
    try:
        rows = unpack_table(packed)
        said = rows.schema.metadata or {}
        note, skipped = json.loads(said[b"set"]), json.loads(said[b"skipped"])
        index = SetIndex(
            name,
            tuple(note["shape"]),
            tuple((str(part), int(count)) for part, count in note["parts"]),
            tuple(note["people"]),
            tuple(skipped),
            rows.replace_schema_metadata(),
        )
    except (pa.ArrowException, OSError, ValueError, TypeError, KeyError):
        return None
    counted = sum(count for _, count in index.parts)
    sound = counted == rows.num_rows and len(index.shape) == 3
    if rows.schema.equals(INDEX.append(PLACE)):
        place_N = np.sort(rows[PLACE.name].to_numpy())
        return index if sound and np.array_equal(place_N, np.arange(counted)) else None
    return index if sound and rows.schema.equals(INDEX) else None
