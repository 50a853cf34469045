"""Stage one of AdapterFusion: the adapters to attend over, trained when missing, from an earlier run, or from a folder.

Of each task's updates in the run, stage one takes one share and stage two another, so that by default both together
see as many rows of a task as any other method does.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any

from transformers import PreTrainedModel

from adaptershare_cli.commands.train_single import ALONE
from adaptershare_cli.errors import UserError
from adaptershare_cli.kinds.base import TaskInfo
from adaptershare_cli.methods import METHODS, method_settings
from adaptershare_cli.model.export import HEAD_CONFIG, HEAD_FILE
from adaptershare_cli.model.fusion import check_fusible
from adaptershare_cli.model.given import (
    CONFIG,
    WEIGHTS,
    changed_fields,
    check_adapter,
    find_adapters,
    read_adapter,
    read_head,
)
from adaptershare_cli.runs.context import StageContext, select_runs
from adaptershare_cli.runs.origins import check_adapters_of, pick_run
from adaptershare_cli.runs.rows import Limits, scored_contents, train_sizes
from adaptershare_cli.runs.train import Job, Origin, train_run
from adaptershare_cli.settings import AdapterFusionSettings, TrainingSettings
from adaptershare_cli.store.artefact import file_sha256
from adaptershare_cli.store.workspace import Artefact
from adaptershare_cli.training.schedule import task_updates, total_steps

StageOne = Callable[[list[Artefact], int], Origin]  # the prepared tasks and a seed -> what stage two starts from


def choose_stage_one(context: StageContext, settings: AdapterFusionSettings, seeds: list[int]) -> StageOne:
    """How the adapters come about. Raises UserError for what is wrong with the options, before anything is made."""
    check_fusible(context.training.adapter_config)
    over = settings.fusion_over
    if settings.adapters is None and (over is None or over in METHODS):
        if over is not None and (METHODS[over].needs_plan or over in ("adapterfusion", "sparse-sharing")):
            raise UserError(
                f"--fusion-over {over} cannot be made from here", fix="Train it first and give the run's name or key."
            )
        if over == "shared":
            context.reporter.line("one adapter a layer leaves nothing to choose among: only its value matrix is learnt")
        return partial(_from_training, context, settings)
    _check_given(context, settings)
    if settings.adapters is not None:
        folders = find_adapters(Path(settings.adapters))
        for folder in folders.values():
            check_adapter(folder, context.encoder, context.training.adapter_config, context.training.reduction_factor)
        return partial(_from_folders, context, settings, folders)
    assert over is not None
    found = select_runs(context.workspace, over, newest_only=False, option="--fusion-over")
    matches = [run for run in found if run.meta["stage"] == "train-share"]
    if not matches:
        raise UserError(f"No train-share run matches {over!r}", where="--fusion-over")
    runs = {seed: pick_run(matches, over, "--fusion-over", seed) for seed in seeds}
    for run in runs.values():
        check_adapters_of(run, run.info["tasks"], context, "--fusion-over")
    return partial(_from_run, context, settings, runs)


def needs_training(settings: AdapterFusionSettings) -> bool:
    """Whether stage one is trained by this command, on its own tasks."""
    return settings.adapters is None and (settings.fusion_over is None or settings.fusion_over in METHODS)


def _check_given(context: StageContext, settings: AdapterFusionSettings) -> None:
    where = "--adapters" if settings.adapters is not None else f"--fusion-over {settings.fusion_over}"
    if settings.stage_one_share is not None:
        raise UserError("--stage-one-share has no effect: the adapters are there already", where, "Leave it out.")
    if context.training.learning_rate != TrainingSettings().learning_rate:
        raise UserError(
            "--learning-rate is that of stage one, and the adapters are there already",
            where,
            "Use --fusion-learning-rate.",
        )


# ------------------------------------------------------------------------------------------------------------- updates


def _updates(
    context: StageContext, settings: AdapterFusionSettings, prepared: list[Artefact]
) -> tuple[dict[str, int], dict[str, int]]:
    """Updates of stage one and of stage two on each task."""
    sizes = train_sizes(context, prepared)
    whole = task_updates(sizes, context.training, total_steps(sizes, context.training))
    if not needs_training(settings):
        share = 1.0 if settings.stage_two_share is None else settings.stage_two_share
        return {}, _at_least_one({task: round(share * count) for task, count in whole.items()}, "two")
    share = 0.5 if settings.stage_one_share is None else settings.stage_one_share
    first = _at_least_one({task: round(share * count) for task, count in whole.items()}, "one")
    if settings.stage_two_share is None:
        return first, _at_least_one({task: count - first[task] for task, count in whole.items()}, "two")
    share = settings.stage_two_share
    return first, _at_least_one({task: round(share * count) for task, count in whole.items()}, "two")


def _at_least_one(updates: dict[str, int], stage: str) -> dict[str, int]:
    for task, count in updates.items():
        if count < 1:
            raise UserError(
                f"Nothing is left for stage {stage} on task {task}",
                where=f"--stage-{stage}-share",
                fix="Give the run more updates (--max-steps, --num-train-epochs), or other shares to the stages.",
            )
    return updates


# ------------------------------------------------------------------------------------------- where adapters come from


def _from_training(
    context: StageContext, settings: AdapterFusionSettings, prepared: list[Artefact], seed: int
) -> Origin:
    """Train-single artefacts, or a run of another method, with this command's seed and settings."""
    first, second = _updates(context, settings, prepared)
    over = settings.fusion_over
    if over is None:
        runs = []
        for artefact in prepared:
            alone = context.for_input(max_steps=first[artefact.name])
            # What stands in a scored split of any of this run's tasks is left out, as in joint training.
            limits = Limits(avoid=scored_contents(context, prepared))
            job = Job("train-single", artefact.name, "private", ALONE, [artefact], seed, limits=limits)
            runs.append(train_run(alone, job))
    else:
        joint = context.for_input(max_steps=sum(first.values()))
        runs = [train_run(joint, Job("train-share", over, over, method_settings(over, {}), prepared, seed))]
    return _origin(context, settings, runs, over or "train-single", second)


