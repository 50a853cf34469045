"""Malformed data: one table of format x defect, each cell through the real download stage; then whatever bytes."""

from __future__ import annotations

import gzip
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tests.faults.malformed import (
    BAD,
    FOLDER,
    FORMATS,
    PIPE,
    Cannot,
    Cell,
    Defect,
    Outcome,
    Read,
    Refused,
    Rejected,
    check_made,
    check_refused,
    good_rows,
    lay_out,
    write,
)


@pytest.fixture(autouse=True)
def quick_disk(monkeypatch: pytest.MonkeyPatch) -> None:
    """What a file says does not depend on when it reaches the disk, and these are hundreds of downloads."""
    monkeypatch.setattr(os, "fsync", lambda descriptor: None)


# ---- the table: defect by defect, what each format makes of it ----


def cells(defect: Defect, outcome: Outcome, **others: Outcome | Cell) -> dict[str, Cell]:
    """A row of the table: the same in all formats but `others`, which have another outcome, or defect and outcome."""
    assert set(others) <= set(FORMATS)
    found = {form: others.get(form, outcome) for form in FORMATS}
    return {form: cell if isinstance(cell, tuple) else (defect, cell) for form, cell in found.items()}


def lines(outcome: Outcome, parquet: Outcome, **raw: bytes | tuple[bytes, Outcome]) -> dict[str, Cell]:
    """A row of the table in which each format has its own raw line in the third row's place; the others cannot."""
    found = {form: line if isinstance(line, tuple) else (line, outcome) for form, line in raw.items()}
    return {
        form: (Defect(line=found[form][0]), found[form][1]) if form in found else (Defect(), parquet)
        for form in FORMATS
    }


def text(content: Any) -> Defect:
    """The third row has another text."""
    return Defect({"text": content})


def label(content: Any, regression: bool = False) -> Defect:
    """The third row has another label."""
    return Defect({"label": content}, regression=regression)


def column(name: str, *values: Any) -> Defect:
    """All rows have one more column."""
    return Defect(rows=lambda rows: [{**row, name: value} for row, value in zip(rows, values, strict=True)])


def files(change: Callable[[Any], Any]) -> Defect:
    """Each file's content becomes another."""
    return Defect(files=change)


LONG = b"a good " * 150_000  # 1 MB
ODD_ENDS = "a\u2028b\x85c\x0bd\x0ce".encode()
BOM = b"\xef\xbb\xbf"
PARQUET = write("parquet", good_rows("parquet"))[""]
TEXT_ALONE = Cannot("a field of a text file is a text, whatever it holds")
JSON_ALONE = Cannot("only JSON has such values, or escapes")
ONE_TYPE = Cannot("a column of a Parquet file has one type; a column of a wrong type stands below")
NO_LINES = Cannot("neither a Parquet file nor a workbook has lines")
NO_FIELDS = Cannot("every row of a table has every column; a value may be null, which stands below")
NO_QUOTES = Cannot("neither a Parquet file nor a workbook has quotes")
NO_COLUMNS = Cannot("the layout has a text and a label and no further column")
NO_HEADER = Cannot("the format has no header")
NOT_JSON, NOT_ALL_JSON = Rejected("", "is not JSON"), Refused("is not JSON")
NOT_PARQUET = Refused("cannot be read as Parquet")
NO_XML = Cannot("XML, of which a workbook is made, cannot hold such signs")
NOT_XLSX, NO_CELL = Refused("no Excel workbook"), {"xlsx": Rejected("text", "is missing")}
DIFFER = Refused("differ in lines")
EMPTY, INVISIBLE = Rejected("text", "is empty"), Rejected("text", "holds no visible character")
NOT_FINITE, OUTSIDE = Rejected("label", "is not a finite number"), Rejected("label", "is outside the range 0 to 5")


def shorter(data: bytes) -> bytes | None:
    """The label file of the layout `lines` without its last line."""
    return data if b"film" in data else data[: data.rindex(b"\n", 0, -1) + 1]


