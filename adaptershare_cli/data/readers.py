"""Readers: the files of one split become rows of raw values, with the line that each row begins on.

A reader is one function `(files, split, spec) -> RawRows` and one line in `READERS` (and its keys in
`definition.READER_KEYS`). Readers know how files are laid out; whether a value will do (labels, ranges, empty
texts) is checked afterwards, alike for all of them. Rows are read while they are asked for, so a file's size is
bounded by the disk alone.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import replace
from itertools import chain, zip_longest
from pathlib import Path
from typing import Any

from adaptershare_cli.data.blocks import near_names
from adaptershare_cli.data.definition import SourceSpec, SplitSpec
from adaptershare_cli.data.delimited import Record, plain_records, quoted_records
from adaptershare_cli.data.files import Line, Place, bare, read_lines, read_whole, without_last_blanks
from adaptershare_cli.data.parquet import read_parquet
from adaptershare_cli.data.raw import Fault, Files, RawRows, Row, fault_of, in_one_file, wanted_columns
from adaptershare_cli.errors import UserError
from adaptershare_cli.kinds.base import ROLES
from adaptershare_cli.kinds.rows.texts import LONGEST_ROW, SHOWN, TOO_LONG, shown, split_words

_HEAD_ROWS = 1000  # rows that are looked at first where the file does not name its columns
_WHOLE_FILE = 64 * 2**20  # bytes of a file that must be held at once
_DOCUMENT = "-DOCSTART-"  # begins a line of CoNLL's files that is no word
_DELIMITERS = {",": "commas", "\t": "tabs", ";": "semicolons", "|": "bars"}


def read_rows(files: Files, split: SplitSpec, spec: SourceSpec) -> RawRows:
    """Read one split with the reader that `spec` names; UserError if the files' structure is at fault."""
    raw = READERS[spec.reader](files, split, spec)
    first = next(raw.rows, None)
    if first is None:
        raise UserError("the file holds no rows", _paths(files), "Give a file with at least one row.")
    return replace(raw, rows=chain([first], raw.rows))


def read_delimited(files: Files, split: SplitSpec, spec: SourceSpec) -> RawRows:
    """CSV or TSV; quoting `standard` as in RFC 4180 (a quoted field may hold line ends), `none` splits and no more."""
    place = files[""]
    delimiter = "\t" if spec.reader == "tsv" else ","
    lines = without_last_blanks(read_lines(place))
    split_up = quoted_records if spec.quoting == "standard" else plain_records
    if spec.header:
        records = split_up(lines, delimiter, place)
        header = _header(records, place, delimiter)
        wanted = wanted_columns(header, spec, str(place.path))
        names = {role: header[index] for role, index in wanted.items()}
        width = len(header)
    else:
        head = _head(lines)
        widths = Counter(len(fields) for _, fields, _ in split_up(iter(head), delimiter, place) if any(fields))
        width = widths.most_common(1)[0][0] if widths else 0
        wanted = _numbered_columns(width, spec, place)
        names = {role: str(index) for role, index in wanted.items()}
        records = split_up(chain(head, lines), delimiter, place)

    def rows() -> Iterator[Row | Fault]:
        for position, (line, fields, reason) in enumerate(records):
            if not reason and len(fields) != width:
                blank = fields in ([], [""])
                reason = "is an empty line" if blank else f"has {_fields(len(fields))} where {width} are expected"
            if reason:
                yield fault_of(place, line, delimiter.join(fields), reason)
            else:
                yield line, position, [fields[index] for index in wanted.values()]

    return in_one_file(names, place, rows())


