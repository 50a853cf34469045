"""The data that the tiny suite brings: made by its generator, clean between splits, balanced, three families."""

from __future__ import annotations

import csv
import importlib.util
import subprocess
import sys
from collections import Counter
from pathlib import Path
from types import ModuleType

import pytest
import yaml

from adaptershare_cli.data.tasks import load_tasks

SUITE = Path(__file__).resolve().parents[2] / "tasks" / "tiny"
TASKS = sorted(path.stem for path in SUITE.glob("*.yaml"))


def generator() -> ModuleType:
    spec = importlib.util.spec_from_file_location("tiny_generate", SUITE / "generate.py")
    assert spec and spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def definition(task: str) -> dict:
    return yaml.safe_load((SUITE / f"{task}.yaml").read_text(encoding="utf-8"))


def rows(task: str, split: str) -> list[dict[str, str]]:
    path = SUITE / definition(task)["embedded"]["splits"][split]
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def texts(found: list[dict[str, str]]) -> list[str]:
    return [" ".join(row[c].lower().split()) for row in found for c in ("text", "text_pair") if c in row]


def test_the_generator_makes_the_committed_files_byte_for_byte(tmp_path: Path) -> None:
    module = generator()
    module.main(tmp_path)
    made = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    committed = {path.name: path.read_bytes() for path in (SUITE / "data").iterdir()}
    assert sorted(made) == sorted(committed)
    assert [name for name in made if made[name] != committed[name]] == []


def test_at_least_six_tasks_in_three_families_of_two_or_more() -> None:
    families = Counter(task.rpartition("-")[0] for task in TASKS)
    assert len(TASKS) >= 6
    assert len(families) >= 3
    assert min(families.values()) >= 2
    assert {definition(task)["kind"] for task in TASKS} == {"classification", "regression"}


def test_every_data_file_belongs_to_a_task() -> None:
    named = {path for task in TASKS for path in definition(task)["embedded"]["splits"].values()}
    assert named == {f"data/{path.name}" for path in (SUITE / "data").iterdir()}


@pytest.mark.parametrize("task", TASKS)
def test_no_text_of_dev_stands_in_train_and_no_row_twice(task: str) -> None:
    train, dev = rows(task, "train"), rows(task, "dev")
    assert not set(texts(train)) & set(texts(dev))
    for split in (train, dev):
        inputs = [tuple(value for name, value in row.items() if name != "label") for row in split]
        assert len(set(inputs)) == len(inputs)


@pytest.mark.parametrize("task", TASKS)
def test_sizes_and_lengths(task: str) -> None:
    train, dev = rows(task, "train"), rows(task, "dev")
    assert 300 <= len(train) <= 600
    assert 150 <= len(dev) <= 250
    assert all(3 <= len(text.split()) <= 25 for text in texts(train) + texts(dev))


@pytest.mark.parametrize("task", TASKS)
@pytest.mark.parametrize("split", ["train", "dev"])
def test_labels_are_balanced(task: str, split: str) -> None:
    told, found = definition(task), [row["label"] for row in rows(task, split)]
    if told["kind"] == "regression":
        low, high = told["range"]
        scores = [float(label) for label in found]
        thirds = Counter(min(2, int(3 * (score - low) / (high - low))) for score in scores)
        assert low <= min(scores) and max(scores) <= high
        assert min(thirds[third] for third in range(3)) >= len(scores) / 6
    else:
        counts = Counter(found)
        assert set(counts) == set(told["labels"])
        fair = len(found) / len(told["labels"])
        assert all(0.75 * fair <= count <= 1.25 * fair for count in counts.values())


# ---- tiny-tagging ----

TAGGING = SUITE.parent / "tiny-tagging"


def tagged(split: str) -> list[list[tuple[str, str]]]:
    """The sentences of tiny-slots: words with their labels."""
    text = (TAGGING / "data" / f"tiny-slots-{split}.txt").read_text(encoding="utf-8")
    return [[tuple(line.split(" ")) for line in part.splitlines()] for part in text.strip().split("\n\n")]


def test_the_tagging_task_is_made_by_its_generator(tmp_path: Path) -> None:
    subprocess.run([sys.executable, TAGGING / "generate.py", tmp_path], check=True)
    made = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    assert made == {path.name: path.read_bytes() for path in (TAGGING / "data").iterdir()}


def test_the_tagging_task_is_clean_and_has_every_slot() -> None:
    labels = yaml.safe_load((TAGGING / "tiny-slots.yaml").read_text(encoding="utf-8"))["labels"]
    found = {split: tagged(split) for split in ("train", "dev")}
    texts = {split: [" ".join(word for word, _ in row) for row in rows] for split, rows in found.items()}
    assert len(texts["train"]) == 500 and len(texts["dev"]) == 150
    assert len({*texts["train"], *texts["dev"]}) == 650
    for rows in found.values():
        assert {label for row in rows for _, label in row} == set(labels)
        for row in rows:
            for (_, before), (_, label) in zip([("", "O"), *row], row, strict=False):
                assert label[0] != "I" or before[1:] == label[1:]  # well-formed BIO
    words = {split: {word for row in rows for word, _ in row} for split, rows in found.items()}
    assert len(words["dev"] - words["train"]) >= 15


def test_the_tagging_task_stays_out_of_the_tiny_suite() -> None:
    registry = load_tasks()
    assert [task.name for task in registry.select("tiny")] == TASKS
    assert [task.name for task in registry.select("tiny-tagging")] == ["tiny-slots"]
    names = ["atis-slots", "conll-chunk", "conll-ner", "conll-pos", "snips-slots"]
    assert [task.name for task in registry.select("tagging")] == names
