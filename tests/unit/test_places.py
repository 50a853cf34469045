"""Where splits lie: in several files, by a pattern, by the value of a column; rows of a group, and weights of rows."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from adaptershare_cli.data.cutting import cut_parts, joined
from adaptershare_cli.data.definition import TaskDefinition, parse_definition
from adaptershare_cli.data.reading import ReadTask, read_task
from adaptershare_cli.data.sources import Source, resolve_source, source_request
from adaptershare_cli.errors import UserError
from adaptershare_cli.kinds.rows.answers import Answers

TASK = {"kind": "classification", "labels": ["no", "yes"], "metrics": ["accuracy"], "report_on": ["dev"]}


def define(folder: Path, splits: Any, report_on: tuple[str, ...] = ("dev",), **files: Any) -> TaskDefinition:
    content = {**TASK, "report_on": report_on, "files": {"reader": "csv", "splits": splits, **files}}
    (folder / "mine.yaml").write_text(json.dumps(content))
    return parse_definition(folder / "mine.yaml")


def read(folder: Path, splits: Any, *arguments: Any, **files: Any) -> ReadTask:
    return read_task(define(folder, splits, *arguments, **files), Source("folder", folder))


def write(file: Path, *texts: str, head: str = "text,label") -> None:
    file.parent.mkdir(exist_ok=True)
    file.write_text("".join(f"{line}\n" for line in [head, *(f"{text},yes" for text in texts)]))


@pytest.fixture
def parts(tmp_path: Path) -> Path:
    write(tmp_path / "a.csv", "one", "two")
    write(tmp_path / "more" / "2.csv", "four")
    write(tmp_path / "more" / "1.csv", "three")
    write(tmp_path / "dev.csv", "other")
    return tmp_path


# ---- several files ----


@pytest.mark.parametrize(
    "train", [["a.csv", "more/*.csv"], ["a.csv", "more/1.csv", "more/2.csv"], ["a.csv", "**/?.csv"]]
)
def test_one_after_the_other(parts: Path, train: Any) -> None:
    found = read(parts, {"train": train, "dev": "dev.csv"}).splits["train"]
    seen = dict(zip(found["text"].to_pylist(), found["row"].to_pylist(), strict=True))
    assert list(dict.fromkeys(seen)) == ["one", "two", "three", "four"] and list(seen.values())[:4] != [0, 0, 0, 0]


def test_rows_are_numbered_on_and_files_are_in_the_request(parts: Path) -> None:
    task = define(parts, {"train": "more/*.csv", "dev": "dev.csv"})
    assert read_task(task, Source("folder", parts)).splits["train"]["row"].to_pylist() == [0, 1]
    assert resolve_source(task, None).kind == "folder"
    assert list(source_request(task, Source("folder", parts))["files"]) == ["dev.csv", "more/1.csv", "more/2.csv"]


def test_a_pattern_below_the_folder_itself(parts: Path) -> None:
    write(parts / "more" / "dev" / "x.csv", "x")
    found = source_request(
        define(parts, {"train": "more/*.csv", "dev": "more/dev/x.csv"}), Source("folder", parts / "more")
    )
    assert list(found["files"]) == ["more/1.csv", "more/2.csv", "more/dev/x.csv"]


def test_a_file_that_is_called_like_a_pattern(parts: Path) -> None:
    write(parts / "a*.csv", "starred")
    assert read(parts, {"train": "a*.csv", "dev": "dev.csv"}).splits["train"]["text"].to_pylist() == ["starred"]


def test_faults_name_the_file(parts: Path) -> None:
    splits = {"train": ["a.csv", "more/*.csv"], "dev": "dev.csv"}
    write(parts / "more" / "2.csv", "", head="text,label")
    with pytest.raises(UserError, match=r"more/2.csv, row 2, column text: '' is empty"):
        read(parts, splits)
    write(parts / "more" / "2.csv", "x", head="text,labl")
    with pytest.raises(UserError, match="`label` .label. is missing") as caught:
        read(parts, splits)
    assert "more/2.csv" in caught.value.where
    write(parts / "more" / "2.csv", "x,y", head="text,text_pair,label")
    with pytest.raises(UserError, match="other columns than a.csv: text = text; text_pair") as caught:
        read(parts, splits)
    assert "more/2.csv" in caught.value.where
    with pytest.raises(UserError, match="no file less/"):
        read(parts, {"train": "less/*.csv", "dev": "dev.csv"})


def test_what_several_files_cannot_be(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="names a file twice"):
        define(tmp_path, {"train": ["a", "a"], "dev": "b"})
    with pytest.raises(UserError, match="one path with this reader"):
        define(tmp_path, {"train": ["a", "b"], "dev": "b"}, reader="clinc")
    with pytest.raises(UserError, match="holds `..`"):
        define(tmp_path, {"train": ["a", "../*"], "dev": "b"})


# ---- a column of splits ----

PARTED = "text,label,part\na,yes,train\nb,no,val\nc,no,train\nd,yes,valid \ne,no,spare\n"
VALUES = {"train": "train", "dev": ["val", "valid"]}


def parted(folder: Path, content: str = PARTED, report_on: tuple[str, ...] = ("dev",), **column: Any) -> ReadTask:
    (folder / "all.csv").write_text(content)
    split_column = {"name": "part", "values": VALUES, "leave_out": ["spare"], **column}
    return read(folder, {"train": "all.csv"}, report_on, split_column=split_column)


def test_a_column_says_of_which_split_a_row_is(tmp_path: Path) -> None:
    done = parted(tmp_path)
    assert {name: table["text"].to_pylist() for name, table in done.splits.items()} == {
        "train": ["a", "c"], "dev": ["b", "d"]
    }  # fmt: skip
    assert done.left_out == {"train": {"rows of no split": 1}}
    assert done.splits["dev"]["row"].to_pylist() == [1, 3] and "part" not in done.splits["dev"].column_names


def test_its_name_alone(tmp_path: Path) -> None:
    (tmp_path / "all.csv").write_text("text,label,part\na,yes,train\nb,no,dev\nc,no,train\n")
    done = read(tmp_path, {"train": "all.csv"}, split_column="part")
    assert {name: table.num_rows for name, table in done.splits.items()} == {"train": 2, "dev": 1}


def test_a_column_beside_a_share_and_over_files(tmp_path: Path) -> None:
    for name in ("1", "2"):
        write(tmp_path / f"{name}.csv", *(f"{name}{n}" for n in range(10)), head="text,label")
        text = (tmp_path / f"{name}.csv").read_text().replace(",label", ",label,part").replace(",yes", ",yes,train")
        (tmp_path / f"{name}.csv").write_text(text + f"x{name},no,test\n" * (name == "2"))
    column = {"name": "part", "values": {"train": "train", "test": "test"}}
    done = read(tmp_path, {"train": "?.csv", "dev": "20%"}, ("dev", "test"), split_column=column)
    assert {name: table.num_rows for name, table in done.splits.items()} == {"train": 16, "dev": 4, "test": 1}


def test_faults_of_rows_are_told_once(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="1 row of the task") as caught:
        parted(tmp_path, PARTED + "f,no,tset\n")
    assert "'tset' stands for no split (spare, train, val, valid)" in caught.value.where
    with pytest.raises(UserError, match="1 row of the task"):
        parted(tmp_path, PARTED + "g\n")
    with pytest.raises(UserError, match="no row is of the split `dev`") as caught:
        parted(tmp_path, PARTED.replace("val", "other"))
    assert "There stand: train, other" in caught.value.fix


@pytest.mark.parametrize(
    ("column", "splits", "told"),
    [
        ({"values": {"dev": "x"}}, {"train": "a"}, "train` is missing"),
        ({"values": {"train": "x", "dev": "x"}}, {"train": "a"}, "names a value twice"),
        ({"values": {"train": "x", "dev": "y"}, "leave_out": ["y"]}, {"train": "a"}, "stands for a split"),
        ({"values": {"train": "x", "dev": "y"}}, {"train": "a", "dev": "b"}, "a place of its own"),
        ({"name": "text"}, {"train": "a"}, "there for something else"),
        ({}, {"train": "a", "dev": "b"}, "parts nothing"),
    ],
)
def test_columns_that_cannot_be(tmp_path: Path, column: Any, splits: Any, told: str) -> None:
    with pytest.raises(UserError, match=told):
        define(tmp_path, splits, split_column={"name": "part", **column})


# ---- groups and weights ----


def grouped(folder: Path, rows: int = 100, **columns: str) -> ReadTask:
    lines = [f"text {n},{'no' if n % 3 else 'yes'},author {n // 7},{n % 4 / 2}\n" for n in range(rows)]
    (folder / "all.csv").write_text("text,label,who,much\n" + "".join(lines))
    return read(folder, {"train": "all.csv", "dev": "20%"}, columns=columns)


def test_rows_of_a_group_stand_in_one_split(tmp_path: Path) -> None:
    done = grouped(tmp_path, group="who")
    train, dev = (set(done.splits[name]["group"].to_pylist()) for name in ("train", "dev"))
    assert not train & dev and len(train) + len(dev) == 15 and 10 <= done.splits["dev"].num_rows <= 30
    assert grouped(tmp_path).splits["train"].column_names == ["row", "text", "text_pair", "label"]


def test_groups_of_files_that_were_cut_otherwise_are_told(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("text,label,who\na,yes,x\nb,no,\n")
    (tmp_path / "b.csv").write_text("text,label,who\nc,yes,x\nd,no,\n")
    done = read(tmp_path, {"train": "a.csv", "dev": "b.csv"}, columns={"group": "who"})
    assert "1 of 2 rows of dev are of groups that train has, too" in done.suspicious


def test_an_id_is_kept_and_may_lack(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("text,label,who\na,yes,x1\nb,no,\n")
    done = read(tmp_path, {"train": "a.csv", "dev": "a.csv"}, columns={"id": "who"}, drop="missing")
    assert done.splits["train"]["id"].to_pylist() == ["x1", None] and "group" not in done.splits["train"].column_names


def test_weights_are_numbers(tmp_path: Path) -> None:
    assert grouped(tmp_path, weight="much").splits["train"]["weight"].to_pylist()[:4] == [0, 0.5, 1, 1.5]
    (tmp_path / "a.csv").write_text("text,label,much\na,yes,-1\nb,no,x\nc,no,\n")
    with pytest.raises(UserError, match="6 rows of the task") as caught:
        read(tmp_path, {"train": "a.csv", "dev": "a.csv"}, columns={"weight": "much"})
    assert "'-1' is below 0" in caught.value.where and "'x' is not a number" in caught.value.where
    with pytest.raises(UserError, match="unknown key `files.columns.group`"):
        define(tmp_path, {"train": "a", "dev": "b"}, reader="lines", columns={"group": "who"})


@given(st.lists(st.tuples(st.sampled_from("abcdef"), st.sampled_from("xyz") | st.none()), min_size=1, max_size=30))
def test_what_is_joined(rows: list[tuple[str, str | None]]) -> None:
    keys = joined([text for text, _ in rows], [group for _, group in rows])
    for (text, group), key in zip(rows, keys, strict=True):
        for (other, its), again in zip(rows, keys, strict=True):
            assert key == again or (text != other and (group is None or group != its))
    assert keys[::-1] == joined([text for text, _ in rows[::-1]], [group for _, group in rows[::-1]])


def test_parts_of_train_part_no_group(tmp_path: Path) -> None:
    content, groups = [str(n) for n in range(200)], [str(n // 9) for n in range(200)]
    strata = [n % 2 for n in range(200)]
    cut = cut_parts(content, strata, [(one,) for one in strata], (), 20, 30, together=joined(content, groups))
    found = {name: {groups[row] for row in rows} for name, rows in cut.parts.items()}
    assert all(found.values()) and sum(map(len, found.values())) == len(set.union(*found.values()))


def test_a_weighted_loss() -> None:
    answers = Answers(np.array([0, 1, 1]), weights=np.array([0, 1, 2], dtype=np.float32))
    targets = answers.take(np.array([2, 1])).targets(np.array([0, 1]))
    assert targets.weights is not None and targets.weights.tolist() == [2, 1]
