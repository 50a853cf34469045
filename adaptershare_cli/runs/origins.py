"""What a run may start from besides its tasks' rows: an earlier run's sharing plan, or a task's trained adapter."""

from __future__ import annotations

from typing import Any

from transformers import PreTrainedModel

from adaptershare_cli.errors import UserError
from adaptershare_cli.kinds.base import TaskInfo
from adaptershare_cli.methods import METHODS
from adaptershare_cli.model.export import NORM_FILE
from adaptershare_cli.model.given import WEIGHTS, changed_fields, read_adapter, read_head
from adaptershare_cli.model.hypernetwork import FILE as GENERATORS
from adaptershare_cli.model.hypernetwork import adapter_of_new_task
from adaptershare_cli.runs.context import StageContext, select_runs
from adaptershare_cli.runs.train import Origin
from adaptershare_cli.settings import MethodSettings, PlanSettings, StartSettings
from adaptershare_cli.sharing.plan import SharingPlan
from adaptershare_cli.store.workspace import Artefact


def pick_run(matches: list[Artefact], spec: str, option: str, seed: int) -> Artefact:
    """The run that `option` means for a seed: the only match, or the one match with the same seed.

    Where several match, runs that started from a plan themselves are left out, so that a command that names a method
    means the same run when it is given again. Raises UserError unless one is left.
    """
    found = matches
    if len(found) > 1:
        found = [run for run in found if run.info["seed"] == seed]
    if len(found) > 1:
        found = [run for run in found if "init_plan" not in run.meta["request"]]
    if len(found) != 1:
        names = ", ".join(f"{run.path.name} (seed {run.info['seed']})" for run in matches)
        raise UserError(
            f"{option} {spec} must name one run for seed {seed}",
            where=f"it names {names}",
            fix="Give one run's full name.",
        )
    return found[0]


# ------------------------------------------------------------------------------------------------ an earlier run's plan


def plan_origins(
    context: StageContext, method: str, settings: MethodSettings, tasks: list[str], seeds: list[int]
) -> dict[int, Origin]:
    """For each seed the run whose plan --init-plan names (`pick_run`); none for a method that was given no plan."""
    spec = settings.init_plan if isinstance(settings, PlanSettings) else None
    if spec is None:
        if METHODS[method].needs_plan:
            raise UserError(f"--method {method} needs --init-plan", fix="Name an earlier run, e.g. adaptershare.")
        return {}
    found = select_runs(context.workspace, spec, newest_only=False, option="--init-plan")
    matches = [run for run in found if run.meta["stage"] == "train-share" and run.info["plan"]]
    fitting = [run for run in matches if sorted(run.info["tasks"]) == sorted(tasks)]
    if not fitting:
        others = "; ".join(f"{run.path.name}: {', '.join(run.info['tasks'])}" for run in matches[-3:])
        raise UserError(
            f"No run that --init-plan {spec} names has the tasks {', '.join(tasks)}",
            where=others or "no joint runs under a plan",
        )
    return {seed: _plan_origin(context, pick_run(fitting, spec, "--init-plan", seed), spec) for seed in seeds}


def _plan_origin(context: StageContext, run: Artefact, spec: str) -> Origin:
    layers = len(run.info["plan"]["layers"])
    if layers != context.encoder.layers:
        raise UserError(
            f"The plan of {run.path.name} has {layers} layers, this encoder has {context.encoder.layers}",
            where=f"--init-plan {spec}, --model {context.model}",
            fix="Name a run on an encoder with as many layers.",
        )
    return Origin(
        {"init_plan": run.content}, (run,), {"init_plan": run.label},
        read=lambda encoder, infos: read_plans(run, tuple(infos)),
    )  # fmt: skip


def read_plans(run: Artefact, tasks: tuple[str, ...]) -> dict[str, Any]:
    """`init_plan` and `plan_history` of `MethodContext` from an earlier run of the same tasks, in any order.

    Where the run kept an earlier step at its end, its history ends there.
    """
    table = run.table("sharing.parquet").to_pandas()
    final = table[table["phase"] == "final"]
    if len(final):
        table = table[(table["phase"] != "final") & (table["step"] <= final["step"].max())]
    history = []
    for step, rows in table.groupby("step"):
        groups = rows.groupby(["layer", "group"])["task"].agg(tuple)
        layers = tuple(tuple(groups[layer]) for layer in sorted(rows["layer"].unique()))
        history.append((int(step), SharingPlan(tasks, layers)))
    return {"init_plan": history[-1][1], "plan_history": tuple(history)}


