"""The metrics that a run was scored by. They decide nothing of its training, so they are no part of its key."""

from __future__ import annotations

from adaptershare_cli.kinds import of_one_label
from adaptershare_cli.kinds.metrics import own
from adaptershare_cli.runs.job import Job
from adaptershare_cli.runs.rows import task_info
from adaptershare_cli.store.artefact import Artefact
from adaptershare_cli.store.records import RunRecord


def metrics_of(run: Artefact) -> dict[str, list[str]]:
    """The metrics of each task of a run, the main one first."""
    found: dict[str, list[str]] = {}
    for row in run.table("metrics.parquet", ["task", "metric", "main"]).to_pylist():
        of_task = found.setdefault(row["task"], [])
        if row["metric"] not in of_task:
            of_task.insert(0 if row["main"] else len(of_task), row["metric"])
    return found


def scored_otherwise(run: Artefact, job: Job) -> bool:
    """Whether a run was scored by other metrics than the definitions of its tasks name now.

    Users' own metrics are part of the key. Of a run that kept the scores of some tasks alone, those are compared.
    """
    record, scored = RunRecord.of(run), metrics_of(run)
    for asked in map(task_info, job.prepared):
        there = scored.get(asked.name)
        if there is None or any(map(own.is_own, [*asked.metrics, *there])):
            continue
        if there[0] != asked.metrics[0] or set(there) != set(asked.metrics):
            return True
        label = (record.positive or {}).get(asked.name, asked.positive)
        if of_one_label(asked.metrics) and label != asked.positive:
            return True
    return False