TABLE: dict[str, dict[str, Cell]] = {
    # --- bytes ---
    "bad UTF-8 in a text": cells(text(b"caf\xe9"), Rejected("text", "is not valid UTF-8"), xlsx=NO_XML),
    "bad UTF-8 in a label": cells(label(b"n\xf6"), Rejected("label", "is not valid UTF-8"), xlsx=NO_XML),
    "a NUL byte": cells(
        text(b"a\0b"), Rejected("text", "holds a NUL byte"), jsonl=NOT_JSON, clinc=NOT_ALL_JSON, xlsx=NO_XML
    ),
    "a NUL byte, escaped": lines(
        Rejected("text", "holds a NUL byte"), JSON_ALONE,
        jsonl=b'{"text": "a\\u0000b", "label": "no"}', clinc=b'["a\\u0000b", "no"],',
    ),
    "half a surrogate pair, escaped": lines(
        Rejected("text", "is not valid UTF-8"), JSON_ALONE,
        jsonl=b'{"text": "a\\ud800b", "label": "no"}', clinc=b'["a\\ud800b", "no"],',
    ),
    "a byte-order mark": cells(files(lambda data: BOM + data), Read(), parquet=NOT_PARQUET, xlsx=NOT_XLSX),
    "a byte-order mark alone": cells(
        files(lambda data: BOM), Refused("it is empty"),
        jsonl=Refused("holds no rows"), lines=Refused("holds no rows"), clinc=NOT_ALL_JSON, parquet=NOT_PARQUET,
        xlsx=NOT_XLSX,
    ),
    "UTF-16": cells(
        files(lambda data: data.decode().encode("utf-16")), Refused("UTF-16"),
        parquet=Cannot("as the bytes of a text it is bad UTF-8, as above"), xlsx=NO_XML,
    ),
    "UTF-16 without a byte-order mark": cells(
        files(lambda data: data.decode().encode("utf-16-le")), Refused("looks like UTF-16"),
        parquet=Cannot("as the bytes of a text it is bad UTF-8, as above"), xlsx=NO_XML,
    ),
    "compressed": cells(files(gzip.compress), Read(), parquet=NOT_PARQUET, xlsx=NOT_XLSX),
    "another format": cells(
        files(lambda data: PARQUET), Refused("a Parquet file"), xlsx=NOT_XLSX,
        parquet=(files(lambda data: b"text,label\na,no\n"), NOT_PARQUET),
    ),
    # --- lines ---
    "CRLF": cells(files(lambda data: data.replace(b"\n", b"\r\n")), Read(), parquet=NO_LINES, xlsx=NO_LINES),
    "CR alone": cells(
        files(lambda data: data.replace(b"\n", b"\r")), Refused("carriage return alone"), parquet=NO_LINES,
        xlsx=NO_LINES, clinc=Read(),
    ),
    "signs that end a line elsewhere": cells(
        text(ODD_ENDS), Read(ODD_ENDS), jsonl=NOT_JSON, clinc=NOT_ALL_JSON, xlsx=NO_XML
    ),
    "an empty line": lines(
        Rejected("", "is an empty line"), NO_LINES, csv=b"", tsv=b"", tsv_quoted=b"", jsonl=b"", lines=(b"", EMPTY),
        clinc=(b"[],", Rejected("", "not a pair")),
    ),
    "empty lines at the end": cells(
        files(lambda data: data + b"\n\r\n  \n"), Read(), parquet=NO_LINES, xlsx=NO_LINES,
        lines=(files(lambda data: data + b"\n" if b"film" in data else data), DIFFER),
    ),
    "no line end at the end": cells(
        files(lambda data: data.removesuffix(b"\n")), Read(), parquet=NO_LINES, xlsx=NO_LINES
    ),
    "cut off": cells(
        files(lambda data: data[:-6]), Rejected("", "has 1 field where 2 are expected", index=3),
        jsonl=Rejected("", "is not JSON", index=3), lines=DIFFER, clinc=NOT_ALL_JSON, parquet=NOT_PARQUET,
        xlsx=Refused("cannot be read as an Excel workbook"),
    ),
    # --- fields ---
    "too few fields": lines(
        Rejected("", "has 1 field where 2 are expected"), NO_FIELDS, csv=b"alone", tsv=b"alone", tsv_quoted=b"alone",
        jsonl=(b'{"text": "alone"}', Rejected("label", "has no key `label`")),
        clinc=(b'["alone"],', Rejected("", "not a pair")),
    ) | {"lines": (files(shorter), DIFFER)},
    "too many fields": lines(
        Rejected("", "has 3 fields where 2 are expected"), NO_FIELDS,
        csv=b"one,more,no", tsv=b"one\tmore\tno", tsv_quoted=b"one\tmore\tno",
        jsonl=(b'{"text": "one", "more": 1, "label": "no"}', Read(b"one")),
        clinc=(b'["one", "more", "no"],', Rejected("", "not a pair")), lines=(b"one\nmore", DIFFER),
    ),
    "an unclosed quote": lines(
        Rejected("", "a quote that is never closed"), NO_QUOTES, csv=b'"the plot,no', tsv_quoted=b'"the plot\tno',
        tsv=(b'"the plot\tno', Read(b'"the plot')), lines=(b'"the plot', Read(b'"the plot')),
        jsonl=(b'{"text": "the plot, "label": "no"}', NOT_JSON), clinc=(b'["the plot, "no"],', NOT_ALL_JSON),
    ),
    "text after a closing quote": lines(
        Rejected("", "more text after a closing quote"), NO_QUOTES, csv=b'"the" plot,no', tsv_quoted=b'"the" plot\tno',
        tsv=(b'"the" plot\tno', Read(b'"the" plot')), lines=(b'"the" plot', Read(b'"the" plot')),
        jsonl=(b'{"text": "the" plot", "label": "no"}', NOT_JSON), clinc=(b'["the" plot", "no"],', NOT_ALL_JSON),
    ),
    "a row nested too deeply": lines(
        NOT_JSON, JSON_ALONE, jsonl=b"[" * 100_000, clinc=(b"[" * 100_000, Refused("too deeply nested"))
    ),
    # --- columns ---
    "a missing column": cells(
        Defect(rows=lambda rows: [{"text": row["text"], "labels": row["label"]} for row in rows]),
        Refused("the column `label` (label) is missing"), lines=Refused("the split `train` has no file train/label"),
        clinc=(files(lambda data: data.replace(b"train", b"trian")), Refused("no list under the key `train`")),
    ),
    "a column twice": cells(
        Defect(twice="text"), Refused("the column `text` (text) is there twice"),
        jsonl=(
            Defect(line=b'{"text": "a", "text": "b", "label": "no"}'), Rejected("", "the key `text` stands there"),
        ),
        lines=Cannot("a folder cannot hold two files of one name"),
        clinc=(files(lambda data: b'{"train": [], ' + data[1:]), Refused("the key `train` stands there twice")),
    ),
    "duplicate ids": cells(column("id", b"1", b"2", b"2", b"2"), Read(), lines=NO_COLUMNS, clinc=NO_COLUMNS),
    "a column of a wrong type": cells(
        Defect(), TEXT_ALONE, jsonl=Cannot("a JSON value has a type of its own: mixed types, below"),
        clinc=Cannot("a JSON value has a type of its own: mixed types, below"),
        parquet=(
            Defect(rows=lambda rows: [{**row, "text": 5} for row in rows]), Refused("has the type int64, not text"),
        ),
    ),
    "a text_pair without values": cells(
        column("text_pair", b"", b"", b"", b""), Read(), lines=NO_COLUMNS, clinc=NO_COLUMNS,
        jsonl=(column("text_pair", None, None, None, None), Read()),
        parquet=(column("text_pair", None, None, None, None), Read()),
    ),
    "a text_pair in train alone": cells(
        column("text_pair", b"a", b"b", b"c", b"d"), Refused("has text pairs in the split `train`, but none in `dev`"),
        lines=NO_COLUMNS, clinc=NO_COLUMNS,
    ),
    # --- values ---
    "an empty text": cells(text(b""), EMPTY, **NO_CELL),
    "a text of white space": cells(text(b" \xe3\x80\x80 \xc2\xa0"), EMPTY),
    "a text of control characters": cells(
        text(b"\x07\x1b"), INVISIBLE, jsonl=NOT_JSON, clinc=NOT_ALL_JSON, xlsx=NO_XML
    ),
    "a text of control characters, escaped": lines(
        INVISIBLE, JSON_ALONE, jsonl=b'{"text": "\\u0007", "label": "no"}', clinc=b'["\\u0007", "no"],'
    ),
    "a text of zero width": cells(text("\u200b\u2060\ufeff\u0301\u3164".encode()), INVISIBLE),
    "a text of 1 MB": cells(text(LONG), Read(LONG), xlsx=Cannot("a cell holds at most 32767 characters")),
    "an empty label": cells(label(b""), Rejected("label", "is empty"), xlsx=Rejected("label", "is missing")),
    "a label outside the list": cells(label(b"maybe"), Rejected("label", "is not one of the labels (no, yes)")),
    "a label in another case": cells(label(b"No"), Rejected("label", "but `no` in all but case")),
    "a label in white space": cells(label(b" no "), Read()),
    "no number": cells(label(b"four", True), Rejected("label", "is not a number")),
    "a number in other digits": cells(label("٣".encode(), True), Rejected("label", "is not a number")),
    "NaN": cells(label(b"nan", True), NOT_FINITE),
    "an infinite number": cells(label(b"-1e999", True), NOT_FINITE),
    "a number outside the range": cells(label(b"5.1", True), OUTSIDE),
    "mixed types of texts": cells(
        text(5), TEXT_ALONE, parquet=ONE_TYPE, jsonl=Rejected("text", "is not text but a number"),
        clinc=Rejected("text", "is not text but a number"),
    ),
    "mixed types of labels": cells(
        label(1.5), TEXT_ALONE, parquet=ONE_TYPE, jsonl=Rejected("label", "is neither text nor a whole number"),
        clinc=Rejected("label", "is neither text nor a whole number"),
    ),
    "a nested value": cells(
        text(["a"]), TEXT_ALONE, jsonl=Rejected("text", "is not text but a list"),
        clinc=Rejected("text", "is not text but a list"),
        parquet=(Defect(rows=lambda rows: [{**row, "text": ["a"]} for row in rows]), Refused("has the type list")),
    ),
    "a null": cells(
        text(None), Cannot("a text file has no null, but empty texts, as above"), jsonl=Rejected("text", "is missing"),
        clinc=Rejected("text", "is missing"), parquet=Rejected("text", "is missing"), **NO_CELL,
    ),
    # --- files ---
    "an empty file": cells(files(lambda data: b""), Refused("the file is empty")),
    "no row": cells(
        files(lambda data: data[: data.index(b"\n") + 1]), Refused("the file holds no rows"), jsonl=NO_HEADER,
        lines=NO_HEADER, clinc=(files(lambda data: b'{"train": []}'), Refused("the file holds no rows")),
        xlsx=(files(lambda data: NO_CELLS), Refused("the file holds no rows")),
        parquet=(files(lambda data: NO_ROWS), Refused("the file holds no rows")),
    ),
    "a folder in place of a file": cells(files(lambda data: FOLDER), Refused("a folder stands where a file")),
    "a pipe in place of a file": cells(files(lambda data: PIPE), Refused("a pipe or device stands where")),
    "no file": cells(files(lambda data: None), Refused("has no file train")),
}  # fmt: skip


