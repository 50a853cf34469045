"""Models that learnt nothing: what is told of them in tables, in the report and as JSON; labels that are weighed."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pandas as pd
import pytest

from tests.cli.conftest import QUICK, add_task, good, only, refused, without
from tests.conftest import WORDS

ROWS = {"train": 60, "dev": 20}
STILL = (*without(QUICK, "--learning-rate"), "--learning-rate", "1e-9")  # nothing is learnt


@pytest.fixture(scope="module")
def rare(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A task with one label on nine rows of ten, beside one with scores."""
    root = tmp_path_factory.mktemp("rare")
    add_task(root, "score", ())
    add_task(root, "rare", ("no", "yes"))
    for split, rows in ROWS.items():
        lines = [
            f"{WORDS[row % 9]} {WORDS[row % 7]} {split} {row},{'no' if row % 10 else 'yes'}" for row in range(rows)
        ]
        (root / "data" / "set" / f"rare-{split}.csv").write_text("\n".join(["text,label", *lines]) + "\n")
    return root


def call_of(root: Path, encoder: Path, command: str, tasks: str) -> tuple:
    places = ("--task-dir", root / "tasks", "--from", root / "data", "--model", encoder, "-w", root / "workspace")
    return (command, "-t", tasks, *places)


def test_a_model_that_says_one_thing_is_told_everywhere(rare: Path, encoder: Path) -> None:
    arguments = (
        *call_of(rare, encoder, "train-share", "rare,score"),
        "--method",
        "private",
        "--check-every",
        "5",
        *STILL,
    )
    shown = good(*arguments).output
    assert re.search(r"rare: [89]\d % of train rows have the label no, so accuracy says little of the others", shown)
    assert "rare: 12 held-out rows" in shown and "2 checks only: too few to read" in shown
    assert "constant" in shown and "* rare dev, " in shown
    scores = json.loads(good(*arguments, "--json").stdout)["artefacts"][0]["scores"]
    (accuracy,) = (row for row in scores if row["task"] == "rare" and row["split"] == "dev")
    assert accuracy["constant"] == 0.9 and accuracy["value"] <= 0.9
    told = good("report", "-w", rare / "workspace").output
    assert "constant: " in told and "* rare, " in told
    results = pd.read_parquet(rare / "workspace" / "report" / "results.parquet").set_index("task")
    assert results.loc["rare", "constant"] == 0.9 and results.loc["rare", "degenerate"]
    assert pd.isna(results.loc["score", "constant"])  # a correlation with one score is undefined
    assert "| constant | 90.0 |" in (rare / "workspace" / "report" / "report.md").read_text(encoding="utf-8")


def test_balanced_labels_are_another_run_and_scores_have_none(rare: Path, encoder: Path) -> None:
    balanced = ("--class-weights", "balanced", *QUICK)
    refused(*call_of(rare, encoder, "train-single", "score"), *balanced, says=("no labels to weigh", "score"))
    given = call_of(rare, encoder, "train-single", "rare,score")
    plain, weighed = (good(*given, *options).output for options in (QUICK, balanced))
    assert "no class weights for score" in weighed and "no class weights" not in plain
    assert "--class-weights balanced" in plain and "or train with" not in weighed
    runs = [json.loads(file.read_text()) for file in (rare / "workspace" / "train-single").glob("rare-*/artefact.json")]
    assert sorted(run["info"]["training"].get("class_weights", "none") for run in runs) == ["balanced", "none"]
    first, second = (pd.read_parquet(folder / "steps.parquet") for folder in
                     sorted((rare / "workspace" / "train-single").glob("rare-*")))  # fmt: skip
    assert first["loss"][0] != second["loss"][0]
    assert only(rare / "workspace" / "prepro", "rare-*")
