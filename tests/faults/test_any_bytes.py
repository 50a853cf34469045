"""Whatever bytes a file holds: a clear error or a correct table, in little time and memory."""

from __future__ import annotations

import csv
import io
import json
import time
import tracemalloc
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from openpyxl import load_workbook

from adaptershare_cli.data.definition import TaskDefinition, parse_definition
from adaptershare_cli.data.readers import read_rows
from adaptershare_cli.data.readers.rows import RowFault
from adaptershare_cli.data.reading import read_task
from adaptershare_cli.data.sources import files_of, resolve_source, source_request
from adaptershare_cli.errors import UserError
from adaptershare_cli.kinds.rows.texts import is_visible
from tests.faults.malformed import FORMATS, Defect, good_rows, lay_out, write

SECONDS, MEGABYTES = 2, 100
PIECES = [
    b'"', b'""', b",", b"\t", b"\n", b"\r", b"\r\n", b"\0", b"\xff", b"\xef\xbb\xbf", b"{", b"}", b"[", b"]", b"\\",
    b":", b"\\u0000", b"\\ud800", b"null", b"true", b"NaN", b"1e999", b"-", b"yes", b"no", b"5", b" ", b"text",
    b"label", b"PAR1", b"text_pair", b"\xe2\x80\xa8", b"\xf0\x9f\x98\x80", b"9" * 40, b"[" * 3000,
]  # fmt: skip
PLACE = st.integers(0, 2**31)
EDIT = st.one_of(
    st.tuples(st.just("put"), PLACE, st.sampled_from(PIECES) | st.binary(max_size=8)),
    st.tuples(st.just("over"), PLACE, st.sampled_from(PIECES) | st.binary(min_size=1, max_size=4)),
    st.tuples(st.just("cut"), PLACE, st.integers(1, 60)),
    st.tuples(st.just("copy"), PLACE, st.integers(1, 60)),
    st.tuples(st.just("end"), PLACE, st.just(b"")),
)


def edited(content: bytes, edits: list[tuple[str, int, Any]]) -> bytes:
    """A file after some accidents."""
    for what, place, piece in edits:
        at = place % (len(content) + 1)
        before, after = content[:at], content[at:]
        if what == "put":
            content = before + piece + after
        elif what == "over":
            content = before + piece + after[len(piece) :]
        elif what == "cut":
            content = before + after[piece:]
        elif what == "copy":
            content = before + after[:piece] + after
        else:
            content = before
    return content


@pytest.fixture(scope="module", params=[(form, kind) for form in FORMATS for kind in ("classification", "regression")])
def task(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> tuple[str, TaskDefinition, Path]:
    """Format, definition and data folder of a task whose train files each example writes anew."""
    form, kind = request.param
    root = lay_out(tmp_path_factory.mktemp("any"), form, Defect(regression=kind == "regression"))
    return form, parse_definition(root / "spoilt.yaml"), root / "data"


def check(form: str, task: TaskDefinition, folder: Path, files: dict[str, bytes]) -> None:
    """Read the task with these train files; what is kept must be what a plain look at the files finds there."""
    for name, content in files.items():
        (folder / "train" / name if name else folder / "train").write_bytes(content)
    begin = time.process_time()
    tracemalloc.start()
    try:
        source = resolve_source(task, folder)
        source_request(task, source)
        train = read_task(task, source, 100).splits["train"]
    except UserError as error:
        assert error.what and error.where and error.fix
        return
    finally:
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        assert time.process_time() - begin < SECONDS
        assert peak < MEGABYTES * 10**6 and pa.total_allocated_bytes() < MEGABYTES * 10**6
    train.validate(full=True)
    rows = train.to_pylist()
    assert rows and all(first["row"] < second["row"] for first, second in zip(rows, rows[1:], strict=False))
    split = task.files.split("train")  # type: ignore[union-attr]
    raw = read_rows((files_of(source, split) or [{}])[0], split, task.files)  # type: ignore[arg-type]
    line_of = {row[1]: row[0] for row in raw.rows if not isinstance(row, RowFault)}
    look = LOOKS[form]
    for row, (text, label) in zip(rows, look(files, [(line_of[row["row"]], row["row"]) for row in rows]), strict=True):
        assert row["text"] == text and is_visible(text)
        if task.labels:
            assert row["label"] == ("true" if label is True else str(label).strip()) in task.labels
        else:
            assert row["label"] == float(label) and 0 <= row["label"] <= 5


Found = list[tuple[Any, Any]]


def decoded(content: bytes) -> str:
    return content.removeprefix(b"\xef\xbb\xbf").decode("utf-8", "surrogateescape")


def look_at_delimited(files: dict[str, bytes], rows: list[tuple[int, int]], quoted: str) -> Found:
    lines = decoded(files[""]).split("\n")
    delimiter = "," if quoted == "csv" else "\t"

    def record(line: int) -> list[str]:
        rest = "\n".join(lines[line - 1 :])
        if quoted:
            return next(csv.reader(io.StringIO(rest, newline="\n"), delimiter=delimiter, strict=True))
        return lines[line - 1].removesuffix("\r").split(delimiter)

    header = record(1)
    return [
        (fields[header.index("text")], fields[header.index("label")]) for fields in (record(line) for line, _ in rows)
    ]


def look_at_jsonl(files: dict[str, bytes], rows: list[tuple[int, int]]) -> Found:
    found = [json.loads(decoded(files[""]).split("\n")[line - 1]) for line, _ in rows]
    return [(value["text"], value["label"]) for value in found]


def look_at_lines(files: dict[str, bytes], rows: list[tuple[int, int]]) -> Found:
    text, label = (decoded(files[name]).split("\n") for name in ("text", "label"))
    return [(text[line - 1].removesuffix("\r"), label[line - 1]) for line, _ in rows]


def look_at_parquet(files: dict[str, bytes], rows: list[tuple[int, int]]) -> Found:
    table = pq.read_table(io.BytesIO(files[""]))
    return [(table["text"][row].as_py(), table["label"][row].as_py()) for _, row in rows]


def look_at_workbook(files: dict[str, bytes], rows: list[tuple[int, int]]) -> Found:
    sheet = load_workbook(io.BytesIO(files[""]), data_only=True).worksheets[0]
    header = [cell.value for cell in sheet[1]]
    return [tuple(sheet[line][header.index(name)].value for name in ("text", "label")) for line, _ in rows]


LOOKS: dict[str, Any] = {
    "xlsx": look_at_workbook,
    "csv": lambda files, rows: look_at_delimited(files, rows, "csv"),
    "tsv": lambda files, rows: look_at_delimited(files, rows, ""),
    "tsv_quoted": lambda files, rows: look_at_delimited(files, rows, "tsv"),
    "jsonl": look_at_jsonl,
    "lines": look_at_lines,
    "parquet": look_at_parquet,
    "clinc": lambda files, rows: [tuple(json.loads(decoded(files[""]))["train"][row]) for _, row in rows],
}

QUICKLY = settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])


