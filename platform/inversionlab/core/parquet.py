"""A table as the bytes of a Parquet file, and back, in this thread alone.

Arrow's own threads may still hold the bytes when the interpreter ends, which then aborts (Arrow's issue 34314).
"""

import pyarrow as pa
import pyarrow.parquet as pq


def pack_table(table: pa.Table) -> bytes:
    """The table, with its schema's metadata, as a Parquet file."""
    sink = pa.BufferOutputStream()
    pq.write_table(table, sink, compression="zstd")
    packed: bytes = sink.getvalue().to_pybytes()
    return packed


def unpack_table(packed: bytes) -> pa.Table:
    """The table in a Parquet file.

    Raises:
        ArrowException, OSError, ValueError: the bytes are damaged or something else.
    """
    return pq.ParquetFile(pa.BufferReader(packed)).read(use_threads=False)
