"""Stage `train-share`: several tasks together, by one method."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from adaptershare_cli.commands.prepro import prepare
from adaptershare_cli.data.tasks import TaskDefinition
from adaptershare_cli.errors import UserError
from adaptershare_cli.methods import method_settings
from adaptershare_cli.model.adapters.bank import check_adapter_name
from adaptershare_cli.reporting.attention_table import attention_table
from adaptershare_cli.reporting.mask_table import mask_table
from adaptershare_cli.reporting.plan_table import plan_table
from adaptershare_cli.runs.context import StageContext
from adaptershare_cli.runs.fusion_origin import choose_stage_one, needs_training
from adaptershare_cli.runs.origins import plan_origins
from adaptershare_cli.runs.rows import WHOLE
from adaptershare_cli.runs.subnet_origin import for_subnets, mask_runs, subnet_origin
from adaptershare_cli.runs.train import SCRATCH, Job, print_run, train_run
from adaptershare_cli.settings import AdapterFusionSettings, SparseSharingSettings, check_settings
from adaptershare_cli.sharing.plan import SharingPlan
from adaptershare_cli.store.workspace import Artefact
from adaptershare_cli.studies.selected import Selected


def train_share(
    context: StageContext,
    chosen: list[TaskDefinition] | Selected,
    method: str,
    options: Mapping[str, Any],
    seeds: list[int],
) -> list[Artefact]:
    """Train the tasks together, or what was selected, once a seed; `options` are those given for the method."""
    settings = method_settings(method, options)
    check_settings(settings)
    fusion = settings if isinstance(settings, AdapterFusionSettings) else None
    sparse = settings if isinstance(settings, SparseSharingSettings) else None
    selected = chosen if isinstance(chosen, Selected) else None
    tasks = list(chosen.tasks) if isinstance(chosen, Selected) else [definition.name for definition in chosen]
    if len(tasks) < 2 and (fusion is None or needs_training(fusion)):
        raise UserError(
            f"train-share needs at least two tasks, got {tasks[0]}",
            where="--tasks",
            fix="Name more tasks, or use train-single.",
        )
    if selected is not None and selected.limits.keep and (fusion or sparse):
        raise UserError(
            f"{method} plans its trainings for all rows, and {selected.artefact.path.name} selected some",
            where="--method, --selection",
            fix="Use another method, or a selection by trial or threshold.",
        )
    for task in tasks:
        check_adapter_name(task)
    origins = plan_origins(context, method, settings, tasks, seeds)
    stage_one = choose_stage_one(context, fusion, seeds) if fusion else None
    if sparse:
        context = for_subnets(context, sparse)
    masked = mask_runs(context, sparse, tasks, seeds) if sparse else {}
    if isinstance(chosen, Selected):
        prepared, limits = chosen.prepared, chosen.limits
    else:
        prepared, limits = [prepare(context, definition) for definition in chosen], WHOLE
    if stage_one is not None:
        origins = {seed: stage_one(prepared, seed) for seed in seeds}
    if sparse:
        origins = {seed: subnet_origin(context, sparse, prepared, masked.get(seed)) for seed in seeds}
    if selected is not None:
        origins = {seed: selected.joined(origins.get(seed, SCRATCH)) for seed in seeds}
    jobs = [
        Job("train-share", method, method, settings, prepared, seed, origins.get(seed, SCRATCH), limits)
        for seed in seeds
    ]
    runs = [train_run(context, job) for job in jobs]
    print_run(context.reporter, runs, f"train-share {method}")
    for run in runs:
        title = f"seed {run.info['seed']}"
        if run.info["plan"] is not None:
            context.reporter.table(plan_table(SharingPlan.from_json(run.info["plan"]), title))
        if "attention.parquet" in run.meta["files"]:
            context.reporter.table(attention_table(run.table("attention.parquet").to_pandas(), title))
        if "masks.parquet" in run.meta["files"]:
            masks, pruning = (run.table(f"{name}.parquet").to_pandas() for name in ("masks", "pruning"))
            context.reporter.table(mask_table(masks, pruning, title))
    return runs
