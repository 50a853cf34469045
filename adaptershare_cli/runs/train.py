"""One run: what a job's training has made already, or what it makes now, resumed from its last checkpoint."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from adaptershare_cli.kinds.metrics import own
from adaptershare_cli.runs.checkpoints import CheckpointStore
from adaptershare_cli.runs.context import StageContext, ensure
from adaptershare_cli.runs.job import Job
from adaptershare_cli.runs.rows import check_fit
from adaptershare_cli.runs.runtime import NAMES, free_threads, given_values, resolve_runtime
from adaptershare_cli.runs.scored_by import scored_otherwise
from adaptershare_cli.runs.standing import standing_values
from adaptershare_cli.settings import check_settings
from adaptershare_cli.store.artefact import Artefact, request_key
from adaptershare_cli.store.records import RunRecord


def train_run(context: StageContext, job: Job) -> Artefact:
    """The artefact of one training: the one that is there, or a new one.

    Left out are the rows that the job's limits leave out, and those that stand in a scored split of this run. Publishes
    `tasks/<task>/` (adapter and head) and the tables of `schemas.RUN_TABLES` and predictions.
    """
    check_settings(job.settings)
    own.learn(job.metric_files)

    # How many updates may be skipped, and by what a run is scored, does not change what it is, so neither is part of
    # the key: a run that skipped more than is allowed now, or was scored by other metrics, is made again.
    def lacks(run: Artefact) -> bool:
        return RunRecord.of(run).skipped_updates > job.runtime.skippable or scored_otherwise(run, job)

    standing = standing_values(context.workspace, job, lambda run: not lacks(run))
    request = job.request(standing)
    inputs = [*job.prepared, *job.origins]
    given = given_values(job.runtime)
    automatic = [name for name in NAMES if name not in given]
    store = CheckpointStore(
        context.workspace, f"{job.name}-{request_key(request)}", request, inputs,
        lambda: resolve_runtime(job.runtime), automatic, job.again,
    )  # fmt: skip

    def build(folder: Path) -> dict[str, Any]:
        check_fit(job.encoder, [*context.prepared, *job.prepared])
        from adaptershare_cli.runs.training import Training  # imports torch: not where the run is there already

        return Training(context, job, store).build(folder)

    free = free_threads(job.runtime)
    here = f" (here {free})" if job.runtime.threads is None and standing.threads != free else ""
    return ensure(
        context,
        job.stage,
        job.name,
        request,
        build,
        inputs,
        lacks=lacks,
        settle=lambda made: store.clear(keep_forced=not made),
        quiet=job.lean,
        again=job.again,
        note=f"made with {standing}{here}" if automatic else "",
    )
