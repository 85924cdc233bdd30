"""Pictures in Parquet tables, as data hubs export them: a column with the pictures' bytes, one with the person.

A picture is the bytes of an encoded file: a binary column, or a struct with `bytes` (and a `path`, which is not
followed). A person is the text or number in the other column; where the table's own description (`huggingface`)
has names for its numbers, it is the name. Nothing in a table is executed.
"""

import json
from bisect import bisect_right
from collections import OrderedDict
from collections.abc import Iterator, Sequence
from fnmatch import fnmatchcase
from itertools import accumulate
from threading import Lock
from typing import Any, Literal

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray
from pydantic import Field

from inversionlab.core.addresses import Address
from inversionlab.core.settings import ConfigError
from inversionlab.data.base import DataSet, DataSettings
from inversionlab.data.files import FileFields, FileSet, in_storage
from inversionlab.data.lists import by_person
from inversionlab.data.manifest import Listing, PictureFile
from inversionlab.data.names import folded
from inversionlab.data.roots import Root, Stored

_EXPECTED = "a folder with Parquet files"
_HELD = 4  # row groups in memory at once


class ParquetSettings(DataSettings, FileFields):
    """Where the tables are, and which of their columns are read."""

    name: Literal["parquet"] = "parquet"
    root: Address
    """The folder, or a bucket's URI, with the *.parquet files, at any depth."""
    files: tuple[str, ...] = ("*",)
    """Patterns of the files to read, matched against their paths below the root, such as `data/train-*`."""
    picture_column: str = "image"
    """The column with the pictures: binary, or a struct with `bytes`."""
    person_column: str = "label"
    """The column that says who is in the picture: text or whole numbers."""
    max_pictures_per_person: int | None = Field(default=None, ge=1, le=1_000_000)
    """Take at most this many pictures of each person, the first by file and row; null: all."""


class Parquet(FileSet, DataSet):
    """People by a column of a table."""

    Settings = ParquetSettings
    settings: ParquetSettings

    def __init__(self, settings: Any) -> None:
        """Keep the settings; nothing is read yet."""
        super().__init__(settings)
        self._groups: _Groups | None = None

    def containers(self) -> list[Stored]:
        """See `FileSet.containers`."""
        self.root.require(_EXPECTED)
        s = self.settings
        tables = [
            stored
            for stored in self.root.files(".parquet")
            if any(fnmatchcase(stored.name, pattern) for pattern in s.files)
        ]
        if not tables:
            raise ConfigError(f"{s.root}: no *.parquet file in it matches {list(s.files)}")
        return tables

    def listing(self) -> Listing:
        """See `FileSet.listing`; reads the tables' column of people."""
        s, tables = self.settings, self.containers()
        files: list[PictureFile] = []
        skipped: list[str] = []
        for table in tables:
            nobody = 0
            for row, person in enumerate(self._people(table)):
                if person is None or not folded(person):
                    nobody += 1
                    continue
                # Rows sort as numbers do.
                name = f"{table.name}!{row:08d}"
                files.append(
                    PictureFile(person, name, table.name, table.size, table.modified, row=row)
                )
            if nobody:
                skipped.append(f"{table.name}: {nobody} rows without a person")
        self.check_people((file.person for file in files), skipped)
        return by_person(files, skipped, s.max_pictures_per_person)

    def reading_order(self, files: Sequence[PictureFile]) -> NDArray[np.int64]:
        """See `FileSet.reading_order`; tables are read by groups of rows, and a person may be in all of them."""
        order = sorted(range(len(files)), key=lambda index: in_storage(files[index]))
        return np.array(order, dtype=np.int64)

    def unnamed(self) -> frozenset[str]:
        """See `FileSet.unnamed`: the names of the files say which were taken."""
        return frozenset({"files"})

    def read(self, file: PictureFile) -> bytes:
        """See `FileSet.read`."""
        if self._groups is None:
            self._groups = _Groups(self.root, self.settings.picture_column)
        assert file.row is not None
        return self._groups.picture(file.path, file.row)

    def _people(self, table: Stored) -> Iterator[str | None]:
        s = self.settings
        where = f"{s.root}/{table.name}"
        try:
            with self.root.open(table.name) as stream:
                file = pq.ParquetFile(stream)
                schema = file.schema_arrow
                for key in ("picture_column", "person_column"):
                    if getattr(s, key) not in schema.names:
                        raise ConfigError(
                            f"data.{key} = {getattr(s, key)}: {where} has the columns {', '.join(schema.names)}"
                        )
                kind = schema.field(s.picture_column).type
                if not _is_bytes(kind):
                    raise ConfigError(
                        f"data.picture_column = {s.picture_column}: holds {kind} in {where}; expected binary, or "
                        "a struct with `bytes`"
                    )
                names = _class_names(schema, s.person_column)
                column = file.read(columns=[s.person_column], use_threads=False)[0]
        except (OSError, pa.ArrowException) as error:
            raise ConfigError(f"{where}: cannot be read as Parquet: {error}") from error
        if not (pa.types.is_integer(column.type) or _is_text(column.type)):
            raise ConfigError(
                f"data.person_column = {s.person_column}: holds {column.type} in {where}; expected text or whole "
                "numbers"
            )
        for value in column.to_pylist():
            if value is None:
                yield None
            elif names is not None and isinstance(value, int) and 0 <= value < len(names):
                yield names[value]
            else:
                yield str(value)