def read_jsonl(files: Files, split: SplitSpec, spec: SourceSpec) -> RawRows:
    """One JSON object a line."""
    place = files[""]
    lines = without_last_blanks(read_lines(place))
    head = _head(lines)
    looked_at = list(map(_object, head))
    present = list(dict.fromkeys(key for value, reason in looked_at if not reason for key in value))
    if not present:
        wrong = f" (line {head[0][0]} {looked_at[0][1] or 'has no key'})" if head else ""
        fix = "The reader `jsonl` takes one JSON object a line"
        fix += ", not one list of them." if head and (head[0][1] or "").lstrip().startswith("[") else "."
        raise UserError(f"the file holds no rows{wrong}", str(place.path), fix)
    names = {role: present[index] for role, index in wanted_columns(present, spec, str(place.path)).items()}
    if spec.pair_if_present:  # a key that comes late, or not in every line
        names = {role: names.get(role, spec.text_pair) for role in ROLES}
    needed = [name for role, name in names.items() if role != "text_pair" or not spec.pair_if_present]

    def rows() -> Iterator[Row | Fault]:
        for position, line in enumerate(chain(head, lines)):
            value, reason = _object(line)
            absent = next((name for name in needed if name not in value), "") if not reason else ""
            if absent or reason:
                yield fault_of(place, line[0], bare(line[1] or ""), reason or f"has no key `{absent}`", absent)
            else:
                yield line[0], position, [value.get(name) for name in names.values()]

    return in_one_file(names, place, rows())


def read_parallel(files: Files, split: SplitSpec, spec: SourceSpec) -> RawRows:
    """One file a role; line i of each makes row i."""

    def rows() -> Iterator[Row | Fault]:
        counts = dict.fromkeys(files, 0)
        for position, lines in enumerate(zip_longest(*map(read_lines, files.values()))):
            for role, line in zip(files, lines, strict=True):
                counts[role] += line is not None
            texts = [line[1] for line in lines if line is not None]
            if None in texts:
                role = list(files)[texts.index(None)]
                yield fault_of(files[role], position + 1, "", TOO_LONG)
            elif len(texts) == len(files):
                yield position + 1, position, [bare(text) for text in texts if text is not None]
        if len(set(counts.values())) > 1:
            told = ", ".join(f"{files[role].name}: {count}" for role, count in counts.items())
            fix = "Line i of each file is one row; give files with equally many lines."
            raise UserError(f"the files of the split `{split.name}` differ in lines ({told})", _paths(files), fix)

    names = {role: Path(place.name).name for role, place in files.items()}
    return RawRows(names, {role: place.name for role, place in files.items()}, rows())


def read_clinc(files: Files, split: SplitSpec, spec: SourceSpec) -> RawRows:
    """One JSON object whose keys hold lists of [text, intent]; the split's key chooses the list.

    Its rows are counted in that list, as JSON may put all of them on one line.
    """
    place = files[""]
    try:
        content = _JSON.decode(read_whole(place, _WHOLE_FILE))
    except (ValueError, RecursionError) as error:
        fix = "Give the whole JSON file."
        raise UserError(f"the file {_json_reason(error, lines=True)}", str(place.path), fix) from error
    if not isinstance(content, dict) or not isinstance(content.get(split.key), list):
        keys = [key for key, value in content.items() if isinstance(value, list)] if isinstance(content, dict) else []
        fix = near_names(split.key, keys) + f"Lists there: {', '.join(keys) or 'none'}."
        raise UserError(f"the file has no list under the key `{split.key}`", str(place.path), fix)

    def rows() -> Iterator[Row | Fault]:
        for position, item in enumerate(content[split.key]):
            if isinstance(item, list) and len(item) == 2:
                yield position + 1, position, item
            else:
                yield fault_of(place, position + 1, shown(item), "is not a pair [text, intent]")

    return in_one_file({"text": "text", "label": "intent"}, place, rows())


