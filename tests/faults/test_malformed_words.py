"""Malformed tagging data: one table of defect x format, each cell through the real download stage."""

from __future__ import annotations

import io
import itertools
import json
import os
import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from adaptershare_cli.data.definition import parse_definition
from adaptershare_cli.data.readers import read_rows
from adaptershare_cli.data.readers.rows import RowFault
from adaptershare_cli.data.reading import read_task
from adaptershare_cli.data.sources import files_of, resolve_source
from adaptershare_cli.errors import UserError
from adaptershare_cli.kinds.rows.texts import is_visible
from tests.cli.conftest import good, only, refused
from tests.faults.malformed import Cannot, Read, Refused, Rejected, check_made, check_refused
from tests.faults.test_any_bytes import EDIT, QUICKLY, decoded, edited

FORMATS = ("conll", "conllu", "lines", "jsonl", "parquet")
WORDS = [["a", "fine", "film"], ["die", "Suppe"], ["the", "plot", "was", "dull"], ["ivan"]]
LABELS = [["O", "B-x", "I-x"], ["O", "B-y"], ["O", "B-x", "O", "O"], ["B-y"]]
BAD = 2  # the third sentence is the one that is spoilt
KNOWN = ["O", "B-x", "I-x", "B-y"]
# The line of a sentence: in conll that of its first word (a -DOCSTART- line and an empty one stand before all), in
# conllu too (a comment and a line of two words stand before each).
LINES = {"conll": (3, 7, 10, 15), "conllu": (3, 9, 14, 21)}
NAMED = {"conll": {"text": "0", "label": "2"}, "conllu": {"text": "form", "label": "upos"}}


@pytest.fixture(autouse=True)
def quick_disk(monkeypatch: pytest.MonkeyPatch) -> None:
    """What a file says does not depend on when it reaches the disk."""
    monkeypatch.setattr(os, "fsync", lambda descriptor: None)


@dataclass(frozen=True)
class Spoilt:
    """How a good split is spoilt: the third sentence's words and labels, or the bytes of each file."""

    words: Any = None
    labels: Any = None
    files: Callable[[bytes], Any] | None = None


def write(form: str, words: list[Any], labels: list[Any]) -> dict[str, bytes]:
    """The files of one split by name (`""` for a split in one file)."""
    if form == "conll":
        sentences = (zip(*row, strict=True) for row in zip(words, labels, strict=True))
        text = "\n".join("".join(f"{word} NN {label}\n" for word, label in row) for row in sentences)
        return {"": b"-DOCSTART- -X- O\n\n" + text.encode("utf-8", "surrogateescape")}
    if form == "conllu":
        blocks = []
        for of_words, of_labels in zip(words, labels, strict=True):
            numbered = enumerate(zip(of_words, of_labels, strict=True), start=1)
            lines = [f"{number}\t{word}\t_\t{label}\t_\t_\t0\troot\t_\t_" for number, (word, label) in numbered]
            blocks.append("\n".join(["# sent_id = x", "1-2" + "\t_" * 9, *lines]) + "\n")
        return {"": "\n".join(blocks).encode("utf-8", "surrogateescape")}
    if form == "lines":
        texts = {"text": words, "label": labels}
        return {
            name: "".join(" ".join(row) + "\n" for row in rows).encode("utf-8", "surrogateescape")
            for name, rows in texts.items()
        }
    if form == "jsonl":
        rows = [{"text": row, "label": given} for row, given in zip(words, labels, strict=True)]
        return {"": "".join(json.dumps(row) + "\n" for row in rows).encode()}
    sink = io.BytesIO()
    pq.write_table(pa.table({"text": pa.array(words), "label": pa.array(labels)}), sink)
    return {"": sink.getvalue()}


