"""Texts that repeat: what prepro and a training say of the cut, and how repeats are kept."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path

import pytest

from tests.cli.conftest import NOTHING, QUICK, add_task, good

UTTERANCES = {"yeah": 30, "right": 26, "okay": 22}  # natural repeats, of the label `back`, in train and in dev


@pytest.fixture(scope="module")
def acts(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Dialogue acts: 60 % of the train rows are three short texts of one label, and dev has them too; a plain task."""
    root = tmp_path_factory.mktemp("acts")
    add_task(root, "plain", ("bad", "good"))
    add_task(root, "acts", ("back", "long"))
    frequent = [f"{text},back" for text, count in UTTERANCES.items() for _ in range(count)]
    for split, rows in (("train", frequent), ("dev", frequent[::6])):
        long = [f"what {split} says is number {number},long" for number in range(len(rows) * 2 // 3)]
        (root / "data" / "set" / f"acts-{split}.csv").write_text("text,label\n" + "\n".join([*rows, *long]) + "\n")
    return root


def labels_of(workspace: Path, part: str) -> Counter[int]:
    """The labels of the rows of a part, by number."""
    import pyarrow.parquet as pq

    (file,) = workspace.glob(f"prepro/acts-*/{part}.parquet")
    return Counter(pq.read_table(file, partitioning=None)["label"].to_pylist())


def test_a_label_that_leaks_take_is_named_and_repeats_can_be_kept(acts: Path, encoder: Path, tmp_path: Path) -> None:
    places = ("-t", "acts", "--task-dir", acts / "tasks", "--from", acts / "data", "--model", encoder)
    lost = "acts: no train row has the label back, never to be learnt"
    dropped = good("train-single", *places, "-w", tmp_path / "dropped", *QUICK[2:], "--max-steps", "2").stdout
    assert dropped.count(lost) == 2  # where the rows are cut, and where they are trained on
    assert "78 of 130 train rows stand in a scored split" in dropped and "--leak-scope none keeps them" in dropped
    (run,) = (tmp_path / "dropped").glob("train-single/*/artefact.json")
    assert json.loads(run.read_text())["info"]["lost_labels"] == {"acts": ["back"]}
    again = good("train-single", *places, "-w", tmp_path / "dropped", *QUICK[2:], "--max-steps", "1").stdout
    assert again.count(lost) == 1

    kept = good("train-single", *places, "-w", tmp_path / "kept", *QUICK[2:], "--max-steps", "2",
                "--leak-scope", "none", "--max-train-examples", "30").stdout  # fmt: skip
    assert "no train row" not in kept and "dropped" not in kept
    assert "--heldout-size and --select-size change how many" in kept
    for part in ("heldout", "select"):  # 60 % of 26 rows
        counts = labels_of(tmp_path / "kept", part)
        assert counts.total() == 26 and 15 <= counts[0] <= 16
    assert labels_of(tmp_path / "kept", "train") == {0: 18, 1: 12}


def test_the_scope_of_one_tasks_leaks_is_no_matter_for_prepro(acts: Path, encoder: Path, tmp_path: Path) -> None:
    prepro = ("prepro", "-t", "acts", "--task-dir", acts / "tasks", "--from", acts / "data", "--model", encoder,
              "-w", tmp_path, "--max-seq-length", "64")  # fmt: skip
    good(*prepro)
    assert "Nothing to do" in good(*prepro, "--leak-scope", "task").stdout
    assert "train rows dropped" not in good(*prepro, "--leak-scope", "none").stdout


def test_samples_that_lose_labels_say_so(acts: Path, encoder: Path, tmp_path: Path) -> None:
    """A sample of a scored split keeps the labels' shares too; one of train that is too small for them is told."""
    places = ("-t", "acts", "--task-dir", acts / "tasks", "--from", acts / "data", "--model", encoder)
    said = good("prepro", *places, "-w", tmp_path, "--max-seq-length", "64", "--leak-scope", "none",
                "--max-train-examples", "1", "--max-eval-examples", "10").stdout  # fmt: skip
    assert "no train row has the label long" in said and "Give a larger --max-train-examples" in said
    assert labels_of(tmp_path, "dev") == {0: 6, 1: 4}


def test_the_key_tells_that_held_out_copies_are_one(acts: Path, trained: Path, encoder: Path, tmp_path: Path) -> None:
    """Other runs keep their keys: those without copies, and those that look at no held-out row."""
    places = ("--task-dir", acts / "tasks", "--from", acts / "data", "--model", encoder, "-w", tmp_path)
    share = ("train-share", "-t", "acts,plain", *places, *QUICK[2:], "--max-steps", "2", "--leak-scope", "none")
    for more in (("--first-check", "2"), ("--no-observe", "--method", "shared")):
        good(*share, *more)
        assert NOTHING in good(*share, *more).stdout
    said = [json.loads(file.read_text())["request"] for folder in (tmp_path, trained)
            for file in sorted(folder.glob("train-share/*/artefact.json"))]  # fmt: skip
    assert [request.get("heldout") for request in said] == ["by text", None, None]