def _is_bytes(kind: pa.DataType) -> bool:
    if pa.types.is_struct(kind):
        inner = kind.get_field_index("bytes")
        return inner >= 0 and _is_bytes(kind.field(inner).type)
    return bool(pa.types.is_binary(kind) or pa.types.is_large_binary(kind))


def _is_text(kind: pa.DataType) -> bool:
    if pa.types.is_dictionary(kind):
        return _is_text(kind.value_type)
    return bool(pa.types.is_string(kind) or pa.types.is_large_string(kind))


def _class_names(schema: pa.Schema, column: str) -> list[str] | None:
    """The names of a column's numbers, by the table's own description; None if it has none."""
    try:
        about = json.loads((schema.metadata or {})[b"huggingface"])
        names = about["info"]["features"][column]["names"]
    except (KeyError, TypeError, ValueError, RecursionError):
        return None
    return [str(name) for name in names] if isinstance(names, list) else None


class _Groups:
    """The row groups that were read last; threads that read neighbouring rows share them."""

    def __init__(self, root: Root, column: str) -> None:
        self._root, self._column = root, column
        self._ends: dict[str, list[int]] = {}
        self._held: OrderedDict[tuple[str, int], Any] = OrderedDict()
        self._lock = Lock()

    def picture(self, path: str, row: int) -> bytes:
        """The bytes in a row of a table.

        Raises:
            OSError: it cannot be read.
            ValueError: the row holds no bytes.
        """
        with self._lock:
            group, first = self._place(path, row)
            column = self._group(path, group)
        value = column[row - first].as_py()
        content = value.get("bytes") if isinstance(value, dict) else value
        if content is None:
            raise ValueError(
                "holds no bytes; a table must hold its pictures, and not where they are"
            )
        return bytes(content)

    def _place(self, path: str, row: int) -> tuple[int, int]:
        """The row group of a row, and the group's first row."""
        if path not in self._ends:
            with self._root.open(path) as stream:
                about = pq.ParquetFile(stream).metadata
                sizes = [about.row_group(i).num_rows for i in range(about.num_row_groups)]
            self._ends[path] = list(accumulate(sizes))
        ends = self._ends[path]
        group = bisect_right(ends, row)
        if group >= len(ends):
            raise ValueError(f"the table has only {ends[-1] if ends else 0} rows now")
        return group, ends[group - 1] if group else 0

    def _group(self, path: str, group: int) -> Any:
        if (path, group) not in self._held:
            with self._root.open(path) as stream:
                table = pq.ParquetFile(stream).read_row_group(
                    group, columns=[self._column], use_threads=False
                )
            self._held[path, group] = table.column(0)
            while len(self._held) > _HELD:
                self._held.popitem(last=False)
        self._held.move_to_end((path, group))
        return self._held[path, group]
