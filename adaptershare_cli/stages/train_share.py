"""Stage `train-share`: several tasks together, by one method."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from adaptershare_cli.data.tasks import TaskDefinition
from adaptershare_cli.errors import UserError
from adaptershare_cli.methods import METHODS, method_settings
from adaptershare_cli.model.adapters import check_adapter_name
from adaptershare_cli.reporting.plan_table import plan_table
from adaptershare_cli.settings import ObserveSettings, PlanSettings, check_settings
from adaptershare_cli.sharing.plan import SharingPlan
from adaptershare_cli.stages.common import StageContext, select_runs
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
    check_settings(settings)
    if len(definitions) < 2:
        raise UserError(
            f"train-share needs at least two tasks, got {definitions[0].name}",
            where="--tasks",
            fix="Name more tasks, or use train-single.",
        )
    for definition in definitions:
        check_adapter_name(definition.name)
    origins = plan_origins(context, method, settings, [definition.name for definition in definitions], seeds)
    prepared = [prepare(context, definition) for definition in definitions]
    runs = [
        train_run(context, "train-share", method, method, settings, prepared, seed, origins.get(seed)) for seed in seeds
    ]
    print_run(context.reporter, runs, f"train-share {method}")
    for run in runs:
        context.reporter.table(plan_table(SharingPlan.from_json(run.info["plan"]), f"seed {run.info['seed']}"))
    return runs


def plan_origins(
    context: StageContext, method: str, settings: ObserveSettings, tasks: list[str], seeds: list[int]
) -> dict[int, Artefact]:
    """For each seed the run whose plan --init-plan names: the only match, or the one match with the same seed.

    Where several match, runs that started from a plan themselves are left out, so that a command that names a method
    means the same run when it is given again.
    """
    spec = settings.init_plan if isinstance(settings, PlanSettings) else None
    if spec is None:
        if METHODS[method].needs_plan:
            raise UserError(f"--method {method} needs --init-plan", fix="Name an earlier run, e.g. adaptershare.")
        return {}
    found = select_runs(context.workspace, spec, newest_only=False, option="--init-plan")
    matches = [run for run in found if run.meta["stage"] == "train-share"]
    fitting = [run for run in matches if sorted(run.info["tasks"]) == sorted(tasks)]
    if not fitting:
        others = "; ".join(f"{run.path.name}: {', '.join(run.info['tasks'])}" for run in matches[-3:])
        raise UserError(
            f"No run that --init-plan {spec} names has the tasks {', '.join(tasks)}", where=others or "no joint runs"
        )
    return {seed: _origin(context, fitting, spec, seed) for seed in seeds}


def _origin(context: StageContext, fitting: list[Artefact], spec: str, seed: int) -> Artefact:
    found = fitting
    if len(found) > 1:
        found = [run for run in found if run.info["seed"] == seed]
    if len(found) > 1:
        found = [run for run in found if "init_plan" not in run.meta["request"]]
    if len(found) != 1:
        names = ", ".join(f"{run.path.name} (seed {run.info['seed']})" for run in fitting)
        raise UserError(
            f"--init-plan {spec} must name one run for seed {seed}",
            where=f"it names {names}",
            fix="Give one run's full name.",
        )
    layers = len(found[0].info["plan"]["layers"])
    if layers != context.encoder.layers:
        raise UserError(
            f"The plan of {found[0].path.name} has {layers} layers, this encoder has {context.encoder.layers}",
            where=f"--init-plan {spec}, --model {context.model}",
            fix="Name a run on an encoder with as many layers.",
        )
    return found[0]
