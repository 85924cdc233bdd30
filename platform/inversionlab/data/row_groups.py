"""The row groups of Parquet tables: how much memory they take, and those that were read last."""

from bisect import bisect_right
from collections import OrderedDict
from dataclasses import dataclass
from itertools import accumulate
from threading import Lock
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from inversionlab.core.settings import ConfigError
from inversionlab.data.decoding import ROOM
from inversionlab.data.roots import Root

_HELD = 4  # row groups in memory at once, if they take no more than ROOM together
_LARGEST = 1 << 31  # bytes of a column in a row group; Arrow keeps no more in one piece
_DENSEST = 100  # times that a column may shrink; files of pictures hardly shrink


@dataclass(frozen=True)
class _Table:
    """What is known of a table without its rows."""

    ends: tuple[int, ...]
    """The first row behind each group."""
    sizes: tuple[int, ...]
    """Bytes of the column in each group, unpacked."""
    leaves: tuple[str, ...]
    """The column, or the columns that it is made of, by their paths."""


def require_moderate(about: pq.FileMetaData, column: str, where: str) -> None:
    """Check that a column of each row group can be held in memory, by what the table says of it.

    Raises:
        ConfigError: a group is too large.
    """
    leaves = _leaves(about, column)
    for number in range(about.num_row_groups):
        group = about.row_group(number)
        chunks = [group.column(leaf) for leaf in leaves]
        size = sum(chunk.total_uncompressed_size for chunk in chunks)
        packed = sum(chunk.total_compressed_size for chunk in chunks)
        if size > _LARGEST or size > max(ROOM, _DENSEST * packed):
            most = f"at most {_LARGEST / 1e6:,.0f} MB are read"
            if size <= _LARGEST:
                most = f"above {ROOM / 1e6:,.0f} MB, at most {_DENSEST} times as much as in the file is read"
            raise ConfigError(
                f"{where}: `{column}` takes {packed / 1e6:,.2f} MB in row group {number}, and {size / 1e6:,.0f} "
                f"MB unpacked; {most}; write the table again with fewer rows in a group"
            )


class RowGroups:
    """A column of the row groups that were read last; threads that read neighbouring rows share them."""

    def __init__(self, root: Root, column: str) -> None:
        self._root, self._column = root, column
        self._tables: dict[str, _Table] = {}
        self._held: OrderedDict[tuple[str, int], pa.ChunkedArray] = OrderedDict()
        self._lock = Lock()

    def value(self, path: str, row: int) -> Any:
        """What a row of a table holds in the column.

        Raises:
            OSError: it cannot be read.
            ValueError: there is no such row, or the table is broken.
        """
        try:
            with self._lock:
                group, first = self._place(path, row)
                column = self._group(path, group)
            return column[row - first].as_py()
        except (pa.ArrowException, LookupError) as error:
            raise ValueError(str(error)) from error

    def _place(self, path: str, row: int) -> tuple[int, int]:
        """The row group of a row, and the group's first row."""
        ends = self._table(path).ends
        group = bisect_right(ends, row)
        if group >= len(ends):
            raise ValueError(f"the table has only {ends[-1] if ends else 0} rows now")
        return group, ends[group - 1] if group else 0

    def _table(self, path: str) -> _Table:
        if path not in self._tables:
            with self._root.open(path) as stream:
                about = pq.ParquetFile(stream).metadata
            leaves = _leaves(about, self._column)
            groups = [about.row_group(number) for number in range(about.num_row_groups)]
            self._tables[path] = _Table(
                tuple(accumulate(group.num_rows for group in groups)),
                tuple(sum(g.column(i).total_uncompressed_size for i in leaves) for g in groups),
                tuple(about.schema.column(leaf).path for leaf in leaves),
            )
        return self._tables[path]

    def _group(self, path: str, group: int) -> pa.ChunkedArray:
        if (path, group) not in self._held:
            self._make_room(self._table(path).sizes[group])
            with self._root.open(path) as stream:
                # As a dictionary, a value that many rows share is in memory once, as in the file.
                file = pq.ParquetFile(stream, read_dictionary=self._table(path).leaves)
                table = file.read_row_group(group, columns=[self._column], use_threads=False)
            self._held[path, group] = table.column(self._column)
        self._held.move_to_end((path, group))
        return self._held[path, group]

    def _make_room(self, size: int) -> None:
        """Let go of groups, those first that were read longest ago, for one of `size` bytes."""
        sizes = [self._tables[path].sizes[group] for path, group in self._held]
        while sizes and (len(sizes) >= _HELD or sum(sizes) + size > ROOM):
            self._held.popitem(last=False)
            del sizes[0]


def _leaves(about: pq.FileMetaData, column: str) -> list[int]:
    """The columns in the file that a column, or a struct, is made of."""
    paths = [about.schema.column(number).path for number in range(about.num_columns)]
    return [i for i, path in enumerate(paths) if path == column or path.startswith(f"{column}.")]
