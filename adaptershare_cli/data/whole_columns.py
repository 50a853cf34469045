"""All values of a column of a file whose layout was found out, where its first rows are not enough."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from adaptershare_cli.data.files import DataFile
from adaptershare_cli.data.readers import READERS, read_files
from adaptershare_cli.data.readers.rows import RowFault
from adaptershare_cli.data.sniffing import Sniffed
from adaptershare_cli.data.source_spec import SourceSpec, SplitSpec


def all_values(table: Sniffed, column: str, paths: Sequence[Path]) -> Counter[str]:
    """How often each value stands in a column of all files, as text; rows that cannot be read do not count."""
    spec = SourceSpec(
        "files",
        (),
        columns=(("label", column if table.header else int(column)),),
        pair_if_present=False,
        reader=table.reader,
        quoting=table.quoting or READERS[table.reader].quoting,
        header=table.header,
        skip_rows=table.skip_rows,
        encoding=table.encoding,
        delimiter=table.delimiter,
    )
    files = [{"": DataFile(str(path), path)} for path in paths]
    found = read_files(files, SplitSpec("train", (), table.sheet), spec)
    values = (row.values[0] for row in found.rows if not isinstance(row, RowFault))
    return Counter("" if value is None else str(value).strip() for value in values)
