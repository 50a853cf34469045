"""CoNLL's layout: one word a line, its labels in columns that blanks or tabs part, a blank line after a sentence."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from itertools import chain

from adaptershare_cli.data.files import Line, first_lines, read_lines, without_line_end
from adaptershare_cli.data.readers.rows import (
    FilesByRole,
    RowFault,
    UncheckedRow,
    UncheckedRows,
    columns_by_number,
    fault_in,
    rows_of_one_file,
    wrong_width,
)
from adaptershare_cli.data.source_spec import SourceSpec, SplitSpec
from adaptershare_cli.kinds.rows.texts import LONGEST_ROW, TOO_LONG, split_words

_DOCUMENT = "-DOCSTART-"  # begins a line that holds no word and parts sentences as a blank line does


def read(files: FilesByRole, split: SplitSpec, spec: SourceSpec) -> UncheckedRows:
    """One row a sentence, whose lines all have as many columns as most lines at the file's beginning."""
    file = files[""]
    lines = read_lines(file)
    head = first_lines(lines)
    widths = Counter(len(split_words(text or "")) for _, text in head)
    widths.pop(0, None)
    width = widths.most_common(1)[0][0] if widths else 0
    columns = columns_by_number(width, spec, file)

    def rows() -> Iterator[UncheckedRow | RowFault]:
        for position, sentence in enumerate(_sentences(chain(head, lines))):
            words: list[list[str]] = []
            for number, line in sentence:
                fields = split_words(line or "")
                if line is None or len(fields) != width:
                    reason = TOO_LONG if line is None else wrong_width(len(fields), width)
                    yield fault_in(file, number, without_line_end(line or ""), reason)
                    break
                words.append(fields)
            else:
                values = [[fields[index] for fields in words] for index in columns.values()]
                yield UncheckedRow(sentence[0][0], position, values)

    names = {role: str(index) for role, index in columns.items()}
    return replace(rows_of_one_file(names, file, rows()), word_per_line=True)


def _sentences(lines: Iterator[Line]) -> Iterator[list[Line]]:
    """The lines of each sentence; one of more than `LONGEST_ROW` characters ends with a line that is too long."""
    sentence: list[Line] = []
    size = 0
    for number, line in lines:
        if line is not None and (not line.strip(" \t\r\n") or line.startswith(_DOCUMENT)):
            if sentence:
                yield sentence
            sentence, size = [], 0
            continue
        size += LONGEST_ROW + 1 if line is None else len(line)
        if size <= LONGEST_ROW or not sentence or sentence[-1][1] is not None:
            sentence.append((number, line if size <= LONGEST_ROW else None))
    if sentence:
        yield sentence
