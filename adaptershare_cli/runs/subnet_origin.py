"""What a run of Sparse Sharing starts from: the updates of its parts, and perhaps the masks of an earlier run."""

from __future__ import annotations

from dataclasses import fields, replace
from typing import Any

import torch

from adaptershare_cli.errors import UserError
from adaptershare_cli.methods.sparse_sharing.updates import PRUNING, sparse_updates
from adaptershare_cli.model.adapters import shape_options
from adaptershare_cli.runs.context import StageContext, select_runs
from adaptershare_cli.runs.origins import pick_run
from adaptershare_cli.runs.rows import train_sizes
from adaptershare_cli.runs.train import Origin
from adaptershare_cli.settings import SparseSharingSettings, flag
from adaptershare_cli.sharing.masks import unpack
from adaptershare_cli.store.workspace import Artefact


def for_subnets(context: StageContext, settings: SparseSharingSettings) -> StageContext:
    """The context of such runs: an encoder that is trained itself is held in fp32.

    Raises UserError for options that have no effect beside --prune encoder.
    """
    if settings.prune != "encoder":
        return context
    for name in shape_options(context.training):
        value = getattr(context.training, name)
        if value != getattr(type(context.training)(), name):
            raise UserError(f"{flag(name, value)} has no effect: there are no adapters", where="--prune encoder")
    if context.runtime.precision == "bf16":
        raise UserError(
            "--precision bf16 is for frozen weights, and --prune encoder trains them", fix="Leave one of them out."
        )
    return replace(context, runtime=replace(context.runtime, precision="fp32"))


def mask_runs(
    context: StageContext, settings: SparseSharingSettings, tasks: list[str], seeds: list[int]
) -> dict[int, Artefact]:
    """For each seed the run that --mask-run names (`pick_run`); none if it is not given.

    Raises UserError where there is no such run, or it has masks of another part of the model or for other units.
    """
    if settings.mask_run is None:
        return {}
    found = select_runs(context.workspace, settings.mask_run, newest_only=False, option="--mask-run")
    # Masks that were taken from a run themselves are no source, so that a method's name means the same run again.
    own = [run for run in found if "masks.parquet" in run.meta["files"] and "mask_run" not in run.meta["request"]]
    fitting = [run for run in own if set(tasks) <= set(run.info["tasks"])]
    if not fitting:
        others = "; ".join(f"{run.path.name}: {', '.join(run.info['tasks'])}" for run in own[-3:])
        raise UserError(
            f"No run that --mask-run {settings.mask_run} names has masks of its own for {', '.join(tasks)}",
            where=others or "no runs of --method sparse-sharing",
        )
    runs = {seed: pick_run(fitting, settings.mask_run, "--mask-run", seed) for seed in seeds}
    for run in runs.values():
        if run.info["settings"]["prune"] != settings.prune:
            theirs = run.info["settings"]["prune"]
            raise UserError(f"The masks of {run.path.name} are of --prune {theirs}", fix=f"Give --prune {theirs}.")
    return runs


def subnet_origin(
    context: StageContext, settings: SparseSharingSettings, prepared: list[Artefact], run: Artefact | None
) -> Origin:
    """The updates of each task over all parts of the run, and the masks of `run`, if there is one.

    Masks that are taken from a run were searched for there: those rows count as this run's too.
    """
    sizes = train_sizes(context, prepared)
    if run is None:
        return Origin(updates=sparse_updates(settings, context.training, sizes).total)
    updates = sparse_updates(settings, context.training, sizes, _settings_of(run)).total
    return Origin(
        {"mask_run": run.content}, (run,), {"mask_run": run.label},
        read=lambda encoder, infos: read_masks(run, tuple(infos)), updates=updates,
        examples=_searched(run),
    )  # fmt: skip


def _settings_of(run: Artefact) -> SparseSharingSettings:
    """The settings of a run that found its masks itself."""
    recorded = run.info["settings"]
    return SparseSharingSettings(
        **{f.name: recorded[f.name] for f in fields(SparseSharingSettings) if f.name in recorded}
    )


def _searched(run: Artefact) -> dict[str, int]:
    """Rows of each task that a run trained on to find its masks, after its warm-up."""
    steps = run.table("steps.parquet", ["phase", "task"]).to_pandas()
    counts = steps[steps["phase"].str.startswith(PRUNING)]["task"].value_counts()
    return {task: int(count) * run.info["training"]["per_device_train_batch_size"] for task, count in counts.items()}


def read_masks(run: Artefact, tasks: tuple[str, ...]) -> dict[str, Any]:
    """`masks`, `mask_start` and `mask_settings` of `MethodContext` from a run."""
    masks: dict[str, dict[str, torch.Tensor]] = {task: {} for task in tasks}
    rows = [row for row in run.table("masks.parquet").to_pylist() if row["task"] in masks]
    for row in rows:
        masks[row["task"]][row["tensor"]] = unpack(row["bits"], row["shape"])
    return {"masks": masks, "mask_start": rows[0]["start"], "mask_settings": _settings_of(run)}
