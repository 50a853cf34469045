"""Readers: each format's layout, its line numbers, and the faults of structure and of rows."""

from __future__ import annotations

import csv
import io
import json
import subprocess
import sys
import time
from collections import Counter
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from adaptershare_cli.data import files
from adaptershare_cli.data.files import DataFile
from adaptershare_cli.data.readers import READERS, delimited, read_rows
from adaptershare_cli.data.readers.rows import FilesByRole, RowFault
from adaptershare_cli.data.source_spec import SourceSpec, SplitSpec
from adaptershare_cli.errors import UserError

SPLIT = SplitSpec("train", (("", "data"),))


def spec(reader: str, columns: dict[str, Any] | None = None, **changes: Any) -> SourceSpec:
    """A source of one split; `columns` are those that differ from the defaults, None for one that is not read."""
    every = {"text": "text", "text_pair": "text_pair", "label": "label", **(columns or {})}
    wanted = tuple((role, column) for role, column in every.items() if column is not None)
    details = {"splits": (SPLIT,), "reader": reader, "quoting": READERS[reader].quoting, "columns": wanted, **changes}
    return SourceSpec(kind="files", **details)


@dataclass
class Read:
    """All rows of a split, a list a role."""

    values: dict[str, list[Any]]
    lines: list[int]
    positions: list[int]
    faults: list[RowFault]
    files: dict[str, str]
    left_out: Counter[str]


def read_all(files: FilesByRole, split: SplitSpec, spec: SourceSpec) -> Read:
    unchecked = read_rows(files, split, spec)
    done = Read({role: [] for role in unchecked.columns}, [], [], [], unchecked.files, unchecked.left_out)
    for row in unchecked.rows:
        if isinstance(row, RowFault):
            done.faults.append(row)
            continue
        done.lines.append(row[0])
        done.positions.append(row[1])
        for role, value in zip(unchecked.columns, row[2], strict=True):
            done.values[role].append(value)
    done.left_out = +done.left_out
    return done


def read(folder: Path, reader: str, content: bytes | str, columns: Any = None, **changes: Any) -> Read:
    file = folder / "data"
    file.write_bytes(content.encode() if isinstance(content, str) else content)
    return read_all({"": DataFile("data", file)}, SPLIT, spec(reader, columns, **changes))


def refused(folder: Path, reader: str, content: bytes | str, **changes: Any) -> str:
    with pytest.raises(UserError) as caught:
        read(folder, reader, content, **changes)
    assert str(folder / "data") in caught.value.where
    assert caught.value.fix
    return str(caught.value)


def faults(rows: Read) -> list[tuple[int, str]]:
    return [(fault.row, fault.reason) for fault in rows.faults]


@pytest.mark.parametrize("name", READERS)
def test_every_reader_is_there_and_explained(name: str) -> None:
    reader = READERS[name]
    assert reader.name == name and reader.summary and set(reader.rows) <= {"texts", "words"} and reader.rows
    assert callable(import_module(f"adaptershare_cli.data.readers.{reader.module}").read)


def test_a_list_of_readers_is_light() -> None:
    code = "import sys; from adaptershare_cli.data.readers import READERS; print('parquet' in READERS, *sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    known, *modules = done.stdout.split()
    assert known == "True" and not {"pyarrow", "pydantic", "numpy"} & set(modules)


# --- tsv and csv


def test_tsv_has_no_quoting(tmp_path: Path) -> None:
    rows = read(tmp_path, "tsv", 'label\ttext\n1\t"open\n0\tsaid "so"\n')
    assert rows.values == {"text": ['"open', 'said "so"'], "label": ["1", "0"]}
    assert (rows.lines, rows.positions, rows.faults) == ([2, 3], [0, 1], [])


def test_tsv_with_quoting(tmp_path: Path) -> None:
    rows = read(tmp_path, "tsv", 'text\tlabel\n"a\tb"\t1\n', quoting="standard")
    assert rows.values["text"] == ["a\tb"]


