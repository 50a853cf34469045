"""Files with one defect each, in every format that the readers know, and what `download` is to make of them."""

from __future__ import annotations

import io
import json
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
from openpyxl import Workbook

from tests.cli.conftest import good, only, refused

FORMATS = ("csv", "tsv", "tsv_quoted", "jsonl", "parquet", "xlsx", "lines", "clinc")
Values = dict[str, Any]  # column to value; bytes stand for a text's UTF-8
# The third row is the one that is spoilt. A line end inside the first one must not shift the line numbers.
ROWS: tuple[Values, ...] = (
    {"text": b"a fine\nfilm", "label": b"yes"},
    {"text": b'they "liked" it', "label": b"no"},
    {"text": b"the plot was dull", "label": b"no"},
    {"text": "die Suppe war gut und süß".encode(), "label": b"yes"},
)
BAD = 2


@dataclass(frozen=True)
class Read:
    """The file is read right; `text` is that of the third row."""

    text: bytes = ROWS[BAD]["text"]


@dataclass(frozen=True)
class Rejected:
    """The row is at fault: an error that names it, or with --max-rejected 1 a row of rejected.parquet."""

    column: str  # "" where no column can be named
    reason: str
    index: int = BAD


@dataclass(frozen=True)
class Refused:
    """The whole file is at fault, whatever may be rejected."""

    says: str


@dataclass(frozen=True)
class Cannot:
    """The defect cannot be in such a file."""

    why: str


@dataclass(frozen=True)
class Defect:
    """How a good split is spoilt: the third row's values or its raw line, all rows, a column twice, the files."""

    values: Values | None = None
    line: bytes | None = None
    rows: Callable[[list[Values]], list[Values]] | None = None
    twice: str = ""
    files: Callable[[Any], Any] | None = None  # each file's content, to other bytes, or to FOLDER, PIPE or None
    regression: bool = False


FOLDER, PIPE = "folder", "pipe"
Outcome = Read | Rejected | Refused | Cannot
Cell = tuple[Defect, Outcome]


# ---- files ----


def good_rows(form: str, regression: bool = False) -> list[Values]:
    """Four rows; formats that have no quoting hold no line end in a text."""
    rows = [dict(row) for row in ROWS]
    if form in ("tsv", "lines"):
        rows[0]["text"] = b"a fine film"
    for row in rows if regression else ():
        row["label"] = {b"yes": b"4.5", b"no": b"1"}[row["label"]]
    return rows


def spoilt_files(form: str, defect: Defect) -> dict[str, Any]:
    """The train split's files by name, with the defect."""
    rows = good_rows(form, defect.regression)
    rows[BAD] |= defect.values or {}
    rows = defect.rows(rows) if defect.rows else rows
    files = write(form, rows, defect.twice)
    if defect.line is not None:
        name, content = next(iter(files.items()))
        before = b"\n".join(content.split(b"\n")[:BAD]) if form == "clinc" else write(form, rows[:BAD])[name][:-1]
        after = content[len(before) + 1 :]
        files[name] = before + b"\n" + defect.line + after[after.index(b"\n") :]
    if defect.files:
        files = {name: defect.files(content) for name, content in files.items()}
    return {name: content for name, content in files.items() if content is not None}


def write(form: str, rows: list[Values], twice: str = "", names: Sequence[str] = ()) -> dict[str, Any]:
    """The files of one split by name (`""` for a split in one file)."""
    names = list(names) or ([*rows[0], twice] if twice else list(rows[0]))
    if form == "lines":
        return {name: b"".join(row[name] + b"\n" for row in rows) for name in names}
    if form == "parquet":
        sink = io.BytesIO()
        pq.write_table(pa.Table.from_arrays([_array([row[name] for row in rows]) for name in names], names), sink)
        return {"": sink.getvalue()}
    if form == "xlsx":
        return {"": _workbook([names, *([row[name] for name in names] for row in rows)])}
    if form == "jsonl":
        objects = (b", ".join(_json(name) + b": " + _json(row[name]) for name in names) for row in rows)
        return {"": b"".join(b"{" + text + b"}\n" for text in objects)}
    if form == "clinc":
        items = b",\n".join(b"[" + b", ".join(_json(row[name]) for name in names) + b"]" for row in rows)
        return {"": b'{"train": [' + items + b"]}\n"}
    sign = b"," if form == "csv" else b"\t"
    lines = [[name.encode() for name in names], *([_field(form, row[name]) for name in names] for row in rows)]
    return {"": b"".join(sign.join(line) + b"\n" for line in lines)}


