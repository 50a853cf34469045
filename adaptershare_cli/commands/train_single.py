"""Stage `train-single`: each task alone, one run a task and seed."""

from __future__ import annotations

from adaptershare_cli.commands.prepro import prepare
from adaptershare_cli.data.tasks import TaskDefinition
from adaptershare_cli.model.adapters.bank import check_adapter_name
from adaptershare_cli.runs.context import StageContext
from adaptershare_cli.runs.origins import start_origins
from adaptershare_cli.runs.train import SCRATCH, Job, print_run, train_run
from adaptershare_cli.settings import PrivateSettings, StartSettings
from adaptershare_cli.store.workspace import Artefact

ALONE = PrivateSettings(observe=False)  # the private method with one task: there is nothing to observe


def train_single(
    context: StageContext, definitions: list[TaskDefinition], seeds: list[int], start: StartSettings
) -> list[Artefact]:
    """Train each task by itself, from random weights or where `start` says."""
    for definition in definitions:
        check_adapter_name(definition.name)
    origins = start_origins(context, start, seeds)
    prepared = [prepare(context, definition) for definition in definitions]
    jobs = [
        Job("train-single", artefact.name, "private", ALONE, [artefact], seed, origins.get(seed, SCRATCH))
        for artefact in prepared
        for seed in seeds
    ]
    runs = [train_run(context, job) for job in jobs]
    print_run(context.reporter, runs, "train-single")
    return runs
