"""CoNLL-U, the layout of Universal Dependencies: a word a line, ten columns with names, comments, a blank line."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from itertools import chain

from adaptershare_cli.data.files import first_lines, read_lines, without_line_end
from adaptershare_cli.data.readers import READERS
from adaptershare_cli.data.readers.conll import sentences
from adaptershare_cli.data.readers.rows import (
    COMMENT_LINES,
    FilesByRole,
    RowFault,
    UncheckedRow,
    UncheckedRows,
    columns_by_name,
    fault_in,
    rows_of_one_file,
    wrong_width,
)
from adaptershare_cli.data.source_spec import SourceSpec, SplitSpec
from adaptershare_cli.errors import UserError
from adaptershare_cli.kinds.rows.texts import TOO_LONG

COLUMNS = READERS["conllu"].columns
_NOTHING = "_"
_MAY_BE_NOTHING = ("feats", "misc")  # a word without features has none; without a part of speech it is not annotated
_NO_WORDS = {re.compile(r"\d+-\d+\t"): "lines of several words", re.compile(r"\d+\.\d+\t"): "empty nodes"}


def read(files: FilesByRole, split: SplitSpec, spec: SourceSpec) -> UncheckedRows:
    """One row a sentence, of its syntactic words.

    Left out and counted are comments, lines that join several words (`1-2`) and empty nodes (`1.1`). A sentence is at
    fault that has a word without the label that is asked for. Raises UserError for a file without its words.
    """
    file = files[""]
    columns = columns_by_name(list(COLUMNS), spec, str(file.path))
    label = COLUMNS[columns["label"]]
    lines = read_lines(file)
    head = first_lines(lines)
    forms = {fields[1] for _, line in head if line and len(fields := line.split("\t")) == len(COLUMNS)}
    if forms == {_NOTHING}:
        fix = "Some treebanks come without their texts: add these first, as their README says."
        raise UserError(f"every word of the file is `{_NOTHING}`", str(file.path), fix)
    left_out: Counter[str] = Counter()

    def fault_of(line: str | None) -> str:
        if line is None:
            return TOO_LONG
        fields = line.split("\t")
        if len(fields) != len(COLUMNS):
            return f"{wrong_width(len(fields), len(COLUMNS))}, parted by tabs"
        unlabelled = fields[columns["label"]].strip() == _NOTHING and label not in _MAY_BE_NOTHING
        return f"has a word without {label} (`{_NOTHING}`)" if unlabelled else ""

    def rows() -> Iterator[UncheckedRow | RowFault]:
        for position, sentence in enumerate(sentences(chain(head, lines), _beside, left_out)):
            fault = next(((number, line, reason) for number, line in sentence if (reason := fault_of(line))), None)
            if fault:
                number, line, reason = fault
                yield fault_in(file, number, without_line_end(line or ""), reason)
            else:
                words = [without_line_end(line or "").split("\t") for _, line in sentence]
                yield UncheckedRow(
                    sentence[0][0], position, [[word[index] for word in words] for index in columns.values()]
                )

    names = {role: COLUMNS[index] for role, index in columns.items()}
    return replace(rows_of_one_file(names, file, rows()), left_out=left_out)


def _beside(line: str, begun: bool) -> str:
    """What a line is that is no word."""
    if line.startswith("#"):
        return COMMENT_LINES
    return next((name for pattern, name in _NO_WORDS.items() if pattern.match(line)), "")
