"""Parquet files by their path: the one place that tells pyarrow where a file lies.

pyarrow takes a relative path for a remote address if it begins as one does (`run:1/x.parquet`), and a folder
`a=1` for a column of a data set. A path here is a path of this machine, whatever signs it has.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

if TYPE_CHECKING:
    import pyarrow as pa
    import pyarrow.parquet as pq

PARQUET: dict[str, Any] = {"compression": "zstd", "write_page_checksum": True}  # how a file is written


def read_parquet(path: Path, columns: list[str] | None = None) -> pa.Table:
    """A file's table, or some of its columns; page checksums are verified where it has them."""
    with open_parquet(path) as file:  # not `read_table`, which imports pandas
        return file.read(columns)


def open_parquet(path: Path, **options: Any) -> pq.ParquetFile:
    """A file to read in pieces; page checksums are verified where it has them."""
    import pyarrow.parquet as pq

    return pq.ParquetFile(path.absolute(), page_checksum_verification=True, **options)


def parquet_writer(stream: BinaryIO, schema: pa.Schema) -> pq.ParquetWriter:
    """A writer of a file in pieces, on a stream; written as `write_parquet` does."""
    import pyarrow.parquet as pq

    return pq.ParquetWriter(stream, schema, **PARQUET)


def write_parquet(table: pa.Table, path: Path) -> None:
    """Write one file: zstd, page checksums; the same table gives the same bytes."""
    import pyarrow.parquet as pq

    pq.write_table(table, path.absolute(), **PARQUET)
