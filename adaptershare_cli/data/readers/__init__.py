"""Readers: the files of one split become rows whose values nobody has checked yet.

A reader is a record in `READERS` and a module of this room with one function, `read(files, split, spec)`, that is
imported on use. Readers know how files are laid out; whether a value will do (labels, ranges, empty texts) is checked
afterwards, alike for all of them. Rows are read while they are asked for, so the disk alone bounds a file's size.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from importlib import import_module
from itertools import chain
from typing import TYPE_CHECKING, Literal

from adaptershare_cli.errors import UserError

if TYPE_CHECKING:
    from adaptershare_cli.data.readers.rows import FilesByRole, UncheckedRows
    from adaptershare_cli.data.source_spec import SourceSpec, SplitSpec


@dataclass(frozen=True)
class Reader:
    """How files of one layout are read, and what a definition may say of them."""

    name: str  # as a definition writes it
    module: str  # in this room, with a function `read`
    summary: str  # what a file of this layout holds
    options: tuple[str, ...] = ()  # keys of a block that it takes beside reader, splits and label_map
    # How a split names its files: by one path; by one for each role (or by the folder that holds those, whose names
    # are then those of the columns); or by a path and the key of a list, or a sheet, in that file.
    splits: Literal["file", "file per role", "key in file", "sheet in file"] = "file"
    rows: tuple[str, ...] = (
        "texts",
        "words",
    )  # what it can give: one text and label a row, or lists of words and labels
    quoting: Literal["", "none", "standard"] = ""  # where a definition does not say; "" for a layout without quotes
    numbered_columns: bool = False  # there is never a header, so columns have numbers
    columns: tuple[str, ...] = ()  # their names, where they are the same in all files
    defaults: Mapping[str, str] = field(default_factory=dict)  # by role the column that is meant where none is written


_OF_ROWS = ("columns", "split_column", "decimal")
_OF_TABLES = (*_OF_ROWS, "quoting", "header", "skip_rows", "comment", "encoding", "delimiter")

READERS = {
    reader.name: reader
    for reader in (
        Reader(
            "tsv", "delimited", "one row a line, fields parted by tabs, a first line that names the columns",
            options=_OF_TABLES, quoting="none",
        ),
        Reader(
            "csv", "delimited", "one row a line, fields parted by commas, a first line that names the columns",
            options=_OF_TABLES, quoting="standard",
        ),
        Reader("jsonl", "jsonl", "one JSON object a line", options=(*_OF_ROWS, "encoding")),
        Reader(
            "json", "json_list", "a JSON list of objects, or an object that holds one",
            options=(*_OF_ROWS, "encoding", "records"),
        ),
        Reader(
            "xlsx", "xlsx", "an Excel workbook, one row a row of a sheet, a first row that names the columns",
            options=(*_OF_ROWS, "header", "skip_rows", "sheet"), splits="sheet in file", rows=("texts",),
        ),
        Reader("parquet", "parquet", "a Parquet file", options=("columns", "split_column")),
        Reader(
            "lines", "lines", "a folder with one file a column; line i of each belongs to row i",
            options=("columns", "encoding", "decimal"), splits="file per role",
        ),
        Reader(
            "clinc", "clinc", "one JSON object whose keys hold lists of [text, intent]",
            options=("encoding",), splits="key in file", rows=("texts",),
        ),
        Reader(
            "conll", "conll", "one word a line with its labels in columns, an empty line after each sentence",
            options=("columns", "comment", "encoding"), rows=("words",), numbered_columns=True,
        ),
        Reader(
            "conllu", "conllu", "CoNLL-U, whose columns have names; the text is `form`",
            options=("columns", "encoding"), rows=("words",),
            columns=("id", "form", "lemma", "upos", "xpos", "feats", "head", "deprel", "deps", "misc"),
            defaults={"text": "form"},
        ),
    )
}  # fmt: skip
OPTIONS = tuple(dict.fromkeys(option for reader in READERS.values() for option in reader.options))


def read_rows(files: FilesByRole, split: SplitSpec, spec: SourceSpec) -> UncheckedRows:
    """Read a file (or files by role) with the reader that `spec` names; UserError if its structure is at fault."""
    files = {role: replace(file, encoding=spec.encoding) for role, file in files.items()}
    found = import_module(f"{__name__}.{READERS[spec.reader].module}").read(files, split, spec)
    first = next(found.rows, None)
    if first is None:
        paths = ", ".join(str(file.path) for file in files.values())
        raise UserError("the file holds no rows", paths, "Give a file with at least one row.")
    return replace(found, rows=chain([first], found.rows))


def read_files(several: Sequence[FilesByRole], split: SplitSpec, spec: SourceSpec) -> UncheckedRows:
    """Read one split: one file (or files by role) after the other, and of a source with a split column its rows.

    Raises UserError, also while rows are read, if the structure of a file is at fault, or its columns are others.
    """
    from adaptershare_cli.data.readers.parting import one_after_the_other, rows_of_split

    if len(several) == 1:
        found = read_rows(several[0], split, spec)
    else:
        found = one_after_the_other(lambda files: read_rows(files, split, spec), several)
    return rows_of_split(found, split, spec) if split.values else found
