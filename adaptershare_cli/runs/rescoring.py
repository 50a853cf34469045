"""Trained tasks scored again, on either half of their select rows: what was chosen by one is valued by the other."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from adaptershare_cli.data.batches import Rows
from adaptershare_cli.kinds import KINDS
from adaptershare_cli.parquet_files import write_parquet
from adaptershare_cli.runs.context import StageContext, ensure
from adaptershare_cli.runs.relating import private_model
from adaptershare_cli.runs.rows import read_parts, task_info
from adaptershare_cli.schemas import HALVES
from adaptershare_cli.store.artefact import Artefact
from adaptershare_cli.store.records import PreproRecord, RunRecord
from adaptershare_cli.store.workspace import GROUPS

if TYPE_CHECKING:
    import numpy as np


def score_halves(
    context: StageContext, prepared: Sequence[Artefact], runs: Sequence[Artefact], seed: int
) -> list[Mapping[str, tuple[float, float]]]:
    """For each run the main metric of each of its tasks on the two halves of the task's select rows; undefined is 0.

    It is an artefact of stage `groups`, so that it is computed once.
    """
    request = {
        "tasks": [[artefact.name, artefact.content] for artefact in prepared],
        "runs": [run.content for run in runs],
        "seed": seed,
    }

    def build(folder: Path) -> dict[str, Any]:
        rows = _scores(context, prepared, runs, seed)
        write_parquet(pa.Table.from_pylist(rows, HALVES), folder / "halves.parquet")
        return {"info": {"summary": f"{len(runs)} runs"}}

    made = ensure(context, GROUPS, "halves", request, build, [*prepared, *runs])
    found: list[dict[str, tuple[float, float]]] = [{} for _ in runs]
    for row in made.table("halves.parquet").to_pylist():
        found[row["run"]][row["task"]] = (row["first"], row["second"])
    return [*found]


class SelectScores:
    """All tasks on one encoder (`model`), and what their adapters and heads, as they are then, give on select rows."""

    def __init__(self, context: StageContext, prepared: Sequence[Artefact], seed: int) -> None:
        self.infos = {artefact.name: task_info(artefact) for artefact in prepared}
        self.rows = {task: part.select for task, part in read_parts(context.training.leak_scope, prepared)[0].items()}
        self.size, self.pad_token = context.training.per_device_eval_batch_size, PreproRecord.of(prepared[0]).pad_token
        self.model = private_model(context, prepared, seed, {})

    def outputs(self, task: str) -> np.ndarray:
        """The head's outputs (A, outputs) for the task's select rows."""
        from adaptershare_cli.training.evaluation import predict

        info = self.infos[task]
        outputs = KINDS[info.kind].outputs(info)
        return predict(self.model.logits, task, self.rows[task], outputs, self.size, self.pad_token)

    def main(self, task: str, outputs: np.ndarray, rows: Rows) -> float:
        """The task's main metric of outputs for some rows; undefined is 0."""
        from adaptershare_cli.training.evaluation import score

        info = self.infos[task]
        return score(info, outputs, rows)[info.metrics[0]] or 0.0


def _scores(
    context: StageContext, prepared: Sequence[Artefact], runs: Sequence[Artefact], seed: int
) -> list[dict[str, Any]]:
    """Rows of `schemas.HALVES`."""
    from adaptershare_cli.model.stored import load_task

    scores = SelectScores(context, prepared, seed)
    values = []
    for number, run in enumerate(runs):
        for task in RunRecord.of(run).tasks:
            load_task(scores.model, task, run.path / "tasks" / task)
            outputs, rows = scores.outputs(task), scores.rows[task]
            row: dict[str, Any] = {"run": number, "task": task}
            for name, half in zip(("first", "second"), rows.halves(), strict=True):
                row[name] = scores.main(task, outputs[rows.answers.of_rows(half)], rows.take(half))
            values.append(row)
    return values
