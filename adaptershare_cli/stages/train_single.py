"""Stage `train-single`: each task alone, one run a task and seed."""

from __future__ import annotations

from adaptershare_cli.data.tasks import TaskDefinition
from adaptershare_cli.model.adapters import check_adapter_name
from adaptershare_cli.settings import PrivateSettings
from adaptershare_cli.stages.common import StageContext
from adaptershare_cli.stages.prepro import prepare
from adaptershare_cli.stages.runs import print_run, train_run
from adaptershare_cli.workspace import Artefact


def train_single(context: StageContext, definitions: list[TaskDefinition], seeds: list[int]) -> list[Artefact]:
    """Train each task by itself: the private method with one task (there is nothing to observe)."""
    for definition in definitions:
        check_adapter_name(definition.name)
    prepared = [prepare(context, definition) for definition in definitions]
    settings = PrivateSettings(observe=False)
    runs = [
        train_run(context, "train-single", artefact.name, "private", settings, [artefact], seed)
        for artefact in prepared
        for seed in seeds
    ]
    print_run(context.reporter, runs, "train-single")
    return runs