def test_byte_order_mark_and_crlf(tmp_path: Path) -> None:
    rows = read(tmp_path, "tsv", b"\xef\xbb\xbftext\tlabel\r\na\t1\r\nb\t0")
    assert rows.values == {"text": ["a", "b"], "label": ["1", "0"]}


def test_lines_end_at_line_feeds_only(tmp_path: Path) -> None:
    odd = "a\u2028b\x85c\x0bd\x0ce\x1cf\rg\u2029h"
    for reader, sign in (("tsv", "\t"), ("csv", ",")):
        text = odd.replace("\r", "") if reader == "csv" else odd  # a bare carriage return is a fault in a CSV field
        rows = read(tmp_path, reader, f"text{sign}label\n{text}{sign}1\nnext{sign}0\n")
        assert rows.values["text"] == [text, "next"]
        assert rows.lines == [2, 3]


def test_without_a_header_columns_are_numbers(tmp_path: Path) -> None:
    columns = {"text": 3, "text_pair": None, "label": 1}
    rows = read(tmp_path, "tsv", "s\t1\t\tfine\ns\t0\t*\tbad\n", columns, header=False)
    assert rows.values == {"text": ["fine", "bad"], "label": ["1", "0"]}
    assert rows.lines == [1, 2]
    message = refused(tmp_path, "tsv", "a\t1\n", columns=columns, header=False)
    assert "the column 3 (text) is missing" in message and "0 to 1" in message


def test_without_a_header_a_faulty_first_row_does_not_set_the_width(tmp_path: Path) -> None:
    rows = read(tmp_path, "tsv", "x\na\t1\nb\t0\n", columns={"text": 0, "text_pair": None, "label": 1}, header=False)
    assert rows.values["text"] == ["a", "b"]
    assert faults(rows) == [(1, "has 1 field where 2 are expected")]


def test_text_pair_is_read_where_it_is(tmp_path: Path) -> None:
    assert "text_pair" not in read(tmp_path, "csv", "text,label\na,1\n").values
    assert read(tmp_path, "csv", "text,text_pair,label\na,b,1\n").values["text_pair"] == ["b"]
    message = refused(tmp_path, "csv", "text,label\na,1\n", columns={"text_pair": "second"}, pair_if_present=False)
    assert "the column `second` (text_pair) is missing" in message


def test_a_missing_column_tells_those_there(tmp_path: Path) -> None:
    message = refused(tmp_path, "csv", "sentence,labels\na,1\n", columns={"text": "sentence"})
    assert "the column `label` (label) is missing" in message
    assert "Did you mean `labels`?" in message and "Columns there: sentence, labels" in message
    assert "there twice" in refused(tmp_path, "csv", "text,label,text\na,1,b\n")


@pytest.mark.parametrize(
    ("reader", "sign", "named"), [("csv", "\t", "tabs"), ("tsv", ",", "commas"), ("csv", ";", "semi")]
)
def test_another_delimiter_is_guessed(tmp_path: Path, reader: str, sign: str, named: str) -> None:
    message = refused(tmp_path, reader, f"text{sign}label\na{sign}1\n")
    assert "is not split by" in message and f"perhaps by {named}" in message


def test_a_message_tells_some_columns(tmp_path: Path) -> None:
    names = ",".join(f"c{number}" for number in range(3000))
    assert refused(tmp_path, "csv", f"{names}\n1\n").endswith("c98, c99 and 2900 more.")


def test_rows_with_other_numbers_of_fields(tmp_path: Path) -> None:
    for reader, sign in (("tsv", "\t"), ("csv", ",")):
        content = "text,label\na,1\nb\n\nc,1,2\nd,0\n\n\n".replace(",", sign)
        rows = read(tmp_path, reader, content)
        assert rows.values["text"] == ["a", "d"]
        assert (rows.lines, rows.positions) == ([2, 6], [0, 4])
        reasons = ["has 1 field where 2 are expected", "is an empty line", "has 3 fields where 2 are expected"]
        assert faults(rows) == list(zip((3, 4, 5), reasons, strict=True))


