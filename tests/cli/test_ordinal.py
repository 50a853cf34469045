"""Labels in an order, from a definition to the exported folder."""

from __future__ import annotations

import json
from pathlib import Path

import pandas as pd

from adaptershare_cli.kinds import KINDS
from tests.cli.conftest import QUICK, add_task, good, only, refused

LABELS = ("bad", "ok", "good")


def test_a_task_of_grades_goes_through_all_stages(encoder: Path, tmp_path: Path) -> None:
    add_task(tmp_path, "grade", LABELS, kind="ordinal", metrics=["qwk", "neg_mae", "accuracy"])
    workspace, rows = tmp_path / "workspace", tmp_path / "data" / "set" / "grade-dev.csv"
    places = ("--task-dir", tmp_path / "tasks", "--from", tmp_path / "data", "--model", encoder, "-w", workspace)
    shown = good("train-single", "-t", "grade", *places, *QUICK).output
    assert "grade dev" in shown and "qwk" in shown
    run = only(workspace, "train-single/*")
    predictions = pd.read_parquet(run / "predictions.parquet")
    assert set(predictions["prediction"]) <= set(LABELS) and {len(row) for row in predictions["logits"]} == {1}
    metrics = pd.read_parquet(run / "metrics.parquet").query("final and split == 'dev'").set_index("metric")["value"]
    ranks = predictions[["label", "prediction"]].map(LABELS.index)
    assert metrics["neg_mae"] == -(ranks["label"] - ranks["prediction"]).abs().mean()
    good("predict", run.name, "--input", rows, "-o", tmp_path / "answers.csv", "--model", encoder, "-w", workspace)
    answers = pd.read_csv(tmp_path / "answers.csv")
    assert answers["grade.label"].tolist() == predictions["prediction"].tolist()
    assert answers["grade.rank"].clip(0, 2).add(0.5).floordiv(1).astype(int).tolist() == ranks["prediction"].tolist()
    good("export", run.name, "--to", tmp_path / "exported", "--model", encoder, "-w", workspace)
    card = next((tmp_path / "exported").rglob("README.md")).read_text(encoding="utf-8")
    assert KINDS["ordinal"].output_note in card and "bad, ok, good" in card
    head = json.loads(next((tmp_path / "exported").rglob("head.json")).read_text())
    assert (head["kind"], head["labels"]) == ("ordinal", list(LABELS))


def test_an_order_must_be_said(tmp_path: Path) -> None:
    add_task(tmp_path, "grade", LABELS, kind="ordinal", metrics=["qwk"])
    file = tmp_path / "tasks" / "grade.yaml"
    file.write_text(json.dumps({**json.loads(file.read_text()), "labels": "from-train"}))
    says = ("from-train", "does not tell their order")
    refused("download", "-t", "grade", "--task-dir", tmp_path / "tasks", "-w", tmp_path / "w", says=says)
