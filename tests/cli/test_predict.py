"""`predict`: answers of a run to rows of files and of standard input, and each way in which a call can be wrong."""

from __future__ import annotations

import csv
import io
import json
import shutil
import tarfile
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from typer.testing import CliRunner, Result

from adaptershare_cli.cli.app import app
from adaptershare_cli.cli.streams import Output, Printed
from adaptershare_cli.serving import windows
from tests.cli.conftest import ENVIRONMENT, LABELS, TASKS, call, good, only, refused

SINGLE = ("--threads", "1")


def predict(workspace: Path, encoder: Path, *arguments: Any) -> tuple[Any, ...]:
    return ("predict", "-w", workspace, "--model", encoder, *SINGLE, *arguments)


def piped(text: str | bytes, *arguments: Any) -> Result:
    """Call the command line with something on its standard input."""
    return CliRunner().invoke(app, [str(argument) for argument in arguments], env=ENVIRONMENT, input=text)


def rows_of(file: Path) -> list[dict[str, str]]:
    with file.open(newline="") as stream:
        return list(csv.DictReader(stream))


def recorded(workspace: Path) -> pd.DataFrame:
    return pd.read_parquet(only(workspace, "train-share/*/predictions.parquet"))


@pytest.fixture(scope="module")
def answered(trained: Path, encoder: Path, project: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """The dev files of all tasks through all tasks: the output files by task, and what --json said."""
    folder, found = tmp_path_factory.mktemp("answered"), {}
    for task in TASKS:
        file = project / "data" / "set" / f"{task}-dev.csv"
        output = folder / f"{task}.csv"
        said = good(*predict(trained, encoder, "adaptershare", "-i", file, "-o", output, "--json")).stdout
        found[task] = (output, json.loads(said))
    return found


# ---- the same answers ----


def test_a_scored_split_gets_the_answers_and_the_scores_that_the_run_recorded(
    answered: dict[str, Any], trained: Path, project: Path
) -> None:
    """In one pass for all tasks; what the file held is kept, in its order."""
    metrics = pd.read_parquet(only(trained, "train-share/*/metrics.parquet")).query("final and split == 'dev' and main")
    for task in TASKS:
        rows = rows_of(answered[task][0])
        before = rows_of(project / "data" / "set" / f"{task}-dev.csv")
        assert [{name: row[name] for name in ("text", "label")} for row in rows] == before
        own = recorded(trained).query(f"task == '{task}' and split == 'dev'").sort_values("row")
        score = metrics.set_index("task")["value"][task]
        if not LABELS[task]:
            assert [row[f"{task}.score"] for row in rows] == own["prediction"].tolist()
            pairs = np.array([[float(row[f"{task}.score"]), float(row["label"])] for row in rows])
            assert np.corrcoef(pairs.T)[0, 1] == pytest.approx(score)
            continue
        assert [row[f"{task}.label"] for row in rows] == own["prediction"].tolist()
        assert np.mean([row[f"{task}.label"] == row["label"] for row in rows]) == pytest.approx(score)
        logits = np.stack(own["logits"]).astype(float)
        shares = np.exp(logits) / np.exp(logits).sum(1, keepdims=True)
        for number, label in enumerate(LABELS[task]):
            np.testing.assert_allclose([float(r[f"{task}.probability.{label}"]) for r in rows], shares[:, number])
        assert [float(row[f"{task}.probability"]) for row in rows] == pytest.approx(shares.max(1))


def test_what_programs_are_told(answered: dict[str, Any], trained: Path) -> None:
    output, said = answered["first"]
    assert (said["command"], said["exit_code"], said["rows"], said["rejected"]) == ("predict", 0, 12, [])
    assert said["tasks"] == list(TASKS) and said["output"] == str(output)
    assert said["run"] == f"train-share/{only(trained, 'train-share/*').name}"
    assert 2 <= said["layers"]["run"] <= said["layers"]["separately"] == 6
    assert list(output.parent.glob(".*")) == []


def test_every_format_and_a_pipe_give_the_same_answers(
    answered: dict[str, Any], trained: Path, encoder: Path, project: Path, tmp_path: Path
) -> None:
    expected = [row["second.label"] for row in rows_of(answered["second"][0])]
    table = pd.read_csv(project / "data" / "set" / "second-dev.csv")
    table.to_csv(tmp_path / "rows.tsv", sep="\t", index=False)
    table.to_json(tmp_path / "rows.jsonl", orient="records", lines=True)
    table.to_parquet(tmp_path / "rows.parquet")
    (tmp_path / "rows.txt").write_text("\n".join(table["text"]) + "\n")
    command = predict(trained, encoder, "--task", "second", "--top-k", "2")
    for form, read in (
        ("tsv", lambda file: pd.read_csv(file, sep="\t", quoting=csv.QUOTE_NONE)),
        ("jsonl", lambda file: pd.read_json(file, lines=True)),
        ("parquet", pd.read_parquet),
    ):
        output = tmp_path / f"out.{form}"
        good(*command, "-i", tmp_path / f"rows.{form}", "-o", output)
        found = read(output)
        assert found["second.label"].tolist() == expected
        assert found[["text", "label"]].equals(table)
        columns = ["second.label", "second.probability", "second.label.2", "second.probability.2"]
        assert list(found.columns) == ["text", "label", *columns]
        assert (found["second.probability"] >= found["second.probability.2"]).all()
    printed = good(*command, "-i", tmp_path / "rows.txt")
    assert [json.loads(line)["second.label"] for line in printed.stdout.splitlines()] == expected
    assert "12 rows in" in printed.stderr
    through = piped((tmp_path / "rows.txt").read_text(), *command, "-i", "-")
    assert through.exit_code == 0 and through.stdout == printed.stdout
    through = piped(
        (project / "data" / "set" / "second-dev.csv").read_bytes(), *command, "-i", "-", "--format", "csv",
        "--output-format", "jsonl",
    )  # fmt: skip
    assert [json.loads(line)["second.label"] for line in through.stdout.splitlines()] == expected


def test_many_windows_give_the_order_of_the_input(
    answered: dict[str, Any], trained: Path, encoder: Path, project: Path, tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    monkeypatch.setattr("adaptershare_cli.commands.predict.WINDOW_BATCHES", 2)
    file = project / "data" / "set" / "first-dev.csv"
    size = ("--per-device-eval-batch-size", "2")
    good(*predict(trained, encoder, "-i", file, "-o", tmp_path / "out.csv", *size))
    for found, expected in zip(rows_of(tmp_path / "out.csv"), rows_of(answered["first"][0]), strict=True):
        assert found.keys() == expected.keys()
        for name, value in expected.items():
            is_number = "probability" in name or "score" in name
            assert (float(found[name]) == pytest.approx(float(value), abs=1e-5)) if is_number else found[name] == value


def test_a_run_answers_wherever_its_folder_is_carried(
    answered: dict[str, Any], trained: Path, encoder: Path, project: Path, tmp_path: Path
) -> None:
    run = only(trained, "train-share/*")
    with tarfile.open(tmp_path / "run.tar", "w") as archive:
        archive.add(run, "elsewhere")
    with tarfile.open(tmp_path / "run.tar") as archive:
        archive.extractall(tmp_path, filter="data")
    file, output = project / "data" / "set" / "first-dev.csv", tmp_path / "out.csv"
    nowhere = predict(tmp_path / "no workspace", encoder, tmp_path / "elsewhere", "-i", file, "-o", output)
    good(*nowhere)
    assert output.read_bytes() == answered["first"][0].read_bytes()
    assert not (tmp_path / "no workspace").exists()
    (tmp_path / "elsewhere" / "tasks" / "first" / "head.safetensors").write_bytes(b"")
    refused(*nowhere, says=("damaged", "head.safetensors"))


# ---- columns ----


def test_columns_are_those_that_are_named_or_defined(
    answered: dict[str, Any], trained: Path, encoder: Path, project: Path, tmp_path: Path
) -> None:
    table = pd.read_csv(project / "data" / "set" / "first-dev.csv").rename(columns={"text": "body"})
    table["text_pair"] = "not read, as the task reads single texts"
    table.to_csv(tmp_path / "rows.csv", index=False)
    expected = [row["first.label"] for row in rows_of(answered["first"][0])]
    command = predict(trained, encoder, "--task", "first", "-i", tmp_path / "rows.csv", "-o", tmp_path / "out.csv")
    for named in ("text=body", "first.text=body"):
        good(*command, "--column", named)
        assert [row["first.label"] for row in rows_of(tmp_path / "out.csv")] == expected
    (tmp_path / "tasks").mkdir()
    definition = json.loads((project / "tasks" / "first.yaml").read_text())
    definition["files"]["columns"] = {"text": "body"}
    (tmp_path / "tasks" / "first.yaml").write_text(json.dumps(definition))
    good(*command, "--task-dir", tmp_path / "tasks")
    assert [row["first.label"] for row in rows_of(tmp_path / "out.csv")] == expected
    refused(*command, says=("no column `text`", "Columns there: body, label, text_pair", "--column text=COLUMN"))
    refused(*command, "--column", "body", says=("not [TASK.]ROLE=COLUMN",))
    refused(*command, "--column", "second.text=body", says=("a task of the call",))
    refused(*command, "--column", "text=bodi", says=("no column `bodi`", "Did you mean `body`"))
    pair = ("--column", "text=body,first.text_pair=label")
    refused(*command, *pair, says=("reads single texts",))


# ---- what is wrong is said before the encoder is loaded, and nothing is written ----


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("-i", "rows.csv", "--task", "thrid"), ("no task 'thrid'", "Tasks there: first, second, score")),
        (("nosuch", "-i", "rows.csv"), ("No run matches 'nosuch'",)),
        ((), ("No input is named",)),
        (("-i", "none.csv"), ("no such file",)),
        (("-i", "empty.csv"), ("the file is empty",)),
        (("-i", "header.csv"), ("there are no rows",)),
        (("-i", "rows.data"), ("does not tell the file's format", "--format")),
        (("-i", "bad.csv"), ("2 rows cannot be used (0 may be rejected)", "row 3", "is empty", "row 5", "3 fields")),
        (("-i", "bad.csv", "--max-rejected", 1), ("2 rows cannot be used (1 may be rejected)", "--max-rejected 2")),
        (("-i", "blank.csv", "--max-rejected", 9), ("No row can be used",)),
        (("-i", "clash.csv"), ("has a column `first.label` already",)),
        (("-i", "rows.csv", "-o", "nowhere/out.csv"), ("The output cannot be written", "No such file")),
        (("-i", "rows.csv", "-o", "."), ("does not tell the file's format",)),
        (("-i", "rows.csv", "-o", "folder.csv"), ("A folder stands where the output is to be",)),
        (("-i", "rows.csv", "--output-format", "parquet"), ("Parquet cannot be printed",)),
        (("-i", "rows.csv", "--json"), ("cannot both be printed",)),
        (("-i", "rows.csv", "--task", "score", "--top-k", "2"), ("--top-k has no effect",)),
    ],
)
def test_what_is_refused(
    arguments: tuple[Any, ...], says: tuple[str, ...], trained: Path, encoder: Path, tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    files = {
        "rows.csv": "text,label\na film,x\n", "empty.csv": "", "header.csv": "text\n", "rows.data": "text\na\n",
        "bad.csv": "text,label\na film,x\n ,x\na bank,x\na,b,c\n", "blank.csv": "text,b\n ,x\n",
        "clash.csv": "text,first.label\na,b\n",
    }  # fmt: skip
    for name, content in files.items():
        (tmp_path / name).write_text(content)
    (tmp_path / "folder.csv").mkdir()
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("adaptershare_cli.runs.served.ServedRun.load", lambda *_: pytest.fail("the encoder is loaded"))
    result = refused(*predict(trained, encoder, *arguments), says=says)
    assert "Traceback" not in result
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted([*files, "folder.csv"])


def test_a_folder_that_cannot_be_written_is_told_first(
    trained: Path, encoder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def denied(self: Path, mode: str = "r", *arguments: Any, **options: Any) -> Any:
        if "w" in mode:
            raise PermissionError(13, "Permission denied", str(self))
        return open(self, mode, *arguments, **options)

    (tmp_path / "rows.csv").write_text("text\na film\n")
    monkeypatch.setattr(Path, "open", denied)
    refused(*predict(trained, encoder, "-i", tmp_path / "rows.csv", "-o", tmp_path / "o.csv"), says=("Permission",))


def test_rejected_rows_are_named_and_counted_and_the_others_answered(
    trained: Path, encoder: Path, tmp_path: Path
) -> None:
    content = "text,label\na film,x\n ,x\na bank,x\na,b,c\n"
    (tmp_path / "bad.csv").write_text(content)
    command = predict(trained, encoder, "--task", "first", "--max-rejected", 3)
    result = good(*command, "-i", tmp_path / "bad.csv")
    assert [row["text"] for row in csv.DictReader(io.StringIO(result.stdout))] == ["a film", "a bank"]
    assert result.stderr.count("left out: ") == 2
    assert "row 3, column text: ' ' is empty" in result.stderr and "row 5: 'a,b,c' has 3 fields" in result.stderr
    said = json.loads(good(*command, "-i", tmp_path / "bad.csv", "-o", tmp_path / "out.csv", "--json").stdout)
    assert [(fault["row"], fault["column"]) for fault in said["rejected"]] == [(3, "text"), (5, "")]
    through = piped(content, *command[:-1], 1, "-i", "-", "--format", "csv")
    assert through.exit_code == 2 and "2 rows cannot be used (1 may be rejected)" in through.stderr
    assert "Traceback" not in through.stderr


def test_an_output_stands_until_a_whole_one_takes_its_place(
    trained: Path, encoder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "rows.jsonl").write_text('{"text": "a film"}\n{"text": "a bank", "late": "a\\tb"}\n')
    (tmp_path / "out.tsv").write_text("before")
    command = predict(trained, encoder, "--task", "first", "-i", tmp_path / "rows.jsonl")
    refused(*command, "-o", tmp_path / "out.tsv", says=("cannot be written as TSV",))
    assert (tmp_path / "out.tsv").read_text() == "before"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["out.tsv", "rows.jsonl"]
    monkeypatch.chdir(tmp_path)
    good(*command, "-o", "rows.jsonl")  # its own input: it is read before it is replaced
    assert [json.loads(line)["text"] for line in (tmp_path / "rows.jsonl").read_text().splitlines()] == [
        "a film", "a bank",
    ]  # fmt: skip


def test_a_reader_that_goes_ends_the_work_quietly(
    trained: Path, encoder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "rows.txt").write_text("a film\n" * 40)
    monkeypatch.setattr("adaptershare_cli.commands.predict.WINDOW_BATCHES", 1)
    monkeypatch.setattr(Printed, "is_lost", lambda self: True)
    size = ("--per-device-eval-batch-size", "4")
    result = good(*predict(trained, encoder, "--task", "first", "-i", tmp_path / "rows.txt", *size))
    assert len(result.stdout.splitlines()) == 4


def test_a_reader_that_has_gone_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    import os

    reading, writing = os.pipe()
    stream = io.TextIOWrapper(io.BufferedWriter(Output(writing, "<stdout>")))
    monkeypatch.setattr("sys.stdout", stream)
    printed = Printed()
    printed.stream.write(b"x")
    assert not printed.is_lost()
    os.close(reading)
    printed.stream.write(b"x")
    assert printed.is_lost()
    stream.close()
    os.close(writing)


def test_a_run_says_how_it_reads_rows(trained: Path) -> None:
    info = json.loads((only(trained, "train-share/*") / "artefact.json").read_text())["info"]
    found = {task: (said["max_seq_length"], said["pairs"]) for task, said in info["inputs"].items()}
    assert found == dict.fromkeys(TASKS, (64, False))


def test_a_run_of_an_earlier_version_reads_rows_as_its_prepared_ones(
    answered: dict[str, Any], workspace: Path, encoder: Path, project: Path, tmp_path: Path
) -> None:
    from adaptershare_cli.store.artefact import seal, write_json

    file = only(workspace, "train-share/*") / "artefact.json"
    meta = json.loads(file.read_text())
    del meta["info"]["inputs"], meta["checksum"], meta["format"]
    write_json(file, seal(meta))
    output, source = tmp_path / "out.csv", project / "data" / "set" / "first-dev.csv"
    command = predict(workspace, encoder, "-i", source, "-o", output)
    assert "inputs of" not in good(*command).stdout
    assert output.read_bytes() == answered["first"][0].read_bytes()
    shutil.rmtree(workspace / "prepro")
    assert "taken inputs of 128 tokens" in good(*command).stdout


def test_windows_hold_no_more_rows_or_characters_than_they_may(monkeypatch: pytest.MonkeyPatch) -> None:
    rows = [windows.WholeRow(number, {"text": "x" * 10}) for number in range(10)]
    assert [len(window) for window in windows.windows(rows, 4)] == [4, 4, 2]
    monkeypatch.setattr(windows, "WINDOW_CHARACTERS", 25)
    assert [len(window) for window in windows.windows(rows, 4)] == [3, 3, 3, 1]


def test_unknown_words_of_a_call_are_refused(trained: Path) -> None:
    assert call("predict", "one", "two", "-w", trained).exit_code == 2
