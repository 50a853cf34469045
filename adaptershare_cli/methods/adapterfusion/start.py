"""Stage one of AdapterFusion: the adapters to attend over, trained when missing, from an earlier run, or from a folder.

Of each task's updates in the run, stage one takes one share and stage two another, so that by default both together
see as many rows of a task as any other method does.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

from adaptershare_cli.errors import UserError
from adaptershare_cli.kinds.base import TaskInfo
from adaptershare_cli.methods import METHODS
from adaptershare_cli.methods.adapterfusion.settings import AdapterFusionSettings
from adaptershare_cli.methods.base import StartWeights
from adaptershare_cli.methods.start import Ask, Begin, Beginning, PastRun, Preparation, Start, pick_run
from adaptershare_cli.methods.stored_adapter import check_adapters_of
from adaptershare_cli.model.adapters import adapter_kind, require_use
from adaptershare_cli.model.folders import ADAPTER_CONFIG, ADAPTER_WEIGHTS, HEAD_CONFIG, HEAD_WEIGHTS
from adaptershare_cli.settings import TrainingSettings
from adaptershare_cli.training.schedule import task_updates, total_steps

if TYPE_CHECKING:
    import torch
    from transformers import PreTrainedModel

Sources: TypeAlias = "Mapping[str, Mapping[str, torch.Tensor]]"  # adapters that stay as they are, by name


@dataclass(frozen=True, kw_only=True)
class AdaptersStart(Start):
    """Stage two starts with the adapters in `folders`, by name, which differ from the library's config in `changes`.

    What the method gets are their tensors (`Sources`). With `copy_heads` each task's head starts as the one there.
    """

    folders: Mapping[str, Path]
    changes: Mapping[str, Any] = field(default_factory=dict)
    copy_heads: bool = False

    def read(self, encoder: PreTrainedModel, infos: Mapping[str, TaskInfo], training: TrainingSettings) -> Beginning:
        """The adapters' tensors, and where heads are copied, each task's own."""
        from adaptershare_cli.model.stored import read_adapter, read_head

        heads = {}
        for task, info in infos.items() if self.copy_heads else ():
            if task not in self.folders:
                raise UserError(
                    f"There is no head of task {task} to copy",
                    where=f"adapters: {', '.join(self.folders)}",
                    fix="Use --fusion-head fresh.",
                )
            heads[task] = read_head(self.folders[task], info, training.pooling)
        kind = adapter_kind(training.adapter_config)
        sources: Sources = {name: read_adapter(path, encoder, kind) for name, path in self.folders.items()}
        return Beginning(StartWeights(config_fields=self.changes, heads=heads), sources)


def begin(settings: AdapterFusionSettings, ask: Ask) -> Begin:
    """How the adapters come about. Raises UserError for what is wrong with the options, before anything is made."""
    training = ask.training
    require_use(adapter_kind(training.adapter_config), "fused")
    if settings.trains_adapters:
        _check_trainable(settings, ask)
        return lambda preparation, seed: _from_training(settings, training, preparation, seed)
    _check_no_effect(settings, ask)
    if settings.adapters is not None:
        from adaptershare_cli.model.stored import check_adapter, find_adapters

        folders = find_adapters(Path(settings.adapters))
        for folder in folders.values():
            check_adapter(folder, ask.encoder, training)
        return lambda preparation, seed: _from_folders(settings, training, preparation, folders)
    words = settings.fusion_over
    assert words is not None
    matches = [run for run in ask.past_runs(words, "--fusion-over") if run.stage == "train-share"]
    if not matches:
        raise UserError(f"No train-share run matches {words!r}", where="--fusion-over")
    runs = {seed: pick_run(matches, words, "--fusion-over", seed) for seed in ask.seeds}
    for run in runs.values():
        check_adapters_of(run, run.record.tasks, ask.encoder, ask.model, training, "--fusion-over")
    return lambda preparation, seed: _from_runs(
        settings, training, [runs[seed]], "run", _updates(settings, training, preparation)[1]
    )


def _check_trainable(settings: AdapterFusionSettings, ask: Ask) -> None:
    below = settings.method_below
    if below is None:
        return
    if METHODS[below].needs_plan or not METHODS[below].settings.can_be_stage_one:
        raise UserError(
            f"--fusion-over {below} cannot be made from here", fix="Train it first and give the run's name or key."
        )
    if below == "shared":
        ask.say("one adapter a layer leaves nothing to choose among: only its value matrix is learnt")


def _check_no_effect(settings: AdapterFusionSettings, ask: Ask) -> None:
    """Refuse options of stage one where it is there already."""
    where = "--adapters" if settings.adapters is not None else f"--fusion-over {settings.fusion_over}"
    if settings.stage_one_share is not None:
        raise UserError("--stage-one-share has no effect: the adapters are there already", where, "Leave it out.")
    if "learning_rate" in ask.chosen:
        raise UserError(
            "--learning-rate is that of stage one, and the adapters are there already",
            where,
            "Use --fusion-learning-rate.",
        )


# ------------------------------------------------------------------------------------------------------------- updates


def _updates(
    settings: AdapterFusionSettings, training: TrainingSettings, preparation: Preparation
) -> tuple[dict[str, int], dict[str, int]]:
    """Updates of stage one and of stage two on each task."""
    sizes = preparation.train_sizes()
    whole = task_updates(sizes, training, total_steps(sizes, training))
    if not settings.trains_adapters:
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
    settings: AdapterFusionSettings, training: TrainingSettings, preparation: Preparation, seed: int
) -> AdaptersStart:
    """Train-single artefacts, or a run of another method, with this command's seed and settings."""
    first, second = _updates(settings, training, preparation)
    below = settings.method_below
    if below is None:
        return _from_runs(settings, training, preparation.train_alone(first, seed), "train-single", second)
    run = preparation.train_together(below, METHODS[below].settings(), sum(first.values()), seed)
    return _from_runs(settings, training, [run], below, second)