def lay_out(root: Path, form: str, defect: Spoilt) -> None:
    """A task `spoilt` below `root`: its definition, and its files, those of train with the defect."""
    words = [defect.words if at == BAD and defect.words is not None else row for at, row in enumerate(WORDS)]
    labels = [defect.labels if at == BAD and defect.labels is not None else row for at, row in enumerate(LABELS)]
    for split, files in (("train", write(form, words, labels)), ("dev", write(form, WORDS, LABELS))):
        for name, content in files.items():
            path = root / "data" / split / name if name else root / "data" / split
            path.parent.mkdir(parents=True, exist_ok=True)
            spoil = defect.files if split == "train" else None
            path.write_bytes(spoil(content) if spoil else content)
    files = {"reader": form, "splits": {"train": "train", "dev": "dev"}}
    files |= {"columns": NAMED[form]} if form in NAMED else {}
    task = {"kind": "tagging", "labels": KNOWN, "metrics": ["span_f1"], "report_on": ["dev"], "files": files}
    (root / "spoilt.yaml").write_text(json.dumps(task))


def swap(old: bytes, new: bytes) -> Spoilt:
    """Bytes that stand once in a good train file become others; files without them stay as they are."""
    return Spoilt(files=lambda data: data.replace(old, new, 1))


def files(change: Callable[[bytes], bytes]) -> Spoilt:
    """Each file's content becomes another."""
    return Spoilt(files=change)


@dataclass(frozen=True)
class Word(Rejected):
    """A word or label of the third sentence is at fault: `place` in it; in conll its own line is named."""

    place: int = 0


BY_LINE = Cannot("in CoNLL a line has a word and its label, so there are as many of both")
NO_LINES = Cannot("a Parquet file has no lines")
BLANKS = Cannot("blanks part words here, so none can be empty")
TYPED = Cannot("a text file has texts only")
Row = dict[str, tuple[Spoilt, Any]]


def cells(defect: Spoilt, outcome: Any, **others: Any) -> Row:
    """A row of the table: the same in all formats but `others`, which have another outcome, or defect and outcome."""
    like_conll = {"conllu": others["conll"]} if "conll" in others else {}  # where it is not said otherwise
    found = {form: (like_conll | others).get(form, outcome) for form in FORMATS}
    return {form: cell if isinstance(cell, tuple) else (defect, cell) for form, cell in found.items()}


def _typed(words: Any) -> dict[str, bytes]:
    return write("parquet", words, LABELS)


