"""The files of a GLUE submission: the layout's rules, and that each row's answer is the run's own."""

from __future__ import annotations

import csv
import json
import random
import zipfile
from pathlib import Path
from typing import Any

import pytest

from adaptershare_cli.serving.glue import TEST_SETS, written_labels
from tests.cli.conftest import QUICK, good, refused, snapshot
from tests.conftest import WORDS
from tests.served import load

TASKS = ("cola", "stsb", "mnli", "rte")
# Of each file its header, the number of its columns with labels, and what its label column holds.
HEADERS = {
    "CoLA/{}": (None, 4), "STS-B/{}": ("index\tsentence1\tsentence2\tscore", 4),
    "MNLI/{}": ("index\tsentence1\tsentence2\tgold_label", 4), "RTE/{}": ("index\tsentence1\tsentence2\tlabel", 4),
}  # fmt: skip
LABELS = {
    "CoLA": ["0", "1"], "MNLI": ["entailment", "neutral", "contradiction"], "RTE": ["entailment", "not_entailment"],
}  # fmt: skip
ROWS = 7  # of each test file
ALLOWED = {
    "CoLA": {"0", "1"}, "RTE": {*LABELS["RTE"]},
    **dict.fromkeys(("MNLI-m", "MNLI-mm", "AX"), {*LABELS["MNLI"]}),
}  # fmt: skip


def text(draw: random.Random) -> str:
    return " ".join(draw.choice(WORDS) for _ in range(draw.randint(2, 8)))


def write(root: Path) -> None:
    """Small files in GLUE's layout, quotes and all: train and dev with labels, test without."""
    draw = random.Random(3)
    for place, (header, _) in HEADERS.items():
        folder = place.partition("/")[0]
        for split, rows in (("train", 40), ("dev", 8)):
            lines = [] if header is None else [header]
            for number in range(rows):
                label = draw.choice(LABELS[folder]) if folder in LABELS else f"{draw.random() * 5:.2f}"
                first = f'"{text(draw)}'  # a quote is a character here
                lines.append(
                    f"x\t{label}\t*\t{first}" if folder == "CoLA" else f"{number}\t{first}\t{text(draw)}\t{label}"
                )
            name = {"MNLI": {"dev": "dev_matched"}}.get(folder, {}).get(split, split)
            path = root / folder / f"{name}.tsv"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text("\n".join(lines) + "\n")
    for wanted in TEST_SETS:
        if wanted.task in TASKS:
            path = root / wanted.paths[0].removeprefix("glue/")
            path.parent.mkdir(parents=True, exist_ok=True)
            columns = ["index", *wanted.columns.values()]
            lines = ["\t".join([str(n), *(text(draw) for _ in columns[1:])]) for n in range(ROWS)]
            path.write_text("\n".join(["\t".join(columns), *lines]) + "\n")


@pytest.fixture(scope="module")
def glue(tmp_path_factory: pytest.TempPathFactory, encoder: Path) -> tuple[Path, Path]:
    """A folder in GLUE's layout, and a workspace with a shared run of four of its tasks."""
    root = tmp_path_factory.mktemp("glue")
    write(root / "data")
    places = ("--from", root / "data", "--model", encoder, "-w", root / "w")
    good("train-share", "-t", ",".join(TASKS), *places, *QUICK, "--method", "shared")
    return root / "data", root / "w"


def submit(glue: tuple[Path, Path], encoder: Path, target: Path, *more: Any) -> tuple[Any, ...]:
    data, workspace = glue
    command = ("predict", "-w", workspace, "--model", encoder, "--threads", "1", "--input", data)
    return (*command, "--glue-submission", target, *more)