# -------------------------------------------------------------------------------------------- a task's trained adapter


def start_origins(context: StageContext, start: StartSettings, seeds: list[int]) -> dict[int, Origin]:
    """For each seed the run whose adapter --from-run and --init name (`pick_run`); none if --from-run is not given.

    A group's adapters are those of any of its tasks. The generators of a HyperFormer run write an adapter without
    --init too, from a task embedding that is drawn anew. Raises UserError where there is no such adapter, or it was
    trained on another encoder or is of another shape.
    """
    if start.from_run is None:
        for name, given in (("--init", start.init), ("--init-head", start.init_head)):
            if given:
                raise UserError(f"{name} needs --from-run", fix="Name the run that holds the adapter.")
        return {}
    found = select_runs(context.workspace, start.from_run, newest_only=False, option="--from-run")
    tasks = sorted({task for run in found for task in run.info["tasks"]})
    init = start.init or (tasks[0] if len(tasks) == 1 else None)
    generators = all(GENERATORS in run.meta["files"] for run in found)
    if init not in tasks and not (init is None and generators):
        what = "Whose adapter is meant?" if init is None else f"--from-run {start.from_run} has no task {init!r}"
        raise UserError(what, where=f"--from-run {start.from_run}", fix=f"Give --init one of: {', '.join(tasks)}.")
    if init is None and start.init_head:
        raise UserError("--init-head needs --init", fix=f"Give --init one of: {', '.join(tasks)}.")
    fitting = [run for run in found if init is None or init in run.info["tasks"]]
    origins = {}
    for seed in seeds:
        run = pick_run(fitting, start.from_run, "--from-run", seed)
        check_adapters_of(run, [init or run.info["tasks"][0]], context, "--from-run")
        origins[seed] = adapter_origin(context, run, init, start.init_head, seed)
    return origins


def check_adapters_of(run: Artefact, tasks: list[str], context: StageContext, option: str) -> None:
    """Raise UserError unless the run holds an adapter of each task, for this encoder and of the shape asked for."""
    for task in tasks:
        if f"tasks/{task}/{WEIGHTS}" not in run.meta["files"]:
            raise UserError(
                f"{run.path.name} has no adapter that is {task}'s alone: its tasks attend over several, or have none",
                where=option,
                fix="Name the run that trained the adapters.",
            )
    if run.info["encoder"]["weights"] != context.encoder.weights:
        raise UserError(
            f"{run.path.name} was trained on another encoder ({run.info['encoder']['name']})",
            where=f"{option}, --model {context.model}",
            fix="Name that encoder with --model.",
        )
    if any(file.endswith(NORM_FILE) for file in run.meta["files"]):
        raise UserError(
            f"{run.path.name} trained the encoder's layer norms too; its adapters are nothing without them",
            where=option,
            fix="Name a run without --train-layer-norms.",
        )
    for name in ("adapter_config", "reduction_factor"):
        theirs, ours = run.info["training"][name], getattr(context.training, name)
        if theirs != ours:
            flag = "--" + name.replace("_", "-")
            raise UserError(
                f"The adapters of {run.path.name} have {flag} {theirs}, this run has {ours}",
                where=option,
                fix=f"Give {flag} {theirs}.",
            )


def adapter_origin(
    context: StageContext, run: Artefact, init: str | None, with_head: bool = False, seed: int = 0
) -> Origin:
    """The adapter of task `init` of a run, and perhaps its head: what all tasks start from.

    Without `init` the adapter that the run's generators write for a task embedding drawn with `seed`.
    """
    folder = run.path / "tasks" / (init or run.info["tasks"][0])
    changes = changed_fields(folder, context.training.adapter_config, context.training.reduction_factor)

    def read(encoder: PreTrainedModel, infos: dict[str, TaskInfo]) -> dict[str, Any]:
        pooling = context.training.pooling
        heads = {task: read_head(folder, info, pooling) for task, info in infos.items()} if with_head else {}
        written = adapter_of_new_task(run.path, next(iter(infos)), seed) if init is None else None
        return {
            "init_adapter": written or read_adapter(folder, encoder), "adapter_changes": changes, "init_heads": heads
        }  # fmt: skip

    start = {"task": init, "head": with_head}
    request = {"origin": [run.content], "start": start | ({"changes": changes} if changes else {})}
    return Origin(
        request, (run,), {"start": {"run": run.label, **start}}, read,
        settings={"from": run.info["method"], "init": init or "new", "init_head": with_head},
        examples=run.info["examples"],
    )  # fmt: skip
