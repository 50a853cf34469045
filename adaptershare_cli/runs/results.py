"""What a run found: its final scores, and the tables that show what runs are worth side by side."""

from __future__ import annotations

from typing import Any

from rich.table import Table

from adaptershare_cli.kinds import metric_title
from adaptershare_cli.runs.job import Job
from adaptershare_cli.screen import Screen
from adaptershare_cli.store.artefact import Artefact, request_key
from adaptershare_cli.store.records import RunRecord
from adaptershare_cli.store.workspace import Workspace


def find_run(workspace: Workspace, job: Job) -> Artefact | None:
    """What running the job has made, if it has been run."""
    return workspace.find(job.stage, job.name, request_key(job.request()))


def run_results(run: Artefact) -> list[dict[str, Any]]:
    """The final scores of a run on its scored splits, as rows of `schemas.METRICS` with the metrics' titles."""
    rows = run.table("metrics.parquet").to_pylist()
    positive = RunRecord.of(run).positive or {}
    return [
        {**row, "metric": metric_title(row["metric"], positive.get(row["task"]))}
        for row in rows
        if row["final"] and row["split"] != "select"
    ]


def print_run(screen: Screen, runs: list[Artefact], title: str) -> None:
    """A table of the main scores of runs: a column a method and seed, a row for each task and scored split.

    Runs of single tasks stand in one column, as those of a seed belong together.
    """
    scores: dict[str, dict[str, dict[str, Any]]] = {}
    for run in runs:
        record = RunRecord.of(run)
        column = scores.setdefault(f"{record.method} seed {record.seed}", {})
        column |= {f"{row['task']} {row['split']}": row for row in run_results(run) if row["main"]}
    table = Table(title=title)
    table.add_column("task and split")
    for name in scores:
        table.add_column(name, justify="right")
    table.add_column("metric")
    for line in dict.fromkeys(line for column in scores.values() for line in column):
        found = [column.get(line) for column in scores.values()]
        metric = next(row["metric"] for row in found if row is not None)
        cells = ["–" if r is None else "n/a" if r["value"] is None else f"{100 * r['value']:.1f}" for r in found]
        table.add_row(line, *cells, metric)
    screen.table(table)