TABLE: dict[str, Row] = {
    "more words than labels": cells(
        Spoilt(labels=["O", "B-x", "O"]), Rejected("label", "has 3 labels for 4 words"), conll=BY_LINE
    ),
    "more labels than words": cells(
        Spoilt(words=["the"]), Rejected("label", "has 4 labels for 1 word"), conll=BY_LINE
    ),
    "no label": cells(
        Spoilt(labels=[]), Rejected("label", "has 0 labels for 4 words"), conll=BY_LINE,
        parquet=(Spoilt(labels=[]), Rejected("label", "has 0 labels for 4 words")),
    ),
    "a label outside the list": cells(
        Spoilt(labels=["O", "B-z", "O", "O"]),
        Word("label", "is not one of the labels (O, B-x, I-x, B-y) (word 2 of its sentence)", place=1),
    ),
    "a label in another case": cells(
        Spoilt(labels=["O", "O", "O", "b-X"]), Word("label", "but `B-x` in all but case", place=3)
    ),
    "an empty sentence": cells(
        Spoilt(words=[], labels=[]), Rejected("text", "holds no word"),
        conll=Cannot("empty lines part sentences, so none can be empty"),
    ),
    "an empty word": cells(
        Spoilt(words=["the", "plot", "", "dull"]), Word("text", "is empty (word 3 of its sentence)", place=2),
        lines=BLANKS, conll=(swap(b"was NN O", b" NN O"), Word("", "has 2 fields where 3 are expected", place=2)),
        conllu=Word("text", "is empty (word 3 of its sentence)", place=2),
    ),
    "an empty label": cells(
        Spoilt(labels=["O", "", "O", "O"]), Word("label", "is empty (word 2 of its sentence)", place=1), lines=BLANKS,
        conll=(swap(b"plot NN B-x", b"plot NN "), Word("", "has 2 fields where 3 are expected", place=1)),
        conllu=Word("label", "is empty (word 2 of its sentence)", place=1),
    ),
    "a word without a visible character": cells(
        Spoilt(words=["the", "plot", "\u200b", "dull"]), Word("text", "holds no visible character", place=2)
    ),
    "a NUL byte": cells(Spoilt(words=["the", "pl\0ot", "was", "dull"]), Word("text", "holds a NUL byte", place=1)),
    "bad UTF-8": cells(
        Spoilt(words=["the", "pl\udce9t", "was", "dull"]), Word("text", "is not valid UTF-8", place=1),
        parquet=(files(lambda data: data.replace(b"plot", b"pl\xe9t")), Word("text", "is not valid UTF-8", place=1)),
    ),
    "a column missing in one line": cells(
        swap(b"was NN O", b"was O"), Cannot("only CoNLL has columns in lines"),
        conll=Word("", "has 2 fields where 3 are expected", place=2),
        conllu=(swap(b"was\t_", b"was"), Word("", "has 9 fields where 10 are expected, parted by tabs", place=2)),
        jsonl=(
            swap(b', "label": ["O", "B-x", "O", "O"]', b""), Rejected("label", "has no key `label`"),
        ),
    ),
    "a blank in a word": cells(
        swap(b"was NN O", b"was not NN O"), Cannot("a list's word may hold blanks"),
        conll=Word("", "has 4 fields where 3 are expected", place=2),
        conllu=(swap(b"\twas\t", b"\twas not\t"), Read(b"the plot was not dull")),
        lines=(swap(b"was", b"was not"), Rejected("label", "has 4 labels for 5 words")),
        jsonl=(swap(b'"was"', b'"was not"'), Read(b"the plot was not dull")),
    ),
    "a null": cells(
        Spoilt(words=["the", None, "was", "dull"]), Word("text", "is missing (word 2 of its sentence)", place=1),
        conll=TYPED, lines=TYPED,
    ),
    "no list": cells(
        Spoilt(words=5), Rejected("text", "is not a list but a number"), conll=TYPED, lines=TYPED,
        parquet=Cannot("a column of a Parquet file has one type; a column of a wrong type stands below"),
    ),
    "a list of lists": cells(
        Spoilt(words=[["the"], "plot", "was", "dull"]), Word("text", "is not text but a list"), conll=TYPED,
        lines=TYPED, parquet=(
            files(lambda data: _typed([[[word] for word in row] for row in WORDS])[""]), Refused("has the type list"),
        ),
    ),
    "a column of a wrong type": cells(
        Spoilt(), TYPED, jsonl=Cannot("a JSON value has a type of its own: no list, above"),
        parquet=(files(lambda data: _typed([1, 2, 3, 4])[""]), Refused("has the type int64, not text")),
    ),
    "no line end at the end": cells(files(lambda data: data.removesuffix(b"\n")), Read(), parquet=NO_LINES),
    "CRLF": cells(files(lambda data: data.replace(b"\n", b"\r\n")), Read(), parquet=NO_LINES),
    "CR alone": cells(
        files(lambda data: data.replace(b"\n", b"\r")), Refused("carriage return alone"), parquet=NO_LINES
    ),
    "a byte-order mark": cells(
        files(lambda data: b"\xef\xbb\xbf" + data), Read(), parquet=Refused("cannot be read as Parquet")
    ),
    "empty lines at the end": cells(
        files(lambda data: data + b"\n\r\n  \n"), Read(), parquet=NO_LINES,
        lines=(files(lambda data: data + b"\n" if b"film" in data else data), Refused("differ in lines")),
    ),
    "more empty lines between sentences": cells(
        files(lambda data: data.replace(b"\n\n", b"\n\n \t\n\n")), Cannot("only CoNLL has empty lines"), conll=Read()
    ),
    "tabs between columns": cells(
        files(lambda data: data.replace(b" ", b"\t")), Cannot("only CoNLL and lists in lines have blanks"),
        conll=Read(), lines=Read(), conllu=Cannot("tabs part the columns of CoNLL-U as it is"),
    ),
    "a document's line without an empty one": cells(
        swap(b"-DOCSTART- -X- O\n\n", b"-DOCSTART-\n"), Cannot("only CoNLL has such lines"), conll=Read(),
        conllu=Cannot("a document's line is a comment in CoNLL-U"),
    ),
    "a word without its label": cells(
        swap(b"plot\t_\tB-x", b"plot\t_\t_"), Cannot("only CoNLL-U has a sign for nothing"),
        conllu=Word("", "has a word without upos (`_`)", place=1),
    ),
    "comments and what is no word": cells(
        files(lambda data: data.replace(b"\n2\t", b"\n# text = x\n1.1" + b"\t_" * 9 + b"\n2\t")),
        Cannot("only CoNLL-U has a layout for them; in conll see `comment`"), conllu=Read(),
    ),
    "an empty file": cells(files(lambda data: b""), Refused("the file is empty")),
    "no sentence": cells(
        files(lambda data: b"-DOCSTART- -X- O\n\n"), Cannot("only CoNLL has lines that are no rows"),
        conll=Refused("the file holds no rows"),
        conllu=(files(lambda data: b"# newdoc\n\n# sent_id = x\n"), Refused("the file holds no rows")),
    ),
    "a missing column": cells(
        files(lambda data: data.replace(b" NN", b"")), Refused("is missing"),
        conll=Refused("the column 2 (label) is missing"), conllu=Cannot("the columns of CoNLL-U are always the same"),
        lines=Cannot("a file is a column: no file, in other tests"),
        jsonl=(files(lambda data: data.replace(b"label", b"labels")), Refused("the column `label` (label) is missing")),
        parquet=(
            files(lambda data: _renamed(data)), Refused("the column `label` (label) is missing"),
        ),
    ),
}  # fmt: skip


