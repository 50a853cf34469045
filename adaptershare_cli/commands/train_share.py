"""Stage `train-share`: several tasks together, by one method."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from importlib import import_module
from typing import Any

from adaptershare_cli.commands.early import check_early, check_weights, tell_balance
from adaptershare_cli.commands.prepro import prepare
from adaptershare_cli.data.definition import TaskDefinition
from adaptershare_cli.errors import UserError
from adaptershare_cli.methods import METHODS, method_settings
from adaptershare_cli.methods.settings import MethodSettings
from adaptershare_cli.runs.baselines import Baselines
from adaptershare_cli.runs.beginning import choose_start
from adaptershare_cli.runs.cautions import check_cautions, heldout_cautions
from adaptershare_cli.runs.context import StageContext
from adaptershare_cli.runs.executors import open_executor
from adaptershare_cli.runs.job import Job
from adaptershare_cli.runs.past import StoredRun
from adaptershare_cli.runs.results import print_run
from adaptershare_cli.runs.rows import WHOLE
from adaptershare_cli.settings import check_settings
from adaptershare_cli.store.artefact import Artefact
from adaptershare_cli.store.records import PreproRecord
from adaptershare_cli.studies.selected import Selected

STAGE = "train-share"


def train_share(
    context: StageContext,
    chosen: Sequence[TaskDefinition] | Selected,
    method: str,
    options: Mapping[str, Any],
    seeds: Sequence[int],
) -> list[Artefact]:
    """Train the tasks together, or what was selected, once a seed; `options` are those given for the method."""
    settings = method_settings(method, options)
    check_settings(settings, context.chosen)
    selected = chosen if isinstance(chosen, Selected) else None
    tasks = list(chosen.tasks) if isinstance(chosen, Selected) else [definition.name for definition in chosen]
    _check_tasks(settings, tasks)
    if selected is not None:
        _check_rows(method, settings, selected)
    context = replace(context, runtime=settings.runtime(context.runtime, context.training, context.chosen))
    check_early(context, [] if isinstance(chosen, Selected) else chosen)
    if context.training.max_steps is not None:
        settings.check_updates(context.training.max_steps)
    executor = open_executor(context)
    start_of = choose_start(context, executor, method, settings, tasks, seeds)
    if isinstance(chosen, Selected):
        prepared, limits = chosen.prepared, chosen.limits
        check_weights(context, {artefact.name: PreproRecord.of(artefact).kind for artefact in prepared})
    else:
        prepared, limits = [prepare(context, definition) for definition in chosen], WHOLE
    context.prepared.extend(prepared)
    tell_balance(context, prepared)
    for line in heldout_cautions(prepared) if settings.looks_at_heldout and len(prepared) > 1 else ():
        context.reporter.line(line)
    starts = {seed: start_of(prepared, seed) for seed in seeds}
    pending = [
        executor.submit(
            Job(
                STAGE,
                method,
                method,
                settings,
                context.training,
                context.runtime,
                context.encoder,
                tuple(prepared),
                seed,
                starts[seed],
                limits,
                selected.artefact if selected is not None else None,
                again=context.force == STAGE,
            )  # fmt: skip
        )
        for seed in seeds
    ]
    runs = [job.result() for job in pending]
    print_run(context.reporter, runs, f"{STAGE} {method}", Baselines(context.workspace))
    for line in check_cautions(runs):
        context.reporter.line(line)
    _print_tables(context, method, runs)
    return runs


def _check_tasks(settings: MethodSettings, tasks: Sequence[str]) -> None:
    if len(tasks) < settings.fewest_tasks:
        raise UserError(
            f"train-share needs at least two tasks, got {tasks[0]}",
            where="--tasks",
            fix="Name more tasks, or use train-single.",
        )


def _check_rows(method: str, settings: MethodSettings, selected: Selected) -> None:
    if selected.limits.keep and not settings.takes_chosen_rows:
        raise UserError(
            f"{method} plans its trainings for all rows, and {selected.artefact.path.name} selected some",
            where="--method, --selection",
            fix="Use another method, or a selection by trial or threshold.",
        )


def _print_tables(context: StageContext, method: str, runs: Sequence[Artefact]) -> None:
    """The tables that the method shows of its runs."""
    for run in map(StoredRun, runs):
        for place in METHODS[method].tables:
            module, function = place.split(":")
            for table in getattr(import_module(module), function)(run, f"seed {run.record.seed}"):
                context.reporter.table(table)
