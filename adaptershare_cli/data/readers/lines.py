"""One text file a role: line i of each belongs to row i."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import zip_longest
from pathlib import PurePosixPath

from adaptershare_cli.data.files import read_lines, without_line_end
from adaptershare_cli.data.readers.rows import FilesByRole, RowFault, UncheckedRow, UncheckedRows, fault_in
from adaptershare_cli.data.source_spec import SourceSpec, SplitSpec
from adaptershare_cli.errors import UserError
from adaptershare_cli.kinds.rows.texts import TOO_LONG


def read(files: FilesByRole, split: SplitSpec, spec: SourceSpec) -> UncheckedRows:
    """The rows of the split's files, by role; UserError, once all are read, if they differ in lines."""

    def rows() -> Iterator[UncheckedRow | RowFault]:
        counts = dict.fromkeys(files, 0)
        for position, lines in enumerate(zip_longest(*map(read_lines, files.values()))):
            for role, line in zip(files, lines, strict=True):
                counts[role] += line is not None
            texts = [line[1] for line in lines if line is not None]
            if None in texts:
                role = list(files)[texts.index(None)]
                yield fault_in(files[role], position + 1, "", TOO_LONG)
            elif len(texts) == len(files):
                values = [without_line_end(text) for text in texts if text is not None]
                yield UncheckedRow(position + 1, position, values)
        if len(set(counts.values())) > 1:
            told = ", ".join(f"{files[role].name}: {count}" for role, count in counts.items())
            paths = ", ".join(str(file.path) for file in files.values())
            fix = "Line i of each file is one row; give files with equally many lines."
            raise UserError(f"the files of the split `{split.name}` differ in lines ({told})", paths, fix)

    columns = {role: PurePosixPath(file.name).name for role, file in files.items()}
    return UncheckedRows(columns, {role: file.name for role, file in files.items()}, rows())
