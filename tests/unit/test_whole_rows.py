"""Rows that are kept whole: what is written is read back, in every format, and what cannot be written is refused."""

from __future__ import annotations

import io
import tempfile
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from adaptershare_cli.data.files import DataFile
from adaptershare_cli.data.readers.rows import RowFault
from adaptershare_cli.data.row_writers import row_writer
from adaptershare_cli.data.whole_rows import Format, WholeRow, WholeRows, format_of, read_whole
from adaptershare_cli.errors import UserError

ADDED = {"t.label": pa.string(), "t.probability": pa.float64()}
TEXTS = st.text(st.characters(codec="utf-8", exclude_characters="\0\r"), min_size=1)


def written(form: Format, rows: list[dict[str, Any]], columns: list[str], schema: pa.Schema | None = None) -> bytes:
    stream = io.BytesIO()
    writer = row_writer(form, stream, columns, ADDED, schema)
    for number, row in enumerate(rows):
        writer.write([WholeRow(number, row)])
    writer.close()
    return stream.getvalue()


def read(form: Format, data: bytes) -> WholeRows:
    if form != "parquet":
        return read_whole(DataFile("given", Path("given"), io.BytesIO(data)), form)
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "rows"
        file.write_bytes(data)
        found = read_whole(DataFile("given", file), form)
        return WholeRows(found.columns, iter([*found.rows]), found.schema)


def values(found: WholeRows) -> list[dict[str, Any]]:
    rows = []
    for row in found.rows:
        assert isinstance(row, WholeRow), row
        rows.append(dict(row.values))
    return rows


@settings(max_examples=40)
@given(st.sampled_from(["csv", "tsv", "jsonl", "parquet"]), st.lists(st.tuples(TEXTS, st.floats(0, 1)), min_size=1))
def test_what_is_written_is_read_back(form: Format, given_rows: list[tuple[str, float]]) -> None:
    texts = [text.replace("\t", " ").replace("\n", " ") if form == "tsv" else text for text, _ in given_rows]
    rows = [
        {"body": text, "t.label": "yes", "t.probability": share}
        for text, (_, share) in zip(texts, given_rows, strict=True)
    ]
    found = read(form, written(form, rows, ["body"]))
    assert found.columns == ("body", *ADDED)
    expected = [row | {"t.probability": repr(row["t.probability"])} for row in rows] if form in ("csv", "tsv") else rows
    assert values(found) == expected


def test_keys_that_come_late_are_kept_as_jsonl_and_refused_elsewhere() -> None:
    rows = [{"a": "x", **dict.fromkeys(ADDED)}, {"a": "y", "late": 1, **dict.fromkeys(ADDED)}]
    assert values(read("jsonl", written("jsonl", rows, ["a"]))) == rows
    with pytest.raises(UserError, match="has the key `late`"):
        written("csv", rows, ["a"])


def test_a_tab_cannot_be_written_as_tsv() -> None:
    with pytest.raises(UserError, match="cannot be written as TSV"):
        written("tsv", [{"a": "x\ty", **dict.fromkeys(ADDED)}], ["a"])


def test_the_types_of_parquet_columns_are_kept_and_others_must_fit_the_first_rows() -> None:
    schema = pa.schema([("n", pa.int16()), ("tags", pa.list_(pa.string())), ("blob", pa.binary())])
    table = pa.table({"n": [1, None], "tags": [["a"], []], "blob": [b"\xff", b""]}, schema)
    stream = io.BytesIO()
    pq.write_table(table, stream)
    found = read("parquet", stream.getvalue())
    rows = [row | {"t.label": "a", "t.probability": 0.5} for row in values(found)]
    again = pq.read_table(io.BytesIO(written("parquet", rows, list(found.columns), found.schema)))
    assert again.select(schema.names) == table and again.schema.names == [*schema.names, *ADDED]
    mixed = [{"a": 1, **dict.fromkeys(ADDED)}, {"a": "x", **dict.fromkeys(ADDED)}]
    with pytest.raises(UserError, match="rows 1 to 1 hold values that Parquet cannot"):
        written("parquet", mixed, ["a"])


def test_bytes_that_are_no_utf8_come_out_as_they_went_in() -> None:
    found = read("csv", b"a,b\nx\xff,1\n")
    assert written("csv", [row | dict.fromkeys(ADDED, "") for row in values(found)], ["a", "b"]).splitlines()[1] == (
        b"x\xff,1,,"
    )


@pytest.mark.parametrize(
    ("form", "data", "says"),
    [
        ("csv", b"", "cannot be read: it is empty"),
        ("csv", b"a,b\n", "no rows"),
        ("csv", b"a,a\n1,2\n", "there twice"),
        ("jsonl", b"[1]\n", "holds no rows"),
        ("text", b"", "no rows"),
        ("parquet", b"a,b\n", "cannot be read as Parquet"),
        ("csv", b"PAR1\x15\x00", "a Parquet file"),
    ],
)
def test_files_without_rows_are_refused(form: Format, data: bytes, says: str) -> None:
    with pytest.raises(UserError) as error:
        read(form, data)
    assert says in error.value.what and "definition" not in str(error.value) and "`reader" not in str(error.value)


def test_a_row_at_fault_is_named_and_the_others_are_read() -> None:
    *_, fault, last = read("csv", b"a,b\n1,2\n1\n3,4\n").rows
    assert isinstance(fault, RowFault) and fault.row == 3 and "1 field where 2" in fault.reason
    assert last == WholeRow(4, {"a": "3", "b": "4"})


def test_a_name_tells_the_format() -> None:
    assert [format_of(name, "--format") for name in ("a.CSV", "b.ndjson", "c.d.parquet", "x.txt")] == [
        "csv", "jsonl", "parquet", "text",
    ]  # fmt: skip
    with pytest.raises(UserError, match="--format"):
        format_of("rows", "--format")