def _from_runs(
    settings: AdapterFusionSettings,
    training: TrainingSettings,
    runs: Sequence[PastRun],
    over: str,
    updates: Mapping[str, int],
) -> AdaptersStart:
    from adaptershare_cli.model.stored import differing_fields

    folders = {task: run.folder / "tasks" / task for run in runs for task in run.record.tasks}
    # The adapters of one method are all alike.
    changes = differing_fields(next(iter(folders.values())), training)
    origin = [run.content for run in runs]
    return AdaptersStart(
        request={"fusion_over": over, "origin": origin, **({"changes": changes} if changes else {})},
        runs=tuple(runs),
        info={"sources": list(folders), "stage_one": [run.label for run in runs]},
        settings={"fusion_over": over},
        examples={task: count for run in runs for task, count in run.record.examples.items()},
        parameters=sum(run.record.costs["trained"] for run in runs),
        heads=sum(run.record.costs["trained_heads"] for run in runs),
        seconds=sum(run.training_seconds for run in runs),
        updates=updates,
        folders=folders,
        changes=changes,
        copy_heads=settings.fusion_head == "copied",
    )


def _from_folders(
    settings: AdapterFusionSettings, training: TrainingSettings, preparation: Preparation, folders: Mapping[str, Path]
) -> AdaptersStart:
    """Plain adapters of which nothing is known but their files; what they were trained on is not counted."""
    copied = settings.fusion_head == "copied"
    used = (ADAPTER_CONFIG, ADAPTER_WEIGHTS, *((HEAD_WEIGHTS, HEAD_CONFIG) if copied else ()))
    return AdaptersStart(
        request={
            "fusion_over": "adapters",
            "adapters": {name: _digest(path, used) for name, path in folders.items()},
        },
        info={"sources": list(folders)},
        settings={"fusion_over": "adapters"},
        updates=_updates(settings, training, preparation)[1],
        folders=folders,
        copy_heads=copied,
    )


def _digest(folder: Path, names: Sequence[str]) -> str:
    hashes = []
    for file in (folder / name for name in names if (folder / name).is_file()):
        with open(file, "rb") as opened:
            hashes.append(f"{file.name} {hashlib.file_digest(opened, 'sha256').hexdigest()}")
    return hashlib.sha256("\n".join(hashes).encode()).hexdigest()
