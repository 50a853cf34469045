"""Sources: which one is taken, what identifies it, and the checks that each row passes."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from adaptershare_cli import schemas
from adaptershare_cli.data.definition import TaskDefinition, parse_definition
from adaptershare_cli.data.reading import ReadTask, read_task
from adaptershare_cli.data.sources import Source, resolve_source, source_request
from adaptershare_cli.errors import UserError
from adaptershare_cli.kinds import KINDS

SPLITS = {"train": "set/train.csv", "dev": "set/dev.csv"}
FILES: dict[str, Any] = {"reader": "csv", "splits": SPLITS}
HUB = {"path": "some/where", "splits": {"train": "train", "dev": "validation"}}
GOOD = "text,label\na,no\nb,yes\n"


def define(folder: Path, **changes: Any) -> TaskDefinition:
    base = {
        "kind": "classification",
        "labels": ["no", "yes"],
        "metrics": ["accuracy"],
        "report_on": ["dev"],
        "files": FILES,
    }
    content = {key: value for key, value in {**base, **changes}.items() if value is not None}
    folder.mkdir(parents=True, exist_ok=True)
    file = folder / "mine.yaml"
    file.write_text(json.dumps(content))
    return parse_definition(file)


def regression(folder: Path, **changes: Any) -> TaskDefinition:
    return define(folder, kind="regression", labels=None, metrics=["pearson"], range=[0, 5], **changes)


def fill(folder: Path, **splits: str | bytes) -> Path:
    (folder / "set").mkdir(parents=True, exist_ok=True)
    for name, content in splits.items():
        data = content.encode() if isinstance(content, str) else content
        (folder / "set" / f"{name}.csv").write_bytes(data)
    return folder


def read(
    tmp_path: Path, task: TaskDefinition, train: str | bytes, dev: str | bytes = GOOD, most: int = 0
) -> ReadTask:  # fmt: skip
    folder = fill(tmp_path / "data", train=train, dev=dev)
    return read_task(task, resolve_source(task, folder), most)


# --- which source


def test_from_takes_the_files(tmp_path: Path) -> None:
    task = define(tmp_path / "defs", embedded=FILES, hub=HUB)
    assert resolve_source(task, tmp_path) == Source("folder", tmp_path)


def test_from_without_a_files_block(tmp_path: Path) -> None:
    task = define(tmp_path / "defs", files=None, embedded=FILES)
    assert resolve_source(task, tmp_path) == Source("embedded", tmp_path / "defs")
    task = define(tmp_path / "defs", files=None, hub=HUB)
    with pytest.raises(UserError, match="has no `files` block"):
        resolve_source(task, tmp_path)


def test_from_must_be_a_folder(tmp_path: Path) -> None:
    task = define(tmp_path / "defs")
    for path in (tmp_path / "nowhere", task.path):
        with pytest.raises(UserError, match="is not a folder"):
            resolve_source(task, path)


def test_without_from(tmp_path: Path) -> None:
    folder = tmp_path / "defs"
    assert resolve_source(define(folder, embedded=FILES, hub=HUB), None) == Source("embedded", folder)
    assert resolve_source(define(folder, hub=HUB), None) == Source("hub", None)
    with pytest.raises(UserError, match="--from FOLDER"):
        resolve_source(define(folder), None)
    fill(folder, train=GOOD)
    assert resolve_source(define(folder, hub=HUB), None) == Source("folder", folder)


def test_the_folder_may_be_the_data_folder_or_the_one_above(tmp_path: Path) -> None:
    task = define(tmp_path / "defs")
    data = fill(tmp_path / "data", train=GOOD, dev=GOOD)
    above, inside = resolve_source(task, data), resolve_source(task, data / "set")
    assert source_request(task, above) == source_request(task, inside)
    assert read_task(task, inside).splits["train"].equals(read_task(task, above).splits["train"])


def test_request_is_the_content_and_no_place(tmp_path: Path) -> None:
    task = define(tmp_path / "defs", hub={**HUB, "name": "conf", "revision": "abc"})
    data = fill(tmp_path / "data", train=GOOD, dev=GOOD + "c,no\n")
    request = source_request(task, resolve_source(task, data))
    digest = hashlib.sha256(GOOD.encode()).hexdigest()
    assert request["kind"] == "folder" and request["files"]["set/train.csv"] == digest
    assert list(request["files"]) == ["set/dev.csv", "set/train.csv"]
    assert str(tmp_path) not in json.dumps(request)
    fill(data, train=GOOD + "d,yes\n")
    assert source_request(task, resolve_source(task, data)) != request
    hub = {"kind": "hub", "path": "some/where", "name": "conf", "revision": "abc"}
    assert source_request(task, Source("hub", None)) == hub


# --- splits


def test_rows_come_in_the_downloaded_schema(tmp_path: Path) -> None:
    task = define(tmp_path / "defs")
    done = read(tmp_path, task, "label,text_pair,text\nno,p,a \nyes,q,b\n", "text_pair,label,text\nr,no,c\n")
    assert done.splits["train"].schema == KINDS["classification"].downloaded_schema()
    assert done.splits["train"].to_pylist()[0] == {"row": 0, "text": "a ", "text_pair": "p", "label": "no"}
    assert read(tmp_path, task, GOOD).splits["dev"]["text_pair"].null_count == 2
    assert list(done.splits) == ["train", "dev"]
    assert (done.labels, done.missing, done.rejected.num_rows) == (("no", "yes"), (), 0)
    assert done.rejected.schema == schemas.REJECTED


def test_optional_splits(tmp_path: Path) -> None:
    other = {"path": "set/other.csv", "optional": True}
    files = {**FILES, "splits": {**SPLITS, "other": other}}
    task = define(tmp_path / "defs", files=files, report_on=["other", "dev"])
    done = read(tmp_path, task, GOOD)
    assert done.missing == ("other",) and list(done.splits) == ["train", "dev"]
    source = resolve_source(task, tmp_path / "data")
    assert set(source_request(task, source)["files"]) == set(SPLITS.values())
    fill(tmp_path / "data", other=GOOD)
    assert list(read_task(task, source).splits) == ["train", "other", "dev"]
    assert "set/other.csv" in source_request(task, source)["files"]


def test_a_scored_split_that_only_another_source_has_is_missing(tmp_path: Path) -> None:
    hub = {**HUB, "splits": {"train": "train", "dev": "dev", "test": "test"}}
    task = define(tmp_path / "defs", hub=hub, report_on=["dev", "test"])
    assert read(tmp_path, task, GOOD).missing == ("test",)


def test_nothing_to_score(tmp_path: Path) -> None:
    files = {**FILES, "splits": {"train": "set/train.csv", "dev": {"path": "set/gone.csv", "optional": True}}}
    with pytest.raises(UserError, match="nothing to score"):
        read(tmp_path, define(tmp_path / "defs", files=files), GOOD)


@pytest.mark.parametrize("gone", ["train", "dev"])
def test_files_that_are_missing(tmp_path: Path, gone: str) -> None:
    task = define(tmp_path / "defs")
    data = fill(tmp_path / "data", train=GOOD, dev=GOOD)
    (data / "set" / f"{gone}.csv").unlink()
    source = resolve_source(task, data)
    for act in (read_task, source_request):
        with pytest.raises(UserError) as caught:
            act(task, source)
        assert f"`{gone}` has no file set/{gone}.csv" in caught.value.what
        assert str(data / "set" / f"{gone}.csv") in caught.value.where
    with pytest.raises(UserError) as caught:
        read_task(task, resolve_source(task, tmp_path / "defs"))
    assert "and" in caught.value.where and str(tmp_path / "defs" / "train.csv") in caught.value.where


# --- rows


@pytest.mark.parametrize(
    ("row", "column", "reason"),
    [
        ("c,maybe", "label", "is not one of the labels (no, yes)"),
        ("c,", "label", "is empty"),
        ("c,NO", "label", "is not one of the labels (no, yes), but `no` in all but case, white space or Unicode form"),
        (" ,no", "text", "is empty"),
        ('" \n\u3000",no', "text", "is empty"),
        ("c\0d,no", "text", "holds a NUL byte"),
        (b"caf\xe9,no", "text", "is not valid UTF-8"),
        (b"c,n\xf6", "label", "is not valid UTF-8"),
        ("c,no,more", "", "has 3 fields where 2 are expected"),
        ("c", "", "has 1 field where 2 are expected"),
    ],
)
def test_rows_that_cannot_be_used(tmp_path: Path, row: str | bytes, column: str, reason: str) -> None:
    task = define(tmp_path / "defs")
    train = GOOD.encode() + (row.encode() if isinstance(row, str) else row) + b"\nlast,yes\n"
    with pytest.raises(UserError) as caught:
        read(tmp_path, task, train)
    assert caught.value.what == "1 row of the task `mine` cannot be used (0 may be rejected)"
    assert "set/train.csv, row 4" + (f", column {column}: " if column else ": ") in caught.value.where
    assert reason in caught.value.where and "--max-rejected 1" in caught.value.fix
    done = read(tmp_path, task, train, most=1)
    assert done.splits["train"]["row"].to_pylist() == [0, 1, 3]
    (rejected,) = done.rejected.to_pylist()
    assert rejected["value"] is not None
    del rejected["value"]
    expected = {"split": "train", "file": "set/train.csv", "row": 4, "column": column, "reason": reason}
    assert rejected == expected


@pytest.mark.parametrize(
    ("score", "reason"),
    [
        ("5.01", "is outside the range 0 to 5"),
        ("-0.1", "is outside the range 0 to 5"),
        ("nan", "is not a finite number"),
        ("-inf", "is not a finite number"),
        ("1e999", "is not a finite number"),
        ("four", "is not a number"),
        ("1_0", "is not a number"),
        ("٣", "is not a number"),
        ("", "is not a number"),
        ("1,5", "fields"),
    ],
)
def test_scores_that_are_none(tmp_path: Path, score: str, reason: str) -> None:
    task = regression(tmp_path / "defs")
    good = "text,label\na,0\nb,5.000\nc, 2.5e0\n"
    done = read(tmp_path, task, f"{good}d,{score}\n", good, most=1)
    assert done.splits["train"]["label"].to_pylist() == [0.0, 5.0, 2.5]
    assert done.splits["train"].schema == KINDS["regression"].downloaded_schema()
    assert reason in done.rejected["reason"][0].as_py()
    assert done.labels == ()


def test_the_count_is_over_all_splits(tmp_path: Path) -> None:
    task = define(tmp_path / "defs")
    bad = GOOD + "c,x\n" * 4
    with pytest.raises(UserError) as caught:
        read(tmp_path, task, bad, bad, most=7)
    assert caught.value.what == "8 rows of the task `mine` cannot be used (7 may be rejected)"
    assert "set/dev.csv, row 4" in caught.value.where and "and 3 more" in caught.value.where
    assert "--max-rejected 8" in caught.value.fix and "label_map" in caught.value.fix
    done = read(tmp_path, task, bad, bad, most=8)
    assert done.rejected["split"].to_pylist() == ["train"] * 4 + ["dev"] * 4
    assert done.rejected["row"].to_pylist() == [4, 5, 6, 7] * 2


def test_faults_of_structure_cannot_be_let_through(tmp_path: Path) -> None:
    task = define(tmp_path / "defs")
    for content, told in (("text\na\n", "`label`"), ("", "empty"), (b"\x1f\x8b\x08", "cannot be unpacked")):
        with pytest.raises(UserError, match=told):
            read(tmp_path, task, content, most=1000)


@pytest.mark.parametrize("most", [0, 2, 5])
def test_no_row_is_left(tmp_path: Path, most: int) -> None:
    """However many may be rejected: so that is not what the message tells to do, but what most rows lack."""
    told = r"no row of the split `train` (can be used|would be left)"
    with pytest.raises(UserError, match=told) as caught:
        read(tmp_path, define(tmp_path / "defs"), "text,label\na,x\nb,y\n,no\n", most=most)
    assert "Most often (2 of 3 rows): column label is not one of the labels" in caught.value.fix
    assert "--max-rejected" not in caught.value.fix


def test_rejected_values_are_cut_and_can_be_written(tmp_path: Path) -> None:
    long = b"caf\xe9" * 100
    done = read(tmp_path, define(tmp_path / "defs"), GOOD.encode() + long + b",no\n", most=1)
    value = done.rejected["value"][0].as_py()
    assert len(value) == 200 and value.startswith("caf\\udce9")
    done.rejected.validate(full=True)


def test_label_map_and_labels_that_are_no_text(tmp_path: Path) -> None:
    files = {
        "reader": "jsonl",
        "splits": {"train": "set/train.csv", "dev": "set/dev.csv"},
        "label_map": {"0": "no", "true": "yes"},
    }
    task = define(tmp_path / "defs", files=files)
    rows = [("a", 0), ("b", True), ("c", "0 "), ("d", "yes")]
    good = "".join(json.dumps({"text": text, "label": label}) + "\n" for text, label in rows)
    bad = [{"text": 5, "label": 0}, {"text": "e", "label": 0.5}, {"text": "f", "label": None}, {"text": [], "label": 0}]
    bad.append({"text": "lone \ud800", "label": 0})
    done = read(tmp_path, task, good + "".join(json.dumps(row) + "\n" for row in bad), good, most=5)
    assert done.splits["train"]["label"].to_pylist() == ["no", "yes", "no", "yes"]
    reasons = ["is not text but a number", "is neither text nor a whole number", "is missing", "is not text but a list"]
    assert done.rejected["reason"].to_pylist() == [*reasons, "is not valid UTF-8"]
    assert done.rejected["row"].to_pylist() == [5, 6, 7, 8, 9]


def test_labels_from_train(tmp_path: Path) -> None:
    task = define(tmp_path / "defs", labels="from-train")
    train = "text,label\na,walk\nb,Run\nc,walk\nd,\n"
    dev = "text,label\ne,Run\nf,swim\n"
    with pytest.raises(UserError, match="2 rows"):
        read(tmp_path, task, train, dev)
    done = read(tmp_path, task, train, dev, most=2)
    assert done.labels == ("Run", "walk")
    assert done.splits["dev"]["text"].to_pylist() == ["e"]
    assert done.rejected["reason"][1].as_py() == "is not one of the labels that train has (Run, walk)"
    with pytest.raises(UserError, match="one label only, 'x'"):
        read(tmp_path, task, "text,label\na,x\nb,x\n", "text,label\na,x\n")


def test_embedded_and_parallel_files(tmp_path: Path) -> None:
    block = {"reader": "lines", "splits": {"train": "train", "dev": "dev"}, "columns": {"text": "seq.in"}}
    task = define(tmp_path / "defs", files=None, embedded=block)
    for split in ("train", "dev"):
        (tmp_path / "defs" / split).mkdir()
        (tmp_path / "defs" / split / "seq.in").write_text("a b\nc\n")
        (tmp_path / "defs" / split / "label").write_text("no\nmaybe\n")
    source = resolve_source(task, None)
    assert source_request(task, source)["kind"] == "embedded"
    done = read_task(task, source, 2)
    assert done.splits["train"]["text"].to_pylist() == ["a b"]
    assert done.rejected["file"].to_pylist() == ["train/label", "dev/label"]
    (tmp_path / "defs" / "dev" / "label").unlink()
    with pytest.raises(UserError, match="dev/label"):
        read_task(task, source)


def test_the_same_files_give_the_same_tables(tmp_path: Path) -> None:
    task = define(tmp_path / "defs")
    first, second = (read(tmp_path, task, GOOD + "c,x\n", most=1) for _ in range(2))
    assert first.rejected.equals(second.rejected)
    assert all(first.splits[name].equals(table) for name, table in second.splits.items())
    assert isinstance(first.splits["train"], pa.Table)
