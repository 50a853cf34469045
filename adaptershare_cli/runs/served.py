"""A finished run as what can answer new rows: its tasks, and how it read their rows."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from adaptershare_cli.data.names import near_names
from adaptershare_cli.errors import UserError
from adaptershare_cli.kinds.base import TaskInfo
from adaptershare_cli.model.adapters import training_settings
from adaptershare_cli.model.folders import HEAD_CONFIG, read_info
from adaptershare_cli.model.source import EncoderSource
from adaptershare_cli.runs.encoders import recorded_encoder
from adaptershare_cli.runs.rows import input_record
from adaptershare_cli.runs.runtime import Runtime
from adaptershare_cli.runs.scored_by import metrics_of
from adaptershare_cli.screen import Screen
from adaptershare_cli.settings import PreproSettings, TrainingSettings, flag
from adaptershare_cli.store.artefact import Artefact
from adaptershare_cli.store.records import InputRecord, RunRecord
from adaptershare_cli.store.workspace import Workspace

if TYPE_CHECKING:
    import torch

    from adaptershare_cli.serving.predictor import Predictor

ALL = "all"


@dataclass(frozen=True)
class ServedRun:
    """Tasks of a run (all, or some that were named), with all that is needed to load them."""

    run: Artefact
    infos: dict[str, TaskInfo]
    inputs: dict[str, InputRecord]
    training: TrainingSettings
    encoder: EncoderSource

    @property
    def tasks(self) -> tuple[str, ...]:
        """Their names, in the run's order."""
        return tuple(self.infos)

    @property
    def folders(self) -> dict[str, Path]:
        """Where each one's weights lie."""
        return {task: task_folder(self.run, task) for task in self.infos}

    def load(self, device: torch.device, batch_size: int | None = None) -> Predictor:
        """Load encoder, adapters and heads; batches are as large as those that the run was scored with, if not given.

        Raises UserError where they do not belong together.
        """
        from adaptershare_cli.data.encoding import load_tokenizer
        from adaptershare_cli.model.encoder import load_encoder
        from adaptershare_cli.model.loaded import LoadedModel
        from adaptershare_cli.serving.predictor import Predictor

        model = LoadedModel(load_encoder(self.encoder, device), self.infos, self.folders, self.training)
        return Predictor(
            model,
            lambda kind: load_tokenizer(self.encoder.folder, kind),
            {task: self.inputs[task].max_seq_length for task in self.infos},
            batch_size or self.training.per_device_eval_batch_size,
        )

    def load_on(self, runtime: Runtime, batch_size: int | None = None) -> Predictor:
        """As `load`, with the device and the threads of `runtime`."""
        import torch

        torch.set_num_threads(runtime.threads)
        return self.load(torch.device(runtime.device), batch_size)


def task_folder(run: Artefact, task: str) -> Path:
    """The folder of a run that holds a task's weights."""
    return run.path / "tasks" / task


def served_run(workspace: Workspace, run: Artefact, spec: str | None, model: str | None, screen: Screen) -> ServedRun:
    """The tasks of a run that `spec` names (all: `all`, or nothing), on its encoder, or that of --model.

    Raises UserError for a task that the run does not have, and where its encoder is not found, or has another
    tokenizer now.
    """
    record = RunRecord.of(run)
    tasks = _chosen_tasks(record, run, spec)
    if spec is None and len(tasks) > 1:
        screen.taken(f"--task {ALL}", f"all {len(tasks)} tasks of the run; --task names some")
    infos = run_infos(run, record, tasks)
    encoder = recorded_encoder([run], model or "")
    inputs = {task: _input_of(workspace, run, record, task, encoder, screen) for task in tasks}
    if any(found.tokenizer != encoder.tokenizer for found in inputs.values()):
        raise UserError(
            f"The encoder's tokenizer is not the one that {run.label} was trained with",
            where=str(encoder.folder),
            fix="Name a folder with the tokenizer's files as they were: --model FOLDER.",
        )
    return ServedRun(run, infos, inputs, training_settings(record.training), encoder)


def run_infos(run: Artefact, record: RunRecord, tasks: Sequence[str]) -> dict[str, TaskInfo]:
    """What a run knows of some of its tasks, with the metrics that it was scored by, the main one first.

    Raises UserError for a task of which it kept no head.
    """
    metrics, positive = metrics_of(run), record.positive or {}
    return {task: read_info(task_folder(run, task), metrics.get(task, []), positive.get(task, "")) for task in tasks}


def _chosen_tasks(record: RunRecord, run: Artefact, spec: str | None) -> Sequence[str]:
    words = [word for part in (spec or ALL).split(",") if (word := part.strip())]
    tasks = record.tasks if words == [ALL] else list(dict.fromkeys(words))
    for task in tasks:
        if task not in record.tasks:
            fix = f"{near_names(task, record.tasks)}Tasks there: {', '.join(record.tasks)}."
            raise UserError(f"{run.label} has no task {task!r}", where=flag("task"), fix=fix)
        if f"tasks/{task}/{HEAD_CONFIG}" not in run.meta["files"]:
            raise UserError(f"{run.label} kept no weights of {task}, only scores", where=str(run.path))
    return tasks


def _input_of(
    workspace: Workspace, run: Artefact, record: RunRecord, task: str, encoder: EncoderSource, screen: Screen
) -> InputRecord:
    """How the run reads a task's rows: what it recorded, or else what its prepared rows say, or else the default."""
    if record.inputs is not None:
        return InputRecord(**record.inputs[task])
    for prepared in workspace.artefacts("prepro", lambda path, error: None):
        if prepared.content == record.prepro.get(task):
            return input_record(prepared)
    longest = PreproSettings.max_seq_length
    screen.taken(f"inputs of {longest} tokens", "the default: the run does not say, and its prepared rows are gone")
    return InputRecord(max_seq_length=longest, tokenizer=encoder.tokenizer, pairs=None)
