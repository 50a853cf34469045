"""CoNLL's layout: one word a line, its labels in columns that blanks or tabs part, a blank line after a sentence."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import replace
from itertools import chain

from adaptershare_cli.data.files import DataFile, Line, first_lines, read_lines, without_line_end
from adaptershare_cli.data.readers import READERS
from adaptershare_cli.data.readers.rows import (
    COMMENT_LINES,
    FilesByRole,
    RowFault,
    UncheckedRow,
    UncheckedRows,
    columns_by_number,
    comment_prefix,
    fault_in,
    maybe_comment,
    rows_of_one_file,
    wrong_width,
)
from adaptershare_cli.data.source_spec import SourceSpec, SplitSpec
from adaptershare_cli.errors import UserError
from adaptershare_cli.kinds.rows.texts import LONGEST_ROW, TOO_LONG, split_words

_DOCUMENT = "-DOCSTART-"  # begins a line that holds no word and parts sentences as a blank line does
_DOCUMENT_LINES = f"{_DOCUMENT} lines"
_SIGN = "#"  # as the first column of most sentences it is no word
_NUMBER_OF_CONLLU = re.compile(r"\d+([-.]\d+)?")  # of a word; with a sign, of several, or of one that was added

Beside = Callable[[str, bool], str]  # what a line is if it is no word ("" if it is one), and whether words stand before


def read(files: FilesByRole, split: SplitSpec, spec: SourceSpec) -> UncheckedRows:
    """One row a sentence, whose lines all have as many columns as most lines at the file's beginning.

    Comments are lines before the first word of a sentence that begin as the definition says. Raises UserError for a
    file that has some, unless the definition says anything of them.
    """
    file, prefix = files[""], comment_prefix(spec)
    lines = read_lines(file)
    head = first_lines(lines)

    def beside(line: str, begun: bool) -> str:
        if line.startswith(_DOCUMENT):
            return _DOCUMENT_LINES
        return COMMENT_LINES if prefix and not begun and line.startswith(prefix) else ""

    parted = [[split_words(line or "") for _, line in words] for words in sentences(iter(head), beside, Counter())]
    _check_not_conllu(parted, file)
    if not spec.comment:
        _check_no_comments([words[0] for words in parted], file)
    widths = Counter(len(split_words(text)) for _, text in head if text and beside(text, False) != COMMENT_LINES)
    widths.pop(0, None)
    width = widths.most_common(1)[0][0] if widths else 0
    columns = columns_by_number(width, spec, file)
    left_out: Counter[str] = Counter()

    def rows() -> Iterator[UncheckedRow | RowFault]:
        for position, sentence in enumerate(sentences(chain(head, lines), beside, left_out)):
            words: list[list[str]] = []
            for number, line in sentence:
                fields = split_words(line or "")
                if line is None or len(fields) != width:
                    reason = TOO_LONG if line is None else wrong_width(len(fields), width) + maybe_comment(line, spec)
                    yield fault_in(file, number, without_line_end(line or ""), reason)
                    break
                words.append(fields)
            else:
                values = [[fields[index] for fields in words] for index in columns.values()]
                yield UncheckedRow(sentence[0][0], position, values)

    names = {role: str(index) for role, index in columns.items()}
    return replace(rows_of_one_file(names, file, rows()), word_per_line=True, left_out=left_out)


def _check_not_conllu(parted: list[list[list[str]]], file: DataFile) -> None:
    """Raise UserError where lines are numbered as those of CoNLL-U, some of which are no words."""
    numbers = [fields[0] for words in parted for fields in words if len(fields) == len(READERS["conllu"].columns)]
    found = [_NUMBER_OF_CONLLU.fullmatch(number) for number in numbers]
    if all(found) and any(match and match[1] for match in found):
        fix = "Write `reader: conllu`, whose columns have names, such as `columns: {label: upos}`."
        raise UserError("the file is in the layout of CoNLL-U", str(file.path), fix)


def _check_no_comments(begins: list[list[str]], file: DataFile) -> None:
    """Raise UserError where most sentences begin with a lone `#`; `begins` are the fields of their first lines."""
    alike = [fields for fields in begins if fields[:1] == [_SIGN]]
    if len(alike) > 1 and 2 * len(alike) > len(begins):
        what = (
            f"{len(alike)} of the first {len(begins)} sentences begin with a line such as `{' '.join(alike[0])[:80]}`"
        )
        fix = 'If these lines are comments, write `comment: "# "` beside `reader`, and they are left out'
        raise UserError(what, str(file.path), f"{fix}; if `#` is a word, `comment: none`.")


def sentences(lines: Iterator[Line], beside: Beside, left_out: Counter[str]) -> Iterator[list[Line]]:
    """The lines of each sentence's words; one of more than `LONGEST_ROW` characters ends with a line that is too long.

    Lines that `beside` takes for no word are counted in `left_out` by what they are.
    """
    sentence: list[Line] = []
    size = 0
    for number, line in lines:
        other = beside(line, bool(sentence)) if line else ""
        left_out[other] += bool(other)
        if other == _DOCUMENT_LINES or (line is not None and not line.strip(" \t\r\n")):
            if sentence:
                yield sentence
            sentence, size = [], 0
        elif not other:
            size += LONGEST_ROW + 1 if line is None else len(line)
            if size <= LONGEST_ROW or not sentence or sentence[-1][1] is not None:
                sentence.append((number, line if size <= LONGEST_ROW else None))
    if sentence:
        yield sentence