def read_conll(files: Files, split: SplitSpec, spec: SourceSpec) -> RawRows:
    """One word a line, its columns parted by blanks or tabs; an empty line, or one of -DOCSTART-, parts sentences.

    A row is a sentence, whose lines all have as many columns as most lines at the file's beginning.
    """
    place = files[""]
    lines = read_lines(place)
    head = _head(lines)
    widths = Counter(len(split_words(line or "")) for _, line in head)
    widths.pop(0, None)
    width = widths.most_common(1)[0][0] if widths else 0
    wanted = _numbered_columns(width, spec, place)

    def rows() -> Iterator[Row | Fault]:
        for position, sentence in enumerate(_sentences(chain(head, lines))):
            words: list[list[str]] = []
            for number, line in sentence:
                fields = split_words(line or "")
                if line is None or len(fields) != width:
                    reason = TOO_LONG if line is None else f"has {_fields(len(fields))} where {width} are expected"
                    yield fault_of(place, number, bare(line or ""), reason)
                    break
                words.append(fields)
            else:
                yield sentence[0][0], position, [[fields[index] for fields in words] for index in wanted.values()]

    names = {role: str(index) for role, index in wanted.items()}
    return replace(in_one_file(names, place, rows()), word_lines=True)


def _sentences(lines: Iterator[Line]) -> Iterator[list[Line]]:
    """The lines of each sentence. One of more than `LONGEST_ROW` characters ends with a line that is too long."""
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


READERS: dict[str, Callable[[Files, SplitSpec, SourceSpec], RawRows]] = {
    "tsv": read_delimited,
    "csv": read_delimited,
    "jsonl": read_jsonl,
    "parquet": read_parquet,
    "lines": read_parallel,
    "clinc": read_clinc,
    "conll": read_conll,
}


def _numbered_columns(width: int, spec: SourceSpec, place: Place) -> dict[str, int]:
    wanted = {role: getattr(spec, role) for role in ROLES if getattr(spec, role) is not None}
    for role, index in wanted.items():
        if index >= width > 0:
            fix = f"Columns there: 0 to {width - 1} (there is no header)."
            raise UserError(f"the column {index} ({role}) is missing", str(place.path), fix)
    return wanted


def _fields(count: int) -> str:
    return "1 field" if count == 1 else f"{count} fields"


def _head(lines: Iterator[Line]) -> list[Line]:
    """The first lines, taken from `lines`; fewer where they are long."""
    head: list[Line] = []
    size = 0
    while len(head) < _HEAD_ROWS and size < LONGEST_ROW and (line := next(lines, None)):
        head.append(line)
        size += len(line[1] or "")
    return head


def _header(records: Iterator[Record], place: Place, delimiter: str) -> list[str]:
    line, header, reason = next(records, (1, [], "is empty"))
    if not reason and not any(header):
        reason = "is empty"
    if reason:
        what = f"the first line, which names the columns, cannot be read: it {reason}"
        raise UserError(what, str(place.path), "Correct it, or write `header: false` and number the columns.")
    other = next((sign for sign in _DELIMITERS if sign in header[0]), "") if len(header) == 1 else ""
    if other:
        what = f"the first line is not split by {_DELIMITERS[delimiter]}, but perhaps by {_DELIMITERS[other]}"
        fix = "The reader `csv` splits at commas, `tsv` at tabs: choose, or convert the file."
        raise UserError(what, str(place.path), fix)
    return header


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    value = dict(pairs)
    if len(value) < len(pairs):
        key = next(key for key, count in Counter(key for key, _ in pairs).items() if count > 1)
        raise ValueError(f"the key `{key[:SHOWN]}` stands there twice")
    return value


_JSON = json.JSONDecoder(object_pairs_hook=_unique)


def _object(line: Line) -> tuple[Any, str]:
    """The JSON object of a line, or why it is none."""
    text = line[1]
    if text is None:
        return None, TOO_LONG
    try:
        value = _JSON.decode(text)
    except (ValueError, RecursionError) as error:
        return None, _json_reason(error) if text.strip() else "is an empty line"
    return value, "" if isinstance(value, dict) else "is not a JSON object ({...})"


def _json_reason(error: Exception, lines: bool = False) -> str:
    if isinstance(error, json.JSONDecodeError):
        place = f"line {error.lineno}, character {error.colno}" if lines else f"character {error.colno}"
        return f"is not JSON: {error.msg.removesuffix(' at')} at {place}"
    return f"is not JSON that can be read: {'too deeply nested' if isinstance(error, RecursionError) else error}"


def _paths(files: Files) -> str:
    return ", ".join(str(place.path) for place in files.values())