def _from_run(
    context: StageContext,
    settings: AdapterFusionSettings,
    runs: Mapping[int, Artefact],
    prepared: list[Artefact],
    seed: int,
) -> Origin:
    return _origin(context, settings, [runs[seed]], "run", _updates(context, settings, prepared)[1])


def _origin(
    context: StageContext, settings: AdapterFusionSettings, runs: list[Artefact], over: str, updates: dict[str, int]
) -> Origin:
    folders = {task: run.path / "tasks" / task for run in runs for task in run.info["tasks"]}
    shape = context.training.adapter_config, context.training.reduction_factor
    changes = changed_fields(next(iter(folders.values())), *shape)  # one method's: all are alike
    return Origin(
        {"fusion_over": over, "origin": [run.content for run in runs], **({"changes": changes} if changes else {})},
        tuple(runs),
        {"sources": list(folders), "stage_one": [run.label for run in runs]},
        _reader(context, settings, folders, changes),
        settings={"fusion_over": over},
        examples={task: count for run in runs for task, count in run.info["examples"].items()},
        parameters=sum(run.info["costs"]["trained"] for run in runs),
        heads=sum(run.info["costs"]["trained_heads"] for run in runs),
        seconds=sum(run.timing()["training_seconds"] for run in runs),
        updates=updates,
    )


def _from_folders(
    context: StageContext,
    settings: AdapterFusionSettings,
    folders: Mapping[str, Path],
    prepared: list[Artefact],
    seed: int,
) -> Origin:
    """Plain adapters of which nothing is known but their files; what they were trained on is not counted."""
    used = (CONFIG, WEIGHTS, *((HEAD_FILE, HEAD_CONFIG) if settings.fusion_head == "copied" else ()))
    return Origin(
        {"fusion_over": "adapters", "adapters": {name: _digest(path, used) for name, path in folders.items()}},
        (),
        {"sources": list(folders)},
        _reader(context, settings, folders, {}),
        settings={"fusion_over": "adapters"},
        updates=_updates(context, settings, prepared)[1],
    )


def _digest(folder: Path, names: tuple[str, ...]) -> str:
    hashes = [f"{name} {file_sha256(folder / name)}" for name in names if (folder / name).is_file()]
    return hashlib.sha256("\n".join(hashes).encode()).hexdigest()


def _reader(
    context: StageContext, settings: AdapterFusionSettings, folders: Mapping[str, Path], changes: dict[str, Any]
) -> Callable[[PreTrainedModel, dict[str, TaskInfo]], dict[str, Any]]:
    """Reads the adapters, and where heads are copied, each task's own."""

    def read(encoder: PreTrainedModel, infos: dict[str, TaskInfo]) -> dict[str, Any]:
        heads = {}
        for task, info in infos.items() if settings.fusion_head == "copied" else ():
            if task not in folders:
                raise UserError(
                    f"There is no head of task {task} to copy",
                    where=f"adapters: {', '.join(folders)}",
                    fix="Use --fusion-head fresh.",
                )
            heads[task] = read_head(folders[task], info, context.training.pooling)
        sources = {name: read_adapter(path, encoder) for name, path in folders.items()}
        return {"sources": sources, "adapter_changes": changes, "init_heads": heads}

    return read