def _workbook(rows: list[list[Any]]) -> bytes:
    book, sink = Workbook(write_only=True), io.BytesIO()
    sheet = book.create_sheet()
    for row in rows:
        sheet.append([value.decode() or None if isinstance(value, bytes) else value for value in row])
    book.save(sink)
    return sink.getvalue()


def _field(form: str, value: bytes) -> bytes:
    quoted = form != "tsv" and any(sign in value for sign in b'",\t\n')
    return b'"' + value.replace(b'"', b'""') + b'"' if quoted else value


def _json(value: Any) -> bytes:
    """JSON of a value; bytes that are no UTF-8, and NUL, stay as they are."""
    if not isinstance(value, bytes):
        return json.dumps(value).encode()
    return (
        b'"' + value.replace(b"\\", b"\\\\").replace(b'"', b'\\"').replace(b"\n", b"\\n").replace(b"\t", b"\\t") + b'"'
    )


def _array(values: list[Any]) -> pa.Array:
    """A column; bytes are taken for UTF-8 without a look."""
    if all(isinstance(value, bytes | None) for value in values):
        raw = pa.array(values, pa.binary())
        return pa.Array.from_buffers(pa.string(), len(raw), raw.buffers(), raw.null_count)
    return pa.array([value.decode() if isinstance(value, bytes) else value for value in values])


def lay_out(root: Path, form: str, defect: Defect) -> Path:
    """A task `spoilt` below `root`: its definition, and its files, those of train with the defect."""
    good = write(form, good_rows(form, defect.regression))
    if form == "clinc":
        good[""] = good[""].replace(b'"train"', b'"dev"')
    for split, files in (("train", spoilt_files(form, defect)), ("dev", good)):
        for name, content in files.items():
            path = root / "data" / split / name if name else root / "data" / split
            path.parent.mkdir(parents=True, exist_ok=True)
            if content == FOLDER:
                path.mkdir()
            elif content == PIPE:
                os.mkfifo(path)
            else:
                path.write_bytes(content)
    reader, _, quoted = form.partition("_")
    files = {
        "reader": reader,
        "splits": {"train": "train", "dev": "dev"},
        **({"quoting": "standard"} if quoted else {}),
    }
    task = {"kind": "classification", "labels": ["no", "yes"], "metrics": ["accuracy"]}
    if defect.regression:
        task = {"kind": "regression", "range": [0, 5], "metrics": ["pearson"]}
    (root / "spoilt.yaml").write_text(json.dumps({**task, "report_on": ["dev"], "files": files}))
    return root


def _download(root: Path) -> tuple[Any, ...]:
    return ("download", "-t", "spoilt", "--task-dir", root, "--from", root / "data", "-w", root / "w")


def check_refused(root: Path, outcome: Refused) -> None:
    """The task `spoilt` below `root` is refused as a whole, and nothing is made."""
    assert outcome.says in refused(*_download(root), "--max-rejected", 100, says=("train",))
    assert not list((root / "w").glob("download/*"))


def check_made(root: Path, rejected: Rejected | None, file: str = "", line: int = 0, name: str = "") -> pa.Table:
    """The rows of train that the task `spoilt` below `root` ends with.

    A row that is `rejected` is named (file, line and column) before, and stands in rejected.parquet then.
    """
    if rejected is not None:
        place = f"{file}, row {line}" + (f", column {name}: " if name else ": ")
        says = ("1 row of the task `spoilt`", place, rejected.reason, "--max-rejected 1")
        told = refused(*_download(root), says=says)
        assert not list((root / "w").glob("download/*")), told
    good(*_download(root), *(["--max-rejected", "1"] if rejected is not None else []))
    folder = only(root / "w", "download/spoilt-*")
    faults = pq.read_table(folder / "rejected.parquet").to_pylist()
    if rejected is not None:
        (fault,) = faults
        assert (fault["split"], fault["file"], fault["row"], fault["column"]) == ("train", file, line, name)
        assert rejected.reason in fault["reason"] and len(fault["value"]) <= 200
    else:
        assert not faults
    return pq.read_table(folder / "train.parquet")
