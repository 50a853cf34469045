"""Stage `train-share`: several tasks together, by one method."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from rich.table import Table

from adaptershare_cli.data.tasks import TaskDefinition
from adaptershare_cli.errors import UserError
from adaptershare_cli.methods import method_settings
from adaptershare_cli.model.adapters import check_adapter_name
from adaptershare_cli.settings import check_bounds
from adaptershare_cli.sharing.plan import SharingPlan
from adaptershare_cli.stages.common import StageContext
from adaptershare_cli.stages.prepro import prepare
from adaptershare_cli.stages.runs import print_run, train_run
from adaptershare_cli.workspace import Artefact


def train_share(
    context: StageContext,
    definitions: list[TaskDefinition],
    method: str,
    options: Mapping[str, Any],
    seeds: list[int],
) -> list[Artefact]:
    """Train the tasks together, once a seed; `options` are those given for the method."""
    settings = method_settings(method, options)
    check_bounds(settings)
    if len(definitions) < 2:
        raise UserError(
            f"train-share needs at least two tasks, got {definitions[0].name}",
            where="--tasks",
            fix="Name more tasks, or use train-single.",
        )
    for definition in definitions:
        check_adapter_name(definition.name)
    prepared = [prepare(context, definition) for definition in definitions]
    runs = [train_run(context, "train-share", method, method, settings, prepared, seed) for seed in seeds]
    print_run(context.reporter, runs, f"train-share {method}")
    for run in runs:
        context.reporter.table(plan_table(SharingPlan.from_json(run.info["plan"]), f"seed {run.info['seed']}"))
    return runs


def plan_table(plan: SharingPlan, title: str) -> Table:
    """The plan as layers x tasks; tasks with one letter in a layer share its adapter."""
    table = Table(title=f"Sharing plan, {title} ({plan.growth:.1f} groups a layer)")
    table.add_column("layer", justify="right")
    for task in plan.tasks:
        table.add_column(task, justify="center")
    for layer, groups in reversed(list(enumerate(plan.layers))):
        letters = {task: letter(number) for number, group in enumerate(groups) for task in group}
        table.add_row(str(layer), *(letters[task] for task in plan.tasks))
    return table


def letter(number: int) -> str:
    """a, b, …, z, aa, ab, … for a group's number."""
    text = ""
    number += 1
    while number:
        number, rest = divmod(number - 1, 26)
        text = chr(ord("a") + rest) + text
    return text