def test_a_submission_keeps_the_rules_of_the_layout(glue: tuple[Path, Path], encoder: Path, tmp_path: Path) -> None:
    before = snapshot(glue[1])
    result = good(*submit(glue, encoder, tmp_path / "out"))
    assert snapshot(glue[1]) == before
    files = {wanted.name: wanted for wanted in TEST_SETS if wanted.task in TASKS}
    names = {f"{name}.tsv" for name in files}
    assert {path.name for path in (tmp_path / "out").iterdir()} == {*names, "submission.zip"}
    with zipfile.ZipFile(tmp_path / "out" / "submission.zip") as archive:
        assert {*archive.namelist()} == names and len(archive.namelist()) == len(names)
        for name in archive.namelist():
            assert archive.read(name) == (tmp_path / "out" / name).read_bytes()
    _, predictor = load(glue[1], "shared", encoder)
    for name, wanted in files.items():
        with (tmp_path / "out" / f"{name}.tsv").open(newline="") as stream:
            header, *lines = csv.reader(stream, delimiter="\t", quoting=csv.QUOTE_NONE)
        assert header == ["index", "prediction"]
        assert [line[0] for line in lines] == [str(number) for number in range(ROWS)]
        with (glue[0] / wanted.paths[0].removeprefix("glue/")).open(newline="") as stream:
            rows = [*csv.DictReader(stream, delimiter="\t", quoting=csv.QUOTE_NONE)]
        asked = [{role: row[column] for role, column in wanted.columns.items()} for row in rows]
        answers = predictor.predict([wanted.task], asked)[wanted.task].answers()
        if wanted.task == "stsb":
            assert [float(line[1]) for line in lines] == [
                pytest.approx(min(max(answer["score"], 0), 5), abs=5e-4) for answer in answers
            ]
            continue
        assert {line[1] for line in lines} <= ALLOWED[name]
        numbers = {"unacceptable": "0", "acceptable": "1"}
        assert [line[1] for line in lines] == [numbers.get(answer["label"], answer["label"]) for answer in answers]
    assert "not in the submission" in result.stdout and "SST-2 (the run has no task sst2)" in result.stdout
    assert f"CoLA.tsv: {ROWS} rows; GLUE's own file has 1063" in result.stdout
    good(*submit(glue, encoder, tmp_path / "again", "--json"))
    assert snapshot(tmp_path / "again") == snapshot(tmp_path / "out")


def test_a_row_that_cannot_be_answered_is_told_and_keeps_its_place(
    glue: tuple[Path, Path], encoder: Path, tmp_path: Path
) -> None:
    data = tmp_path / "data"
    (data / "CoLA").mkdir(parents=True)
    (data / "CoLA" / "test.tsv").write_text("index\tsentence\n0\ta film\n1\t \n2\n3\ta bank\n")
    command = submit((data, glue[1]), encoder, tmp_path / "out", "--task", "cola")
    refused(*command, says=("2 rows cannot be used", "row 3", "row 4"))
    assert not (tmp_path / "out").exists()
    result = good(*command, "--max-rejected", "2")
    assert result.stdout.count("gets the first label") == 2
    lines = (tmp_path / "out" / "CoLA.tsv").read_text().splitlines()
    assert [line.split("\t")[0] for line in lines[1:]] == ["0", "1", "2", "3"]
    assert [line.split("\t")[1] for line in lines[2:4]] == ["0", "0"]


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("--top-k", "2"), "--top-k has no effect"),
        (("--output", "x.csv"), "--output has no effect"),
        (("--task", "sst2"), "no task 'sst2'"),
        (("--input", "nowhere"), "is not a folder"),
        (("--input", "."), "There is nothing to answer"),
    ],
)
def test_what_is_refused(
    glue: tuple[Path, Path], encoder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, arguments: Any, says: str
) -> None:
    monkeypatch.chdir(tmp_path)
    refused(*submit(glue, encoder, tmp_path / "out", *arguments), says=(says,))
    assert [*tmp_path.iterdir()] == []


def test_labels_are_written_as_the_tasks_files_have_them() -> None:
    from adaptershare_cli.data.tasks import load_tasks
    from adaptershare_cli.kinds.base import TaskInfo

    registry = load_tasks()
    official = {
        "cola": "01", "sst2": "01", "mrpc": "01", "qqp": "01", "wnli": "01",
        "rte": ["entailment", "not_entailment"], "qnli": ["entailment", "not_entailment"],
        "mnli": ["entailment", "neutral", "contradiction"],
    }  # fmt: skip
    assert {wanted.task for wanted in TEST_SETS} == {*official, "stsb"}
    assert json.dumps(sorted(wanted.name for wanted in TEST_SETS)) == (
        '["AX", "CoLA", "MNLI-m", "MNLI-mm", "MRPC", "QNLI", "QQP", "RTE", "SST-2", "STS-B", "WNLI"]'
    )
    for task, labels in official.items():
        definition = registry.tasks[task]
        assert definition.files is not None
        info = TaskInfo(task, definition.kind, definition.labels, None, definition.metrics)
        assert [*written_labels(info, definition.files.label_map).values()] == [*labels]