def accidents(form: str, regression: bool) -> st.SearchStrategy[dict[str, bytes]]:
    """The good files of a split after up to eight accidents each."""
    good = write(form, good_rows(form, regression))
    return st.fixed_dictionaries(
        {
            name: st.lists(EDIT, max_size=8).map(lambda edits, c=content: edited(c, edits))
            for name, content in good.items()
        }
    )


def any_bytes(form: str) -> st.SearchStrategy[dict[str, bytes]]:
    names = write(form, good_rows(form))
    return st.fixed_dictionaries({name: st.binary(min_size=1, max_size=300) for name in names})


@pytest.mark.parametrize("examples", [40, pytest.param(1000, marks=pytest.mark.slow)])
def test_files_after_accidents(task: tuple[str, TaskDefinition, Path], examples: int) -> None:
    form, definition, folder = task

    @settings(QUICKLY, max_examples=examples)
    @given(accidents(form, not definition.labels))
    def run(files: dict[str, bytes]) -> None:
        check(form, definition, folder, files)

    run()


@pytest.mark.parametrize("examples", [20, pytest.param(500, marks=pytest.mark.slow)])
def test_any_bytes(task: tuple[str, TaskDefinition, Path], examples: int) -> None:
    form, definition, folder = task

    @settings(QUICKLY, max_examples=examples)
    @given(any_bytes(form))
    def run(files: dict[str, bytes]) -> None:
        check(form, definition, folder, files)

    run()


DEFINITION = b"""{
"kind": "classification", "labels": ["no", "yes"], "metrics": ["accuracy", "f1"], "report_on": ["dev"],
"files": {"reader": "csv", "quoting": "none", "header": false, "columns": {"text": 0, "label": 1},
    "splits": {"train": "a/train.csv", "dev": {"path": "a/dev.csv", "optional": true}}, "label_map": {"0": "no"}},
"hub": {"path": "some/where", "name": "x", "splits": {"train": "train", "dev": "dev"}}}
"""
YAML_PIECES = rb"""&a *a <<:*a !!python/name:os.system !!binary !!map - ? : | > %YAML --- ... { } [ ] null ~ 1e999
.. / \ " ' # \u0000 \ud800 regression range:[0,5] from-train jsonl lines clinc parquet embedded key 2024-01""".split()
YAML_PIECES += [b"\n", b"\t", b" ", b": ", b"- ", b"\0", b"\xff", b"[" * 500]
YAML_EDIT = EDIT | st.tuples(st.just("put"), PLACE, st.sampled_from(YAML_PIECES))


@pytest.mark.parametrize("examples", [100, pytest.param(2000, marks=pytest.mark.slow)])
def test_any_definition(tmp_path: Path, examples: int) -> None:
    file = tmp_path / "mine.yaml"

    @settings(QUICKLY, max_examples=examples)
    @given(st.lists(YAML_EDIT, max_size=8).map(lambda edits: edited(DEFINITION, edits)) | st.binary(max_size=200))
    def run(content: bytes) -> None:
        file.write_bytes(content)
        begin = time.process_time()
        try:
            task = parse_definition(file)
        except UserError as error:
            assert error.what and str(file) in error.where and error.fix
            return
        finally:
            assert time.process_time() - begin < SECONDS
        assert len(task.fingerprint) == 64
        for block in filter(None, (task.files, task.embedded)):
            for split in block.splits:
                for _, path in split.files:
                    assert (tmp_path / path).resolve().is_relative_to(tmp_path.resolve())

    run()
