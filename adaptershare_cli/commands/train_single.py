"""Stage `train-single`: each task alone, one run a task and seed."""

from __future__ import annotations

from collections.abc import Sequence

from adaptershare_cli.commands.early import check_early, tell_balance
from adaptershare_cli.commands.prepro import prepare
from adaptershare_cli.data.definition import TaskDefinition
from adaptershare_cli.methods.start import Start
from adaptershare_cli.runs.baselines import Baselines
from adaptershare_cli.runs.beginning import ALONE
from adaptershare_cli.runs.context import StageContext
from adaptershare_cli.runs.executors import open_executor
from adaptershare_cli.runs.from_run import starts_from_run
from adaptershare_cli.runs.job import Job
from adaptershare_cli.runs.results import print_run
from adaptershare_cli.settings import StartSettings
from adaptershare_cli.store.artefact import Artefact

STAGE = "train-single"


def train_single(
    context: StageContext, definitions: Sequence[TaskDefinition], seeds: Sequence[int], start: StartSettings
) -> list[Artefact]:
    """Train each task by itself, from random weights or where `start` says."""
    check_early(context, definitions)
    starts = starts_from_run(context, start, seeds)
    prepared = [prepare(context, definition) for definition in definitions]
    context.prepared.extend(prepared)
    tell_balance(context, prepared)
    executor = open_executor(context)
    pending = [
        executor.submit(
            Job(
                STAGE,
                artefact.name,
                "private",
                ALONE,
                context.training,
                context.runtime,
                context.encoder,
                (artefact,),
                seed,
                starts.get(seed, Start()),
                again=context.force == STAGE,
            )  # fmt: skip
        )
        for artefact in prepared
        for seed in seeds
    ]
    runs = [job.result() for job in pending]
    print_run(context.reporter, runs, STAGE, Baselines(context.workspace))
    return runs
