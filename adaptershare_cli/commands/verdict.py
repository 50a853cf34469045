"""The verdict on plans, a part of stage `correlate`: whether the plan of a run is worth it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from adaptershare_cli.errors import UserError
from adaptershare_cli.reporting.verdict_text import verdict_table
from adaptershare_cli.runs.choose import newest_run, select_runs
from adaptershare_cli.runs.context import StageContext
from adaptershare_cli.settings import VerdictSettings, check_settings
from adaptershare_cli.store.artefact import Artefact
from adaptershare_cli.store.records import RunRecord, VerdictRecord
from adaptershare_cli.studies.replicates import replicates_of
from adaptershare_cli.studies.verdict import plan_of, verdict


def judge_plans(
    context: StageContext,
    run_spec: str | None,
    settings: VerdictSettings,
    seeds: Sequence[int] | None = None,
    model: str | None = None,
    runtime: Mapping[str, Any] | None = None,
) -> list[Artefact]:
    """A verdict for each of the chosen runs (by default the newest train-share run).

    `seeds` are those of the trainings, by default the two after the runs' own. Raises UserError for runs whose plans
    differ from layer to layer, or that have no plan, before anything is trained.
    """
    check_settings(settings)
    if run_spec is None:
        runs = [newest_run(context.workspace, context.reporter)]
    else:
        runs = select_runs(context.workspace, run_spec, passed_over=context.reporter.fault)
        context.reporter.line(f"from {', '.join(run.label for run in runs)}")
    for run in runs:
        if len(RunRecord.of(run).tasks) < 2:
            fix = "Name a joint run."
            raise UserError(f"{run.label} has one task only, so there is no plan to judge", where="--run", fix=fix)
        plan_of(run, RunRecord.of(run).tasks)
    last = max(RunRecord.of(run).seed for run in runs)
    chosen = tuple(seeds) if seeds is not None else (last + 1, last + 2)
    made = []
    for replicates in replicates_of(context, runs, model, runtime or {}):
        for run in replicates.runs.values():
            made.append(verdict(replicates, run, settings, chosen))
            record = VerdictRecord.of(made[-1])
            context.reporter.table(verdict_table(record))
            for line in record.words:
                context.reporter.line(line)
    return made
