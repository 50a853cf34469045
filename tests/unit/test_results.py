"""What the table after a training shows of runs: what metrics are of, and which scores tell nothing."""

from __future__ import annotations

from dataclasses import fields
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from rich.table import Table

from adaptershare_cli import schemas
from adaptershare_cli.kinds import KINDS
from adaptershare_cli.parquet_files import write_parquet
from adaptershare_cli.runs.baselines import Constant, Constants
from adaptershare_cli.runs.results import degenerate_scores, print_run, run_results
from adaptershare_cli.screen import CONSTANT
from adaptershare_cli.store.artefact import Artefact
from adaptershare_cli.store.records import RunRecord

# Of each task its main metric, its score, and (label, prediction) of its rows.
SCORES: dict[str, tuple[str, float | None, list[tuple[str, str]]]] = {
    "mail": ("f1", 0.0, [("spam", "ham"), ("ham", "ham"), ("ham", "ham")]),
    "news": ("accuracy", 0.5, [("a", "a"), ("a", "b"), ("b", "a"), ("c", "c")]),
    "good": ("accuracy", 0.75, [("a", "a"), ("a", "a"), ("b", "b"), ("b", "a")]),
    "score": ("pearson", None, [("1.0", "2.5"), ("2.0", "2.5")]),
}
WORDS = {"tags": ("accuracy", 0.9, [("O", "O"), ("O", "O"), ("B-x", "O")])}


@pytest.fixture
def run(tmp_path: Path) -> Artefact:
    """The tables of a run without its training."""
    every = SCORES | WORDS
    metrics = [
        {"task": task, "split": split, "metric": metric, "value": value, "main": True, "final": True}
        for task, (metric, value, _) in every.items()
        for split in ("dev", "select")
    ]
    write_parquet(pa.Table.from_pylist(metrics, schemas.METRICS), tmp_path / "metrics.parquet")
    for name, tasks in (("predictions", SCORES), ("word_predictions", WORDS)):
        kind = next(kind for kind in KINDS.values() if kind.predictions_table == name)
        rows = [
            {"task": task, "split": "dev", "label": label, "prediction": prediction}
            for task, (_, _, answers) in tasks.items()
            for label, prediction in answers
        ]
        write_parquet(pa.Table.from_pylist(rows, kind.predictions_schema()), tmp_path / f"{name}.parquet")
    info: dict[str, Any] = {item.name: None for item in fields(RunRecord)}
    info |= {"method": "private", "seed": 3, "positive": {"mail": "spam"}}
    files = {path.name: {} for path in tmp_path.iterdir()}
    return Artefact(tmp_path, {"stage": "train-share", "files": files, "info": info})


class Shown:
    """A screen that keeps what it is given."""

    def __init__(self) -> None:
        self.lines: list[str] = []
        self.tables: list[Table] = []

    def line(self, text: str) -> None:
        self.lines.append(text)

    def table(self, table: Table) -> None:
        self.tables.append(table)


class Gone:
    """No prepared rows are left."""

    def of(self, run: Artefact) -> Constants:
        return {}


class Least:
    """What constant predictions score."""

    def of(self, run: Artefact) -> Constants:
        return {
            ("mail", "dev"): Constant("always ham", {"f1": 0.0}),
            ("good", "dev"): Constant("always a", {"accuracy": 0.75}),
            ("score", "dev"): Constant("always 1.5", {"pearson": None}),
            ("tags", "dev"): Constant("always O", {"accuracy": 0.6667}),
        }


def test_scores_no_better_than_a_constant_prediction(run: Artefact) -> None:
    constants = Least().of(run)
    found = degenerate_scores(run, constants)
    assert found["good", "dev"] == "no better than always a (75.0)"
    assert found["mail", "dev"] == "always ham"  # what the predictions are themselves comes first
    better = {**constants, ("good", "dev"): Constant("always a", {"accuracy": 0.7})}
    assert ("good", "dev") not in degenerate_scores(run, better)


def test_the_constant_prediction_has_a_column(run: Artefact) -> None:
    screen = Shown()
    print_run(screen, [run], "title", Least())  # type: ignore[arg-type]
    (table,) = screen.tables
    assert [str(column.header) for column in table.columns] == ["task and split", "private seed 3", CONSTANT, "metric"]
    assert list(table.columns[2].cells) == ["0.0", "–", "75.0", "n/a", "66.7"]
    assert "* good dev, no better than always a (75.0): private seed 3" in screen.lines


def test_scores_that_tell_nothing(run: Artefact) -> None:
    assert degenerate_scores(run, {}) == {
        ("mail", "dev"): "always ham",
        ("news", "dev"): "no better than always a",
        ("score", "dev"): "always 2.5",
        ("tags", "dev"): "always O",
    }


def test_the_table_after_a_training(run: Artefact) -> None:
    screen = Shown()
    print_run(screen, [run], "title", Gone())  # type: ignore[arg-type]
    (table,) = screen.tables
    places, scores, metrics = (list(column.cells) for column in table.columns)
    assert places == [f"{task} dev" for task in (*SCORES, *WORDS)]
    assert scores == ["0.0*", "50.0*", "75.0", "n/a*", "90.0*"]
    assert metrics == ["f1 (spam)", "accuracy", "accuracy", "pearson", "accuracy"]
    assert screen.lines[0] == "* mail dev, always ham: private seed 3" and len(screen.lines) == 4


def test_metrics_are_named_by_what_they_are_of(run: Artefact) -> None:
    assert [row["metric"] for row in run_results(run) if row["task"] == "mail"] == ["f1 (spam)"]
    run.info["positive"] = {"mail": ""}
    assert [row["metric"] for row in run_results(run) if row["task"] == "mail"] == ["f1 (macro)"]
