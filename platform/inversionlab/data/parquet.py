"""Pictures in Parquet tables, as data hubs export them: a column with the pictures' bytes, one with the person.

A picture is the bytes of an encoded file: a binary column, or a struct with `bytes` (and a `path`, which is not
followed). A person is the text or number in the other column; where the table's own description (`huggingface`)
has names for its numbers, it is the name. Nothing in a table is executed.
"""

import json
from collections.abc import Iterator, Sequence
from fnmatch import fnmatchcase
from typing import Any, Literal

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray
from pydantic import Field

from inversionlab.core.addresses import Address
from inversionlab.core.settings import ConfigError
from inversionlab.core.text import is_text
from inversionlab.data.base import DataSet, DataSettings
from inversionlab.data.files import FileFields, FileSet, in_storage
from inversionlab.data.lists import by_person
from inversionlab.data.manifest import Listing, PictureFile
from inversionlab.data.names import folded
from inversionlab.data.roots import Stored
from inversionlab.data.row_groups import RowGroups, require_moderate

_EXPECTED = "a folder with Parquet files"
_ROWS = 1 << 14  # of which people are read at once
_NO_LABEL = -1  # where numbers have names, as the hubs mark a row without one


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
        self._groups: RowGroups | None = None

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
            self._groups = RowGroups(self.root, self.settings.picture_column)
        assert file.row is not None
        value = self._groups.value(file.path, file.row)
        content = value.get("bytes") if isinstance(value, dict) else value
        if content is None:
            raise ValueError(
                "holds no bytes; a table must hold its pictures, and not where they are"
            )
        return bytes(content)

    def _people(self, table: Stored) -> Iterator[str | None]:
        """Who is on the picture in each row; None: nobody is named."""
        column, where = self.settings.person_column, f"{self.settings.root}/{table.name}"
        try:
            with self.root.open(table.name) as stream:
                file = pq.ParquetFile(stream)
                self._check(file, where)
                names = _class_names(file.schema_arrow, column, where)
                for row, value in enumerate(_values(file, column, where)):
                    yield _person(value, names, f"{where}!{row:08d}: `{column}`")
        except (OSError, UnicodeDecodeError, pa.ArrowException) as error:
            raise ConfigError(f"{where}: cannot be read as Parquet: {error}") from error

    def _check(self, file: pq.ParquetFile, where: str) -> None:
        """Refuse a table in which the two columns are not, or not once, or hold something else."""
        s, schema = self.settings, file.schema_arrow
        for key in ("picture_column", "person_column"):
            column = getattr(s, key)
            if (count := schema.names.count(column)) != 1:
                has = f"{count} columns of this name:" if count else "the columns"
                raise ConfigError(
                    f"data.{key} = {column}: {where} has {has} {', '.join(schema.names)}"
                )
            require_moderate(file.metadata, column, where)
        kind = schema.field(s.picture_column).type
        if not _holds_bytes(kind):
            raise ConfigError(
                f"data.picture_column = {s.picture_column}: holds {kind} in {where}; expected binary, or "
                "a struct with `bytes`"
            )
        kind = schema.field(s.person_column).type
        if not (pa.types.is_integer(kind) or _is_text(kind)):
            raise ConfigError(
                f"data.person_column = {s.person_column}: holds {kind} in {where}; expected text or whole "
                "numbers"
            )


def _holds_bytes(kind: pa.DataType) -> bool:
    if not pa.types.is_struct(kind):
        return _is_bytes(kind)
    inner = kind.get_field_index("bytes")
    return inner >= 0 and _is_bytes(kind.field(inner).type)


def _is_bytes(kind: pa.DataType) -> bool:
    return bool(pa.types.is_binary(kind) or pa.types.is_large_binary(kind))


def _is_text(kind: pa.DataType) -> bool:
    if pa.types.is_dictionary(kind):
        return _is_text(kind.value_type)
    return bool(pa.types.is_string(kind) or pa.types.is_large_string(kind))


def _class_names(schema: pa.Schema, column: str, where: str) -> list[str] | None:
    """The names of a column's numbers, by the table's own description; None if it has none.

    Raises:
        ConfigError: one of them is no text.
    """
    try:
        about = json.loads((schema.metadata or {})[b"huggingface"])
        names = about["info"]["features"][column]["names"]
    except (KeyError, TypeError, ValueError, RecursionError):
        return None
    if not isinstance(names, list) or not names:
        return None
    for number, name in enumerate(names):
        if not isinstance(name, str | int) or not is_text(str(name)):
            raise ConfigError(
                f"{where}: its description (`huggingface`) names class {number} of `{column}` {name!a}; expected "
                "text in UTF-8"
            )
    return [str(name) for name in names]


def _values(file: pq.ParquetFile, column: str, where: str) -> Iterator[Any]:
    """The values of a column of texts or numbers, row by row.

    Raises:
        ConfigError: a text is none.
    """
    row = 0
    for batch in file.iter_batches(_ROWS, columns=[column], use_threads=False):
        for value in batch.column(column):
            try:
                yield value.as_py()
            except UnicodeDecodeError as error:
                raise ConfigError(
                    f"{where}!{row:08d}: `{column}` is not text in UTF-8: {error.reason}"
                ) from error
            row += 1


def _person(value: Any, names: list[str] | None, where: str) -> str | None:
    """Who a value of the column of people means; None: nobody.

    Raises:
        ConfigError: there are names for the numbers, and none for this one.
    """
    if value is None:
        return None
    if names is None or not isinstance(value, int):
        return str(value)
    if value == _NO_LABEL:
        return None
    if not 0 <= value < len(names):
        raise ConfigError(
            f"{where} is {value}, and the table has names for 0 to {len(names) - 1} alone; -1 means nobody"
        )
    return names[value]
