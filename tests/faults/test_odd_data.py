"""Data that is no table's cell: links, files that change, sizes, labels, types of columns, texts without tokens."""

from __future__ import annotations

import decimal
import json
import os
import subprocess
import sys
from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from adaptershare_cli.commands import download as stage
from adaptershare_cli.data import reading
from adaptershare_cli.data.readers import parquet
from adaptershare_cli.data.readers import rows as reader_rows
from tests.cli.conftest import good, only, refused

Own = Callable[..., tuple[Any, ...]]


@pytest.fixture
def own(tmp_path: Path) -> Own:
    """Lay out a task `mine` and give the arguments that download it; train and dev are tables, texts or bytes."""

    def arguments(train: Any, dev: Any = None, reader: str = "csv", **changes: Any) -> tuple[Any, ...]:
        data = tmp_path / "data"
        data.mkdir(exist_ok=True)
        for split, content in (("train", train), ("dev", train if dev is None else dev)):
            if isinstance(content, dict):
                pq.write_table(pa.table(content), data / split)
            else:
                (data / split).write_bytes(content.encode() if isinstance(content, str) else content)
        block = {"reader": reader, "splits": {"train": "train", "dev": "dev"}, **changes.pop("files", {})}
        task = {"kind": "classification", "labels": ["no", "yes"], "metrics": ["accuracy"], "report_on": ["dev"]}
        task = {key: value for key, value in {**task, "files": block, **changes}.items() if value is not None}
        (tmp_path / "mine.yaml").write_text(json.dumps(task))
        return ("download", "-t", "mine", "--task-dir", tmp_path, "--from", data, "-w", tmp_path / "w")

    return arguments


REGRESSION = {"kind": "regression", "labels": None, "metrics": ["pearson"], "range": [0, 5]}
CSV = "text,label\na,no\nb,yes\n"


def rows(folder: Path, part: str = "train") -> list[dict[str, Any]]:
    return pq.read_table(only(folder / "w", f"download/mine-*/{part}.parquet")).to_pylist()


# ---- more bad rows than may be ----


def test_more_than_may_be_rejected(own: Own, tmp_path: Path) -> None:
    bad = CSV + "c,maybe\n" * 4 + "d\n"
    told = refused(*own(bad), "--max-rejected", "3", says=("10 rows of the task `mine`", "(3 may be rejected)"))
    for line in range(4, 8):
        assert f"train, row {line}, column label: 'maybe' is not one of the labels (no, yes)" in told
    assert "train, row 8: 'd' has 1 field where 2 are expected; and 5 more" in told
    assert "--max-rejected 10" in told and "label_map" in told
    assert not list((tmp_path / "w").glob("download/*"))
    good(*own(bad), "--max-rejected", "10")
    assert [row["row"] for row in rows(tmp_path, "rejected")] == [4, 5, 6, 7, 8] * 2
    assert [row["text"] for row in rows(tmp_path)] == ["a", "b"]


def test_very_many_bad_rows_are_not_counted_to_the_end(own: Own, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reading, "_FAULTS_COUNTED", 20)
    told = refused(*own(CSV + "c,x\n" * 500), "--max-rejected", "5", says=("at least 26 rows", "and 21 more"))
    assert "--max-rejected 26" not in told and "Check the definition's reader" in told


# ---- files ----