def test_csv_lines_are_counted_through_quoted_line_ends(tmp_path: Path) -> None:
    rows = read(tmp_path, "csv", 'text,label\r\n"a\r\n\r\nb",1\r\n"c ""d"", e",0\r\nbad\r\nf,1\r\n')
    assert rows.values["text"] == ["a\r\n\r\nb", 'c "d", e', "f"]
    assert (rows.lines, rows.positions) == ([2, 5, 7], [0, 1, 3])
    assert faults(rows) == [(6, "has 1 field where 2 are expected")]


def test_a_quote_that_is_never_closed_costs_one_row(tmp_path: Path) -> None:
    rows = read(tmp_path, "csv", 'text,label\na,1\n"b,0\n' + "c,1\n" * 90_000)
    assert rows.values["text"] == ["a", *["c"] * 90_000]
    assert (rows.lines[:3], rows.positions[:3]) == ([2, 4, 5], [0, 2, 3])
    (fault,) = rows.faults
    assert (fault.row, fault.value) == (3, '"b,0')
    assert "a quote that is never closed" in fault.reason and "quoting: none" in fault.reason


def test_a_reader_that_is_left_midway_changes_nothing_for_another(tmp_path: Path) -> None:
    long = "x" * 2 * csv.field_size_limit()
    (tmp_path / "long").write_text(f"text,label\na,1\n{long},0\n")
    both = [read_rows({"": DataFile("long", tmp_path / "long")}, SPLIT, spec("csv")) for _ in range(2)]
    left, other = (iter(unchecked.rows) for unchecked in both)
    for rows in (left, other):
        next(rows)
    del left, both, rows
    row = next(other)
    assert not isinstance(row, RowFault) and long in row[2]


@pytest.mark.parametrize(
    ("line", "reason"),
    [('"a"b,1', "more text after a closing quote"), ('"a,1\nb,"1', "more text"), ("a\rb,1", "carriage return")],
)
def test_other_wrong_quotes_cost_their_first_line(tmp_path: Path, line: str, reason: str) -> None:
    rows = read(tmp_path, "csv", f'text,label\n{line}\n"two\nlines",1\nd,0\n')
    assert rows.values["text"][-2:] == ["two\nlines", "d"]
    assert rows.faults[0].row == 2 and reason in rows.faults[0].reason


def test_a_field_has_so_many_lines_at_most(tmp_path: Path) -> None:
    rows = read(tmp_path, "csv", 'text,label\n"a\n' + "b\n" * 99_990 + 'c",1\n"d,0\n' + "e,1\n" * 100_010)
    assert (rows.lines[0], rows.values["text"][0].count("\n")) == (2, 99_991)
    assert [fault.row for fault in rows.faults] == [99_994] and "100000 lines" in rows.faults[0].reason
    assert len(rows.lines) == 1 + 100_010


def test_wrong_quotes_everywhere_are_the_files_fault(tmp_path: Path) -> None:
    message = refused(tmp_path, "csv", "text,label\n" + '"a"b,1\n' * 200)
    assert "the quotes are wrong in more than 100 rows, the last one at line 102" in message
    assert "quoting: none" in message
    assert "the first line, which names the columns" in refused(tmp_path, "csv", '"text,label\na,1\n')