def _renamed(data: bytes) -> bytes:
    sink = io.BytesIO()
    pq.write_table(pq.read_table(io.BytesIO(data)).rename_columns(["text", "labels"]), sink)
    return sink.getvalue()


@pytest.mark.parametrize("defect", TABLE)
@pytest.mark.parametrize("form", FORMATS)
def test_cell(form: str, defect: str, tmp_path: Path) -> None:
    how, outcome = TABLE[defect][form]
    if isinstance(outcome, Cannot):
        assert len(outcome.why) > 20
        return
    if form == "jsonl" and defect == "bad UTF-8":
        how = files(lambda data: data.replace(b"plot", b"pl\xe9t"))
    lay_out(tmp_path, form, how)
    if isinstance(outcome, Refused):
        check_refused(tmp_path, outcome)
        return
    expected = [" ".join(words) for words in WORDS]
    if isinstance(outcome, Rejected):
        # In conllu, where lines may stand between words, a word's line is named where its columns are at fault.
        by_line = form == "conll" or (form == "conllu" and not outcome.column)
        line = LINES.get(form, range(1, 5))[BAD] + (outcome.place if by_line and isinstance(outcome, Word) else 0)
        name = NAMED[form].get(outcome.column, "") if form in NAMED else outcome.column
        train = check_made(tmp_path, outcome, f"train/{outcome.column}" if form == "lines" else "train", line, name)
        del expected[BAD]
    else:
        train = check_made(tmp_path, None)
        if outcome.text != Read().text:
            expected[BAD] = outcome.text.decode()
    assert [" ".join(words) for words in train["text"].to_pylist()] == expected
    kept = [row for row in range(4) if not (isinstance(outcome, Rejected) and row == BAD)]
    assert train["row"].to_pylist() == kept
    assert train["label"].to_pylist() == [LABELS[row] for row in kept]


# ---- whatever bytes ----