def test_a_file_that_changes_while_it_is_read(own: Own, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    arguments = own(CSV)
    read = stage.read_task

    def slowly(*details: Any) -> Any:
        done = read(*details)
        with (tmp_path / "data" / "dev").open("a") as file:
            file.write("c,no\n")
        return done

    monkeypatch.setattr(stage, "read_task", slowly)
    refused(*arguments, says=("the data of the task `mine` changed while it was read", "again"))
    assert not list((tmp_path / "w").glob("download/*"))


def test_links_that_lead_out_of_the_folder(own: Own, tmp_path: Path) -> None:
    arguments = own(CSV)
    file = tmp_path / "data" / "train"
    secret = tmp_path / "secret.csv"
    file.rename(secret)
    file.symlink_to(secret)
    told = refused(*arguments, says=("the file train leads out of the folder", f"is {secret}"))
    assert "row 1" not in told
    file.unlink()
    (tmp_path / "data" / "real").write_text(CSV)
    file.symlink_to("real")
    good(*arguments)
    (tmp_path / "linked").symlink_to(tmp_path / "data")  # the folder itself may be a link
    good(*arguments, "--from", tmp_path / "linked")
    file.unlink()
    file.symlink_to("train")
    refused(*arguments, says=("has no file train",))


def test_odd_folders(own: Own, tmp_path: Path) -> None:
    arguments = own(CSV)
    for folder in ("x" * 300, tmp_path / "mine.yaml"):
        refused(*arguments, "--from", folder, says=("is not a folder", "--from"))
    odd = tmp_path / os.fsdecode(b"a\xff")
    odd.mkdir()
    refused(*arguments, "--from", odd, says=("path is not UTF-8", "--from"))
    (tmp_path / "c.toml").write_text('from = "a\\u0000b"\n')
    arguments = (*arguments[:5], "-w", tmp_path / "w", "--config", tmp_path / "c.toml")
    refused(*arguments, says=("from holds a control character", "--config"))


def test_messages_cannot_drive_the_terminal(own: Own, tmp_path: Path) -> None:
    told = refused(*own("te\x1b[2Jxt,label\na,no\n"), says=("column `text`",))
    assert "\x1b" not in told and "te\\x1b[2Jxt" in told
    (tmp_path / "a\x1b[31m\x07.yaml").write_text("x" * 10**6)
    told = refused(*own(CSV)[:2], "a*", *own(CSV)[3:], says=("cannot be a task's name",))
    assert "\x1b" not in told and "\x07" not in told
    (tmp_path / "mine.yaml").write_text("k" * 10**6 + ": 1")
    assert len(refused(*own(CSV)[:1], "-t", "mine", "--task-dir", tmp_path, "-w", tmp_path / "w")) < 2000


def test_a_text_in_very_many_rows_of_a_small_file(own: Own, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in (("_UNPACKED", 10**7), ("_UNPACKED_TIMES", 10)):
        monkeypatch.setattr(reader_rows, name, value)
    pool = pa.default_memory_pool()
    before = pool.bytes_allocated()
    peak: list[int] = []
    monkeypatch.setattr(parquet, "_check_indices", lambda batch: peak.append(pool.bytes_allocated()))
    arguments = own({"text": ["a", "b"], "label": ["no", "yes"]}, reader="parquet")
    packed = pa.DictionaryArray.from_arrays(pa.array([0] * 400, pa.int32()), ["x" * 2_000_000])
    bomb = pa.table({"text": packed, "label": ["no"] * 400})
    pq.write_table(bomb, tmp_path / "data" / "train", store_schema=False)
    assert pq.read_schema(tmp_path / "data" / "train").field("text").type == pa.string()
    refused(*arguments, says=("far more than their file",))
    assert max(peak) - before < 50 * 10**6  # of 800 MB


MEMORY = """
import sys
from pathlib import Path
from adaptershare_cli.data.reading import read_task
from adaptershare_cli.data.sources import resolve_source
from adaptershare_cli.data.definition import parse_definition

def peak():  # of this process alone, in kB; resource.getrusage begins with the parent's
    lines = Path("/proc/self/status").read_text().splitlines()
    return int(next(line for line in lines if line.startswith("VmHWM")).split()[1])

task = parse_definition(Path(sys.argv[1]))
source = resolve_source(task, Path(sys.argv[2]))
before = peak()
try:
    read_task(task, source)
finally:
    print(peak() - before)
"""


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="only Linux tells a process its peak")
@pytest.mark.parametrize("case", ["csv", "jsonl", "one line", "one quote"])
def test_memory_while_reading(case: str, own: Own, tmp_path: Path) -> None:
    """Three times a file's size and what the first read of all takes (60 MB); rows without an end: far less."""
    text = "so fine a film, ü, that we liked it very much " * 3
    line = json.dumps({"text": text, "label": "no"}) if case == "jsonl" else f'"{text}",no'
    header = "" if case == "jsonl" else "text,label\n"
    body, most = (line + "\n") * (10_000_000 // len(line)), 90_000_000
    if case == "one line":
        body, most = "x" * 60_000_000, 90_000_000
    elif case == "one quote":
        body, most = '"' + ("x" * 99 + "\n") * 600_000, 150_000_000
    own(header + body, header + line, reader="jsonl" if case == "jsonl" else "csv")
    command = [sys.executable, "-c", MEMORY, str(tmp_path / "mine.yaml"), str(tmp_path / "data")]
    env = {**os.environ, "PYTHONPATH": str(Path(parquet.__file__).parents[2])}
    done = subprocess.run(command, capture_output=True, text=True, env=env)
    if case.startswith("one"):
        assert "UserError: " in done.stderr and "16 MiB" in done.stderr
    else:
        assert done.returncode == 0, done.stderr
    assert int(done.stdout) * 1024 < most


# ---- columns of a Parquet file ----


@pytest.mark.parametrize(
    "label",
    [
        pa.array(["no", "yes"]),
        pa.array(["no", "yes"], pa.large_string()),
        pa.array(["no", "yes"]).dictionary_encode(),
        pa.array([False, True]),
        pa.array([0, 1], pa.int8()),
        pa.array([0, 1], pa.uint64()),
        pa.array([0, 1]).dictionary_encode(),
    ],
    ids=lambda label: str(label.type),
)
def test_types_of_a_parquet_label(own: Own, tmp_path: Path, label: pa.Array) -> None:
    names = {"0": "no", "1": "yes", "false": "no", "true": "yes"}
    text = pa.array(["a", "b"], pa.large_string()).dictionary_encode()
    good(*own({"text": text, "label": label}, reader="parquet", files={"label_map": names}))
    assert [(row["text"], row["label"]) for row in rows(tmp_path)] == [("a", "no"), ("b", "yes")]


@pytest.mark.parametrize(
    ("label", "says"),
    [
        (pa.array([0.5, 1.5]), "is neither text nor a whole number"),
        (pa.array([0.5, 1.5], pa.float16()), "is neither text nor a whole number"),
        (pa.array([decimal.Decimal(0), decimal.Decimal(1)]), "is neither text nor a whole number"),
        (pa.array([None, None]), "is missing"),
        (pa.array([None, None], pa.string()), "is missing"),
        (pa.array([datetime(2024, 1, 1)] * 2), "has the type timestamp[us], not a label"),
        (pa.array([b"no", b"yes"]), "has the type binary, not a label"),
        (pa.array([["no"], ["yes"]]), "has the type list<element: string>, not a label"),
    ],
    ids=lambda value: str(value.type) if isinstance(value, pa.Array) else "",
)
def test_types_that_are_no_parquet_label(own: Own, label: pa.Array, says: str) -> None:
    assert says in refused(*own({"text": ["a", "b"], "label": label}, reader="parquet"))


@pytest.mark.parametrize(
    "label",
    [
        pa.array([1, 2.5]),
        pa.array([1, 2.5], pa.float16()),
        pa.array([decimal.Decimal("1.0"), decimal.Decimal("2.5")]),
        pa.array([" 1e0", "+2.50"]),
    ],
    ids=lambda label: str(label.type),
)
def test_types_of_a_parquet_score(own: Own, tmp_path: Path, label: pa.Array) -> None:
    good(*own({"text": ["a", "b"], "label": label}, reader="parquet", **REGRESSION))
    assert [row["label"] for row in rows(tmp_path)] == [1.0, 2.5]


def test_a_score_is_no_truth_value(own: Own) -> None:
    for reader, train in (
        ("parquet", {"text": ["a", "b"], "label": [True, False]}),
        ("jsonl", '{"text": "a", "label": true}\n{"text": "b", "label": false}\n'),
    ):
        refused(
            *own(train, reader=reader, **REGRESSION), says=("4 rows", "row 1, column label: 'True' is not a number")
        )


# ---- pairs ----

JSONL = {"text": "a", "label": "no"}


def jsonl(*pairs: Any) -> str:
    """Rows with these text pairs; one that is `...` has no such key."""
    return "".join(json.dumps(JSONL | ({} if pair is ... else {"text_pair": pair})) + "\n" for pair in pairs)


def test_pairs_where_only_some_rows_have_them(own: Own, tmp_path: Path) -> None:
    train, dev = jsonl("x", None, "y", " ", ..., "z"), jsonl("x")
    told = refused(
        *own(train, dev, "jsonl"), says=("3 rows", "row 2, column text_pair: '' is missing, while other rows")
    )
    assert "row 4" in told and "row 5" in told
    good(*own(train, dev, "jsonl"), "--max-rejected", "3")
    assert [(row["row"], row["text_pair"]) for row in rows(tmp_path)] == [(0, "x"), (2, "y"), (5, "z")]
    refused(*own(jsonl("x", "\u200b"), dev, "jsonl"), says=("row 2, column text_pair: '\\u200b' holds no visible",))


def test_pairs_that_no_row_has(own: Own, tmp_path: Path) -> None:
    for train in (jsonl(None, ...), jsonl(..., "", " ")):
        good(*own(train, jsonl(...), "jsonl"))
        for row in rows(tmp_path):
            assert row["text_pair"] is None
        for path in (tmp_path / "w").rglob("*"):
            if path.is_file():
                path.unlink()
    pairs = {"columns": {"text_pair": "text_pair"}}
    refused(*own(jsonl(None), jsonl("x"), "jsonl", files=pairs), says=("row 1, column text_pair: '' is missing",))
    refused(*own(jsonl(...), jsonl("x"), "jsonl", files=pairs), says=("the column `text_pair` (text_pair) is missing",))
    refused(*own(jsonl(...), jsonl("x"), "jsonl"), says=("text pairs in the split `dev`, but none in `train`",))


# ---- labels ----

FOUND = {"labels": "from-train"}


def test_labels_that_differ_only_in_writing(own: Own, tmp_path: Path) -> None:
    data = "text,label\na,Yes\nb,no\nc,yes\nd,No\n"
    told = refused(*own(data, **FOUND), says=("only in case", "'No' and 'no'; 'Yes' and 'yes'"))
    assert "label_map: {no: No, yes: Yes}" in told and "list the labels if they are different ones" in told
    good(*own(data, **FOUND, files={"label_map": {"Yes": "yes", "No": "no"}}))
    assert {row["label"] for row in rows(tmp_path)} == {"yes", "no"}
    good(*own(data, labels=["Yes", "yes", "no", "No"]), "-w", tmp_path / "listed")
    refused(*own("text,label\na,caf\u00e9\nb,cafe\u0301\n", **FOUND), says=("Unicode form",))


def test_labels_that_are_none(own: Own) -> None:
    many = "text,label\n" + "".join(f"a,{number}\n" for number in range(50))
    refused(*own(many, **FOUND), says=("has 50 labels in 50 rows", "column label", "Is it the right column"))
    for label, told in (
        ("a\x07b", "control character U+0007"),
        ("\u200b", "no visible"),
        ("x" * 201, "longer than 200"),
    ):
        refused(*own(f"{CSV}c,{label}\n", **FOUND), says=("row 4, column label", told))
