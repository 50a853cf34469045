"""What a run of Sparse Sharing starts from: the updates of its parts, and perhaps the masks of an earlier run."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING

from adaptershare_cli.errors import UserError
from adaptershare_cli.kinds.base import TaskInfo
from adaptershare_cli.methods.sparse_sharing.settings import SparseSharingSettings
from adaptershare_cli.methods.sparse_sharing.updates import PRUNING, search_size, sparse_updates
from adaptershare_cli.methods.start import Ask, Begin, Beginning, PastRun, Preparation, Start, pick_run
from adaptershare_cli.settings import TrainingSettings

if TYPE_CHECKING:
    import torch
    from transformers import PreTrainedModel

    from adaptershare_cli.sharing.masks import Masks

OPTION = "--mask-run"


@dataclass(frozen=True)
class SearchedMasks:
    """The masks that an earlier run found, by task, the digest of the weights that it pruned from, and its settings."""

    masks: Mapping[str, Masks]
    start: str
    settings: SparseSharingSettings


@dataclass(frozen=True, kw_only=True)
class MasksStart(Start):
    """The masks of `run`, which the method gets as `SearchedMasks`."""

    run: PastRun

    def read(self, encoder: PreTrainedModel, infos: Mapping[str, TaskInfo], training: TrainingSettings) -> Beginning:
        """Unpack the masks of the run's tasks."""
        from adaptershare_cli.sharing.masks import unpack

        masks: dict[str, dict[str, torch.Tensor]] = {task: {} for task in infos}
        rows = [row for row in self.run.table("masks").to_pylist() if row["task"] in masks]
        for row in rows:
            masks[row["task"]][row["tensor"]] = unpack(row["bits"], row["shape"])
        return Beginning(own=SearchedMasks(masks, rows[0]["start"], _settings_of(self.run)))


def begin(settings: SparseSharingSettings, ask: Ask) -> Begin:
    """For each seed the run that --mask-run names (`pick_run`), if it is given.

    Raises UserError where there is no such run, or it has masks of another part of the model or for other units.
    """
    runs = _mask_runs(settings, ask)

    def start(preparation: Preparation, seed: int) -> Start:
        if settings.trainings and seed == ask.seeds[0]:
            ask.say(search_size(settings, ask.training, preparation.train_sizes()))
        return _start(settings, ask.training, preparation, runs.get(seed))

    return start


def _mask_runs(settings: SparseSharingSettings, ask: Ask) -> dict[int, PastRun]:
    words = settings.mask_run
    if words is None:
        return {}
    # Masks that were taken from a run themselves are no source, so that a method's name means the same run again.
    own = [
        run for run in ask.past_runs(words, OPTION) if "masks.parquet" in run.files and "mask_run" not in run.request
    ]
    fitting = [run for run in own if set(ask.tasks) <= set(run.record.tasks)]
    if not fitting:
        others = "; ".join(f"{run.name}: {', '.join(run.record.tasks)}" for run in own[-3:])
        raise UserError(
            f"No run that {OPTION} {words} names has masks of its own for {', '.join(ask.tasks)}",
            where=others or "no runs of --method sparse-sharing",
        )
    runs = {seed: pick_run(fitting, words, OPTION, seed) for seed in ask.seeds}
    for run in runs.values():
        theirs = run.record.settings["prune"]
        if theirs != settings.prune:
            raise UserError(f"The masks of {run.name} are of --prune {theirs}", fix=f"Give --prune {theirs}.")
    return runs


def _start(
    settings: SparseSharingSettings, training: TrainingSettings, preparation: Preparation, run: PastRun | None
) -> Start:
    """The updates of each task over all parts of the run, and the masks of `run`, if there is one.

    Masks that are taken from a run were searched for there: those rows count as this run's too.
    """
    sizes = preparation.train_sizes()
    if run is None:
        return Start(updates=sparse_updates(settings, training, sizes).total)
    return MasksStart(
        request={"mask_run": run.content},
        runs=(run,),
        info={"mask_run": run.label},
        updates=sparse_updates(settings, training, sizes, _settings_of(run)).total,
        examples=_searched(run),
        run=run,
    )


def _settings_of(run: PastRun) -> SparseSharingSettings:
    """The settings of a run that found its masks itself."""
    recorded = run.record.settings
    return SparseSharingSettings(
        **{item.name: recorded[item.name] for item in fields(SparseSharingSettings) if item.name in recorded}
    )


def _searched(run: PastRun) -> dict[str, int]:
    """Rows of each task that a run trained on to find its masks, after its warm-up."""
    steps = run.table("steps", ["phase", "task"]).to_pandas()
    counts = steps[steps["phase"].str.startswith(PRUNING)]["task"].value_counts()
    batch = run.record.training["per_device_train_batch_size"]
    return {task: int(count) * batch for task, count in counts.items()}