def test_longest_rows(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for module in (files, delimited):
        monkeypatch.setattr(module, "LONGEST_ROW", 50)
    long = "x" * 47
    for reader, good, bad in (
        ("csv", f"{long},1", f"{long},1234"),
        ("csv", f'"a\n{"b" * 40}",1', f'"a\n{long}",1'),
        ("tsv", f"{long}\t1", f"{long}\t123"),
    ):
        rows = read(
            tmp_path, reader, "text,label\n".replace(",", "\t" if reader == "tsv" else ",") + f"{good}\n{bad}\nlast"
        )
        assert len(rows.lines) == 1 and rows.faults[0].row == rows.lines[0] + 1 + good.count("\n")
        assert "MiB" in rows.faults[0].reason
    rows = read(tmp_path, "jsonl", '{"text": "a", "label": 1}\n{"text": "' + long + '", "label": 1}\n')
    assert rows.lines == [1] and "is longer than" in rows.faults[0].reason
    rows = parallel(tmp_path, "a\n" + long * 2 + "\nc", "x\ny\nz")
    assert rows.values["text"] == ["a", "c"] and "is longer than" in rows.faults[0].reason


def test_very_long_fields(tmp_path: Path) -> None:
    before = csv.field_size_limit()
    rows = read(tmp_path, "csv", f"text,label\n{'a' * 300_000},1\n")
    assert len(rows.values["text"][0]) == 300_000
    assert csv.field_size_limit() == before


cells = st.text(st.characters(codec="utf-8", exclude_characters="\0"), max_size=20)


@given(st.lists(st.tuples(cells, cells), min_size=1, max_size=8))
def test_csv_gives_back_what_a_writer_wrote(
    tmp_path_factory: pytest.TempPathFactory, table: list[tuple[str, str]]
) -> None:
    written = io.StringIO(newline="")
    writer = csv.writer(written, quoting=csv.QUOTE_ALL)
    writer.writerows([("text", "label"), *table])
    rows = read(tmp_path_factory.mktemp("csv"), "csv", written.getvalue())
    assert list(zip(rows.values["text"], rows.values["label"], strict=True)) == table


@given(st.lists(st.text(st.characters(codec="utf-8", exclude_characters="\t\n\r"), min_size=1), min_size=1, max_size=8))
def test_tsv_gives_back_any_text(tmp_path_factory: pytest.TempPathFactory, texts: list[str]) -> None:
    content = "label\ttext\n" + "".join(f"1\t{text}\n" for text in texts)
    assert read(tmp_path_factory.mktemp("tsv"), "tsv", content).values["text"] == texts


def test_large_files_are_read_quickly(tmp_path: Path) -> None:
    content = "sentence\tlabel\n" + "a film of quiet force and some charm \t1\n" * 67_349
    start = time.process_time()
    rows = read(tmp_path, "tsv", content, columns={"text": "sentence"})
    assert len(rows.lines) == 67_349
    assert time.process_time() - start < 2


# --- all text formats


@pytest.mark.parametrize("reader", ["tsv", "csv", "jsonl", "clinc", "parquet"])
def test_files_that_are_not_there_or_not_files(tmp_path: Path, reader: str) -> None:
    def reason() -> str:
        with pytest.raises(UserError) as caught:
            read_all({"": DataFile("data", tmp_path / "data")}, SPLIT, spec(reader))
        assert str(tmp_path / "data") in caught.value.where
        return caught.value.what

    assert reason() == "there is no such file"
    (tmp_path / "data").mkdir()
    assert reason() == "a folder stands where a file is expected"
    (tmp_path / "data").rmdir()
    (tmp_path / "data").touch()
    assert reason() == "the file is empty"


@pytest.mark.parametrize("reader", ["tsv", "csv", "jsonl"])
def test_files_without_rows_and_in_utf_16(tmp_path: Path, reader: str) -> None:
    refused(tmp_path, reader, "\n\n")
    assert "UTF-16" in refused(tmp_path, reader, "text\tlabel\n".encode("utf-16"))
    if reader != "jsonl":
        sign = {"tsv": "\t", "csv": ","}[reader]
        assert "holds no rows" in refused(tmp_path, reader, f"text{sign}label\n")


def test_bytes_that_are_no_utf8_stay_in_their_row(tmp_path: Path) -> None:
    rows = read(tmp_path, "tsv", b"text\tlabel\ncaf\xe9\t1\ncaf\xc3\xa9\t0\n")
    assert rows.values["text"] == ["caf\udce9", "café"]


# --- jsonl


def test_jsonl(tmp_path: Path) -> None:
    rows = read(tmp_path, "jsonl", '{"text": "a\\u2028", "label": 1}\r\n{"label": "x", "text": 5, "more": []}\n\n')
    assert rows.values == {"text": ["a\u2028", 5], "text_pair": [None, None], "label": [1, "x"]}
    assert rows.lines == [1, 2]


def test_jsonl_rows_at_fault(tmp_path: Path) -> None:
    lines = ['{"text": "a", "label": 1}', "{oops", "[1]", "", '{"text": "b"}', '{"text": "c", "label": 0}', "[" * 9999]
    rows = read(tmp_path, "jsonl", "\n".join(lines))
    assert (rows.values["text"], rows.lines, rows.positions) == (["a", "c"], [1, 6], [0, 5])
    assert [row for row, _ in faults(rows)] == [2, 3, 4, 5, 7]
    told = [reason for _, reason in faults(rows)]
    assert "not JSON" in told[0] and "not a JSON object" in told[1] and "empty" in told[2]
    assert told[3] == "has no key `label`"


def test_jsonl_without_the_column_or_without_objects(tmp_path: Path) -> None:
    assert "Columns there: sentence, label" in refused(tmp_path, "jsonl", '{"sentence": "a", "label": 1}\n')
    assert "one JSON object a line, not one list of them" in refused(
        tmp_path, "jsonl", '[\n{"text": "a", "label": 1}\n]'.replace("\n", "")
    )


@given(st.lists(st.text(st.characters(codec="utf-8")), min_size=1, max_size=8), st.booleans())
def test_jsonl_gives_back_any_text(tmp_path_factory: pytest.TempPathFactory, texts: list[str], plain: bool) -> None:
    content = "".join(json.dumps({"text": text, "label": "1"}, ensure_ascii=plain) + "\n" for text in texts)
    assert read(tmp_path_factory.mktemp("jsonl"), "jsonl", content).values["text"] == texts


# --- parquet


def parquet(columns: dict[str, Any]) -> bytes:
    sink = io.BytesIO()
    pq.write_table(pa.table(columns), sink, write_page_checksum=True)
    return sink.getvalue()


def test_parquet(tmp_path: Path) -> None:
    label = pa.array([1, None], pa.int8())
    rows = read(tmp_path, "parquet", parquet({"other": [1, 2], "label": label, "text": ["a", None]}))
    assert rows.values == {"text": ["a", None], "label": [1, None]}
    assert (rows.lines, rows.positions) == ([1, 2], [0, 1])
    names = pa.array(["x", "y", "x"]).dictionary_encode()
    rows = read(tmp_path, "parquet", parquet({"text": pa.array(["a", "b", "c"], pa.large_string()), "label": names}))
    assert rows.values["label"] == ["x", "y", "x"]


def test_parquet_faults(tmp_path: Path) -> None:
    assert "has the type int64, not text" in refused(tmp_path, "parquet", parquet({"text": [1], "label": [1]}))
    assert "has the type list" in refused(tmp_path, "parquet", parquet({"text": ["a"], "label": [[1]]}))
    assert "Columns there: a, label" in refused(tmp_path, "parquet", parquet({"a": ["a"], "label": [1]}))
    assert "holds no rows" in refused(tmp_path, "parquet", parquet({"text": pa.array([], pa.string()), "label": []}))
    whole = parquet({"text": ["a text that is long enough to be hit"] * 3, "label": [1, 2, 3]})
    assert "cannot be read as Parquet" in refused(tmp_path, "parquet", whole[:-20])
    broken = whole.replace(b"long enough", b"lung enough", 1)
    assert broken != whole and "cannot be read as Parquet" in refused(tmp_path, "parquet", broken)


def test_parquet_text_that_is_no_utf8(tmp_path: Path) -> None:
    encoded = pa.array([b"caf\xe9", b"ok"])
    text = pa.Array.from_buffers(pa.string(), 2, encoded.buffers())
    rows = read(tmp_path, "parquet", parquet({"text": text, "label": [1, 2]}))
    assert rows.values["text"] == ["caf\udce9", "ok"]


# --- parallel files and CLINC


def parallel(folder: Path, text: str, label: str) -> Read:
    (folder / "seq.in").write_text(text)
    (folder / "label").write_text(label)
    files = {"text": DataFile("t/seq.in", folder / "seq.in"), "label": DataFile("t/label", folder / "label")}
    return read_all(files, SPLIT, spec("lines"))


def test_parallel_files(tmp_path: Path) -> None:
    rows = parallel(tmp_path, "a b\nc\n", "x#y\nz")
    assert rows.values == {"text": ["a b", "c"], "label": ["x#y", "z"]}
    assert rows.lines == [1, 2]
    assert rows.files == {"text": "t/seq.in", "label": "t/label"}
    assert parallel(tmp_path, "a\n\nb\n", "x\ny\nz\n").values["text"] == ["a", "", "b"]


def test_parallel_files_of_different_lengths(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"differ in lines \(t/seq.in: 2, t/label: 3\)"):
        parallel(tmp_path, "a\nb\n", "x\ny\nz\n")


def test_clinc(tmp_path: Path) -> None:
    content = json.dumps({"train": [["a", "x"], ["b"], "c", ["d", "y"]], "val": [["e", "x"]], "empty": [], "n": 1})
    (tmp_path / "data").write_text(content)

    def rows(key: str) -> Read:
        split = SplitSpec("train", (("", "data"),), key=key)
        return read_all({"": DataFile("data", tmp_path / "data")}, split, spec("clinc"))

    train = rows("train")
    assert train.values == {"text": ["a", "d"], "label": ["x", "y"]}
    assert (train.lines, train.positions) == ([1, 4], [0, 3])
    assert faults(train) == [(row, "is not a pair [text, intent]") for row in (2, 3)]
    assert rows("val").values["text"] == ["e"]
    for key, told in (("vall", "Did you mean `val`?"), ("n", "Lists there: train, val, empty"), ("empty", "no rows")):
        with pytest.raises(UserError) as caught:
            rows(key)
        assert told in str(caught.value)
    assert "not JSON" in refused(tmp_path, "clinc", content[:-5])
    assert "no list under the key" in refused(tmp_path, "clinc", "[]")


# ---- what is beside rows ----

COMMENTED = "# id a domain=en\nthe _ _ O\n# _ _ O\nriver _ _ B-LOC\n\n# id b domain=en\n# id c\nflows _ _ O\n"
OF_CONLL = {"text": 0, "text_pair": None, "label": 3}


def test_comments_of_conll_stand_before_a_sentences_first_word(tmp_path: Path) -> None:
    rows = read(tmp_path, "conll", COMMENTED, OF_CONLL, comment="# ")
    assert rows.values == {"text": [["the", "#", "river"], ["flows"]], "label": [["O", "O", "B-LOC"], ["O"]]}
    assert rows.lines == [2, 8] and rows.left_out == {"comment lines": 3}


def test_comments_that_nobody_has_told_of_are_refused(tmp_path: Path) -> None:
    """They may have as many columns as a word's line, and then nothing else would tell them."""
    same_width = COMMENTED.replace("# id c\n", "")
    told = refused(tmp_path, "conll", same_width, columns=OF_CONLL)
    assert "2 of the first 2 sentences begin with a line such as `# id a domain=en`" in told
    assert '`comment: "# "`' in told and "`comment: none`" in told
    as_words = read(tmp_path, "conll", same_width, OF_CONLL, comment="none")
    assert as_words.values["text"] == [["#", "the", "#", "river"], ["#", "flows"]] and not as_words.left_out


def test_a_sign_that_begins_few_sentences_is_a_word(tmp_path: Path) -> None:
    tweets = "\n".join(f"{word} O\nnow O\n" for word in ("#", "we", "#metoo", "go"))
    rows = read(tmp_path, "conll", tweets, {**OF_CONLL, "label": 1})
    assert [words[0] for words in rows.values["text"]] == ["#", "we", "#metoo", "go"]


def test_a_line_that_may_be_a_comment_is_told_so(tmp_path: Path) -> None:
    odd = "the O\n\n# newdoc id = x\nriver O\n\nflows O\n"
    (fault,) = read(tmp_path, "conll", odd, {**OF_CONLL, "label": 1}).faults
    assert (fault.row, fault.column) == (3, "") and 'if it is a comment, write `comment: "#"`' in fault.reason


def test_documents_lines_are_counted(tmp_path: Path) -> None:
    rows = read(tmp_path, "conll", "-DOCSTART- O\n\na O\n\n-DOCSTART- O\nb O\n", {**OF_CONLL, "label": 1})
    assert rows.values["text"] == [["a"], ["b"]] and rows.left_out == {"-DOCSTART- lines": 2}


def conllu(*words: str, upos: str = "X") -> str:
    """Lines of CoNLL-U, each with its number (`1=the`)."""
    parted = (word.split("=") for word in words)
    return "".join(f"{number}\t{form}\t_\t{upos}\t_\t_\t0\troot\t_\t_\n" for number, form in parted)


OF_CONLLU = {"text": "form", "text_pair": None, "label": "upos"}


def test_conllu_gives_the_syntactic_words(tmp_path: Path) -> None:
    text = "# sent_id = 1\n" + conllu("1-2=vámonos", "1=vamos", "2=nos", "2.1=elided", "3=a\u00a0b c")
    rows = read(tmp_path, "conllu", text + "\n# newdoc\n\n" + conllu("1=#", "2=mar"), OF_CONLLU)
    assert rows.values["text"] == [["vamos", "nos", "a\u00a0b c"], ["#", "mar"]]
    assert rows.values["label"] == [["X"] * 3, ["X"] * 2] and rows.lines == [3, 10]
    assert rows.left_out == {"comment lines": 2, "lines of several words": 1, "empty nodes": 1}


def test_conllu_without_words_or_labels(tmp_path: Path) -> None:
    assert "every word of the file is `_`" in refused(tmp_path, "conllu", conllu("1=_", "2=_"), columns=OF_CONLLU)
    rows = read(tmp_path, "conllu", conllu("1=a", upos="_") + "\n" + conllu("1=b"), OF_CONLLU)
    assert rows.values["text"] == [["b"]] and "without upos" in rows.faults[0].reason
    features = read(tmp_path, "conllu", conllu("1=a"), {**OF_CONLLU, "label": "feats"})
    assert features.values["label"] == [["_"]]  # it has none


def test_conllu_is_not_read_as_conll(tmp_path: Path) -> None:
    text = conllu("1-2=vámonos", "1=vamos", "2=nos")
    told = refused(tmp_path, "conll", text, columns={"text": 1, "text_pair": None, "label": 3}, comment="#")
    assert "`reader: conllu`" in told and "upos" in told


@pytest.mark.parametrize("reader", ["csv", "tsv"])
def test_comments_of_tables_stand_between_rows(reader: str, tmp_path: Path) -> None:
    text = '# it"s, from 2024\ntext,label\n# a, "b\nfine,yes\ndull # so,no\n#,yes\n'
    text = text.replace(",", "," if reader == "csv" else "\t")
    rows = read(tmp_path, reader, text, {"text_pair": None}, comment="# ")
    assert rows.values == {"text": ["fine", "dull # so", "#"], "label": ["yes", "no", "yes"]} and not rows.faults
    assert rows.left_out == {"comment lines": 2} and rows.lines == [4, 5, 6]
    inside = read(tmp_path, "csv", 'text,label\n"one\n# two",yes\n# three\n', {"text_pair": None}, comment="# ")
    assert inside.values["text"] == ["one\n# two"] and inside.left_out == {"comment lines": 1}
    numbered = {"text": 0, "text_pair": None, "label": 1}
    bare = read(tmp_path, "csv", "# x\nfine,yes\n", numbered, comment="#", header=False)
    assert bare.values["text"] == ["fine"] and bare.left_out == {"comment lines": 1}
