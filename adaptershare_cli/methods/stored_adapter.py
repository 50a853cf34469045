"""A trained adapter of an earlier run as what a training starts from (`train-single --from-run`, measured transfer)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from adaptershare_cli.errors import UserError
from adaptershare_cli.kinds.base import TaskInfo
from adaptershare_cli.methods.base import StartWeights
from adaptershare_cli.methods.start import Beginning, PastRun, Start
from adaptershare_cli.model.adapters import adapter_kind, shape_options, training_settings
from adaptershare_cli.model.folders import ADAPTER_WEIGHTS, NORM_WEIGHTS
from adaptershare_cli.model.source import NAME_IT, EncoderSource
from adaptershare_cli.settings import TrainingSettings, flag

if TYPE_CHECKING:
    from transformers import PreTrainedModel


@dataclass(frozen=True, kw_only=True)
class AdapterStart(Start):
    """Every task starts from the adapter of `task` in `run`, and perhaps from its head.

    Without `task` it is the adapter that the run's generators write for a task embedding drawn with `seed`.
    """

    run: PastRun
    task: str | None = None
    with_head: bool = False
    changes: Mapping[str, Any] = field(default_factory=dict)
    seed: int = 0

    def read(self, encoder: PreTrainedModel, infos: Mapping[str, TaskInfo], training: TrainingSettings) -> Beginning:
        """The adapter's tensors, and the head's for each task."""
        from adaptershare_cli.model.hypernetwork import adapter_of_new_task
        from adaptershare_cli.model.stored import read_adapter, read_head

        folder = _folder(self.run, self.task)
        heads = {name: read_head(folder, info, training.pooling) for name, info in infos.items() if self.with_head}
        if self.task is None:
            adapter = adapter_of_new_task(self.run.folder, next(iter(infos)), self.seed)
        else:
            adapter = read_adapter(folder, encoder, adapter_kind(training.adapter_config))
        return Beginning(StartWeights(adapter, self.changes, heads))


def adapter_start(
    run: PastRun, task: str | None, training: TrainingSettings, with_head: bool = False, seed: int = 0
) -> AdapterStart:
    """The start from the adapter of `task` (see `AdapterStart`) for a run with these training settings."""
    from adaptershare_cli.model.stored import differing_fields

    changes = differing_fields(_folder(run, task), training)
    words = {"task": task, "head": with_head}
    return AdapterStart(
        request={"origin": [run.content], "start": words | ({"changes": changes} if changes else {})},
        runs=(run,),
        info={"start": {"run": run.label, **words}},
        settings={"from": run.record.method, "init": task or "new", "init_head": with_head},
        examples=run.record.examples,
        run=run, task=task, with_head=with_head, changes=changes, seed=seed,
    )  # fmt: skip


def _folder(run: PastRun, task: str | None) -> Path:
    return run.folder / "tasks" / (task or run.record.tasks[0])


def check_adapters_of(
    run: PastRun, tasks: Sequence[str], encoder: EncoderSource, model: str, training: TrainingSettings, option: str
) -> None:
    """Raise UserError unless the run holds an adapter of each task, for this encoder and of the shape asked for.

    `model` is what --model named the encoder by, `option` what named the run.
    """
    for task in tasks:
        if f"tasks/{task}/{ADAPTER_WEIGHTS}" not in run.files:
            raise UserError(
                f"{run.name} has no adapter that is {task}'s alone: its tasks attend over several, or have none",
                where=option,
                fix="Name the run that trained the adapters.",
            )
    if run.record.encoder_weights != encoder.weights:
        raise UserError(
            f"{run.name} was trained on another encoder ({run.record.encoder_name})",
            where=f"{option}, --model {model}",
            fix=NAME_IT,
        )
    if any(file.endswith(NORM_WEIGHTS) for file in run.files):
        raise UserError(
            f"{run.name} trained the encoder's layer norms too; its adapters are nothing without them",
            where=option,
            fix="Name a run without --train-layer-norms.",
        )
    theirs = run.record.training
    ours = {name: getattr(training, name, None) for name in shape_options(training_settings(theirs))}
    if differ := [name for name in ours if theirs[name] != ours[name]]:
        name = differ[0]
        raise UserError(
            f"The adapters of {run.name} have {flag(name, theirs[name])}, this run has {ours[name]}",
            where=option,
            fix=f"Give {' '.join(flag(other, theirs[other]) for other in differ)}.",
        )