def _no_rows() -> bytes:
    sink = pa.BufferOutputStream()
    pq.write_table(pa.table({"text": pa.array([], pa.string()), "label": pa.array([], pa.string())}), sink)
    return sink.getvalue().to_pybytes()


NO_ROWS, NO_CELLS = _no_rows(), write("xlsx", [], names=["text", "label"])[""]
CELLS = [(defect, form) for defect, row in TABLE.items() for form in FORMATS]
SHIFT = {
    "csv": 3,
    "tsv": 2,
    "tsv_quoted": 3,
    "xlsx": 2,
}  # from a row's index to its line: the header, a text of two lines, from 1


@pytest.mark.parametrize("defect", TABLE)
@pytest.mark.parametrize("form", FORMATS)
def test_cell(form: str, defect: str, tmp_path: Path) -> None:
    how, outcome = TABLE[defect][form]
    if isinstance(outcome, Cannot):
        assert len(outcome.why) > 20
        return
    lay_out(tmp_path, form, how)
    if isinstance(outcome, Refused):
        check_refused(tmp_path, outcome)
        return
    expected = [row["text"] for row in good_rows(form)]
    if isinstance(outcome, Rejected):
        line = outcome.index + SHIFT.get(form, 1)
        name = outcome.column
        file = f"train/{name or 'text'}" if form == "lines" else "train"
        name = "intent" if form == "clinc" and name == "label" else name
        train = check_made(tmp_path, outcome, file, line, name)
        del expected[outcome.index]
    else:
        train = check_made(tmp_path, None)
        expected[BAD] = outcome.text
    assert [found.replace("\r\n", "\n").encode() for found in train["text"].to_pylist()] == expected
    assert train["row"].to_pylist() == [row for row in range(4) if row != getattr(outcome, "index", None)]