def look(form: str, files: dict[str, bytes], rows: list[int], lines: dict[int, int]) -> list[tuple[Any, Any]]:
    """Words and labels of the given rows by a plain look at the files."""
    if form == "parquet":
        table = pq.read_table(io.BytesIO(files[""]))
        return [(table["text"][row].as_py(), table["label"][row].as_py()) for row in rows]
    text = {name: decoded(content).split("\n") for name, content in files.items()}
    if form == "jsonl":
        found = [json.loads(text[""][lines[row] - 1]) for row in rows]
        return [tuple(v.split() if isinstance(v, str) else v for v in (f["text"], f["label"])) for f in found]
    if form == "lines":
        return [
            tuple(re.split("[ \t\r]+", text[name][row].strip(" \t\r")) for name in ("text", "label")) for row in rows
        ]
    sentences = []
    if form == "conllu":
        for row in rows:
            block = itertools.takewhile(lambda line: line.strip(" \t\r"), text[""][lines[row] - 1 :])
            parts = [line.split("\t") for line in block if not re.match(r"#|\d+[-.]\d+\t", line)]
            sentences.append(([fields[1] for fields in parts], [fields[3] for fields in parts]))
        return sentences
    for row in rows:
        words = itertools.takewhile(
            lambda line: line.strip(" \t\r") and not line.startswith("-DOCSTART-"), text[""][lines[row] - 1 :]
        )
        columns = [re.split("[ \t\r]+", line.strip(" \t\r")) for line in words]
        sentences.append(([fields[0] for fields in columns], [fields[2] for fields in columns]))
    return sentences


@pytest.mark.parametrize("form", FORMATS)
@pytest.mark.parametrize("examples", [40, pytest.param(1000, marks=pytest.mark.slow)])
def test_files_after_accidents(form: str, examples: int, tmp_path: Path) -> None:
    """A clear error, or a table that holds what a plain look at the files finds there."""
    lay_out(tmp_path, form, Spoilt())
    task, folder = parse_definition(tmp_path / "spoilt.yaml"), tmp_path / "data"
    content = write(form, WORDS, LABELS)
    spoilt = {n: st.lists(EDIT, max_size=6).map(lambda edits, c=c: edited(c, edits)) for n, c in content.items()}

    @settings(QUICKLY, max_examples=examples)
    @given(st.fixed_dictionaries(spoilt))
    def run(files: dict[str, bytes]) -> None:
        for name, data in files.items():
            (folder / "train" / name if name else folder / "train").write_bytes(data)
        try:
            train = read_task(task, resolve_source(task, folder), 100).splits["train"]
        except UserError as error:
            assert error.what and error.where and error.fix
            return
        train.validate(full=True)
        split = task.files.split("train")  # type: ignore[union-attr]
        raw = read_rows((files_of(resolve_source(task, folder), split) or [{}])[0], split, task.files)  # type: ignore[arg-type]
        lines = {row[1]: row[0] for row in raw.rows if not isinstance(row, RowFault)}
        found = train.to_pylist()
        assert [(row["text"], row["label"]) for row in found] == [
            (list(words), [str(label).strip() for label in labels])
            for words, labels in look(form, files, [row["row"] for row in found], lines)
        ]
        for row in found:
            assert len(row["text"]) == len(row["label"]) > 0 and set(row["label"]) <= set(KNOWN)
            assert all(map(is_visible, row["text"]))

    run()


def test_a_sentence_without_end_is_one_row_too_long(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A file without empty lines does not fill the memory: its sentence is rejected at the line that is too much."""
    from adaptershare_cli.data.readers import conll

    monkeypatch.setattr(conll, "LONGEST_ROW", 200)
    lay_out(tmp_path, "conll", Spoilt())
    text = b"ab NN O\n" * 100 + b"\n" + b"a NN O\n"
    (tmp_path / "data" / "train").write_bytes(text)
    arguments = ("download", "-t", "spoilt", "--task-dir", tmp_path, "--from", tmp_path / "data", "-w", tmp_path / "w")
    refused(*arguments, says=("train, row 26", "is longer than 16 MiB"))
    good(*arguments, "--max-rejected", 1)
    train = pq.read_table(only(tmp_path / "w", "download/spoilt-*/train.parquet"))
    assert train["text"].to_pylist() == [["a"]] and train["row"].to_pylist() == [1]
