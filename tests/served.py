"""Does a run that is loaded from its folders say what it said when it was scored, bit for bit?"""

from __future__ import annotations

import io
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import torch

from adaptershare_cli.cli.console import Terminal
from adaptershare_cli.runs.choose import one_run
from adaptershare_cli.runs.served import ServedRun, served_run
from adaptershare_cli.serving.predictor import Outputs, Predictor
from adaptershare_cli.serving.rows import Call, Row
from adaptershare_cli.store.workspace import Workspace
from tests.cli.conftest import only


def load(workspace: Path, word: str | Path, encoder: Path) -> tuple[ServedRun, Predictor]:
    """A run of the workspace with all its tasks, on one thread as it was scored."""
    room, screen = Workspace(workspace, writing=False), Terminal(as_json=True)
    screen.console.file = io.StringIO()
    served = served_run(room, one_run(room, str(word), screen), None, str(encoder), screen)
    torch.set_num_threads(1)
    return served, served.load(torch.device("cpu"))


def scored_rows(workspace: Path, task: str, split: str = "dev") -> list[Row]:
    """The rows of a scored split, without their labels; words as a text, which tasks of all kinds can read."""
    table = pq.read_table(only(workspace, f"download/{task}-*/{split}.parquet"))
    found = []
    for row in table.drop_columns(["row", "label"]).to_pylist():
        text = row["text"] if isinstance(row["text"], str) else " ".join(row["text"])
        found.append({"text": text, **({"text_pair": row["text_pair"]} if row.get("text_pair") else {})})
    return found


def recorded_logits(served: ServedRun, task: str, split: str = "dev") -> np.ndarray:
    """What the run recorded of a scored split, in the order of its rows (and words)."""
    for name in ("predictions", "word_predictions"):
        table = served.run.table(f"{name}.parquet") if f"{name}.parquet" in served.run.meta["files"] else None
        rows = [] if table is None else [r for r in table.to_pylist() if (r["task"], r["split"]) == (task, split)]
        if rows:
            rows.sort(key=lambda row: (row["row"], row.get("place", 0)))
            return np.array([row["logits"] for row in rows], np.float32)
    raise AssertionError(f"nothing is recorded of {task}")


def assert_equal(one: Outputs, other: Outputs) -> None:
    """The same bits."""
    assert np.array_equal(one.values, other.values)


def assert_answers_as_scored(workspace: Path, word: str | Path, encoder: Path) -> None:
    """All tasks in one pass give each task's recorded outputs, and what each task gives by itself."""
    served, predictor = load(workspace, word, encoder)
    for task in served.tasks:
        rows = scored_rows(workspace, task)
        together = predictor.predict(served.tasks, rows)
        assert list(together) == list(served.tasks)
        assert np.array_equal(together[task].values, recorded_logits(served, task)), task
        for other in served.tasks:
            assert_equal(together[other], predictor.predict([other], rows)[other])
    assert_answers_several_at_once(predictor, {task: scored_rows(workspace, task)[:5] for task in served.tasks})


def assert_answers_several_at_once(predictor: Predictor, rows: Mapping[str, list[Row]]) -> None:
    """Calls for different tasks in one pass give each what it gives by itself, to rounding."""
    calls = [Call((task,), of_task[number % 2 :]) for number, (task, of_task) in enumerate(rows.items())]
    calls += [Call(tuple(rows), of_task[:2]) for of_task in rows.values()]
    for call, outputs in zip(calls, predictor.predict_calls(calls), strict=True):
        for task, alone in predictor.predict(call.tasks, call.rows).items():
            np.testing.assert_allclose(outputs[task].values, alone.values, rtol=1e-4, atol=1e-5)
            assert [*outputs[task].cut] == [*alone.cut]
            for answer, expected in zip(outputs[task].answers(), alone.answers(), strict=True):
                assert answer.get("words") == expected.get("words")
